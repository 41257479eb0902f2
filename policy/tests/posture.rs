//! Levels of posture: what passes, what fails, what is told, and that a decision rests on it.
//! Never through anything but the public face of the crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use policy::{Assessment, Cause, DeviceKind, Facts, FactsError, Level, Missing, Mode, assess};
use proptest::prelude::*;
use scene::laptop::{self, ASKED, Laptop, own};
use scene::{alice, at, bundle, grant, target};

fn levels(assessment: &Assessment) -> Vec<&str> {
    assessment.levels.iter().map(Level::as_str).collect()
}

/// Whether the laptop is at the level `own` of this check.
fn passes(check: &str, laptop: &Laptop) -> bool {
    let assessment = laptop.judged(&bundle(&own(check)));
    let own = Level::parse("own").unwrap();
    assert_eq!(assessment.levels.contains(&own), assessment.barring(&own).next().is_none());
    assessment.levels.contains(&own)
}

#[test]
fn a_sound_laptop_is_managed_and_healthy_by_the_built_in_checks() {
    let assessment = laptop::sound().judged(&bundle(""));
    assert_eq!(levels(&assessment), ["healthy", "managed"]);
    assert!(assessment.failed.is_empty() && assessment.warned.is_empty() && assessment.observed.is_empty());
}

#[test]
fn what_fails_is_told_with_what_the_row_says_and_what_to_do() {
    let laptop = laptop::sound().rows(
        "disk_encryption",
        &[&[("name", "/dev/sda1"), ("encrypted", "1")], &[("name", "/dev/sda2"), ("encrypted", "0")]],
    );
    let assessment = laptop.judged(&bundle(""));
    assert_eq!(levels(&assessment), ["managed"]);
    let [failed] = assessment.failed.as_slice() else { panic!("{assessment:?}") };
    assert_eq!((failed.check.as_str(), failed.level.as_str()), ("disk encryption", "healthy"));
    assert_eq!(failed.failed, "/dev/sda2 is not encrypted");
    assert_eq!(failed.do_, "turn on disk encryption, run `bartizan-agent refresh`, connect again");
    assert_eq!(assessment.barring(&Level::healthy()).count(), 1);
    assert_eq!(assessment.barring(&Level::managed()).count(), 0);
}

#[test]
fn a_fact_that_is_missing_empty_or_unreadable_fails_its_check() {
    let bundle = bundle("");
    for table in ["disk_encryption", "screenlock", "patches", "firewall"] {
        for laptop in [
            laptop::sound().without(table),
            laptop::sound().rows(table, &[]),
            laptop::sound().rows(table, &[&[]]),
        ] {
            let assessment = laptop.judged(&bundle);
            assert_eq!(levels(&assessment), ["managed"], "{table}");
            assert!(
                assessment.failed.iter().all(|failed| !failed.failed.is_empty() && !failed.do_.is_empty())
            );
        }
    }
    for word in ["", "true", "01", "2", "1 "] {
        let laptop = laptop::sound().rows("firewall", &[&[("enabled", word)]]);
        assert_eq!(levels(&laptop.judged(&bundle)), ["managed"], "{word:?}");
    }
}

#[test]
fn a_device_that_told_nothing_is_at_no_level_but_managed() {
    let host = Facts::untold(laptop::sound().kind(DeviceKind::Host).on_record);
    let assessment = assess(&bundle(&own("when = 'principal.type == \"host\"'")), &host, at(ASKED));
    assert_eq!(levels(&assessment), ["managed"]);
}

#[test]
fn a_device_that_is_not_managed_is_at_no_level() {
    let assessment = laptop::sound().managed(false).judged(&bundle(&own("when = 'context.key == \"file\"'")));
    assert!(assessment.levels.is_empty());
    for level in ["managed", "healthy", "own"] {
        assert_eq!(assessment.barring(&Level::parse(level).unwrap()).count(), 1, "{level}");
    }
}

#[test]
fn a_row_that_errs_fails_the_check_whatever_the_others_say() {
    let check =
        "table = \"patches\"\nrows = \"any\"\nwhen = 'resource.pending_security + 9223372036854775807 >= 0'";
    let good: &[(&str, &str)] = &[("pending_security", "0"), ("checked_at", "0")];
    let bad: &[(&str, &str)] = &[("pending_security", "1"), ("checked_at", "0")];
    assert!(passes(check, &laptop::sound().rows("patches", &[good])));
    assert!(!passes(check, &laptop::sound().rows("patches", &[good, bad])));
}

#[test]
fn rows_say_for_how_many_it_must_hold() {
    let sensor = |rows: &str| {
        format!("table = \"processes\"\nrows = \"{rows}\"\nwhen = 'resource.name == \"sensor\"'")
    };
    let running = |names: &[&str]| {
        let rows: Vec<Vec<(&str, &str)>> = names.iter().map(|name| vec![("name", *name)]).collect();
        laptop::sound().rows("processes", &rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    for (rows, names, good) in [
        ("every", &["sensor"][..], true),
        ("every", &["sensor", "other"], false),
        ("every", &[], false),
        ("any", &["other", "sensor"], true),
        ("any", &["other"], false),
        ("any", &[], false),
        ("none", &[], true),
        ("none", &["other"], true),
        ("none", &["other", "sensor"], false),
    ] {
        assert_eq!(passes(&sensor(rows), &running(names)), good, "{rows} of {names:?}");
        assert!(!passes(&sensor(rows), &laptop::sound().without("processes")), "{rows}, not told");
    }
}

#[test]
fn a_condition_sees_the_device_on_record_and_what_came_with_the_report() {
    for condition in [
        "principal.uid == \"lt-1\" && principal.type == \"laptop\" && principal.owner == \"alice\"",
        "principal.is_managed && !principal.is_personal",
        "context.key == \"file\" && context.collector == \"own\" && context.agent == \"0.1.0\"",
        "context.hostname == \"lt-1.example\" && context has serial && context.serial == \"PF3\"",
        "context.age == 60",
    ] {
        assert!(passes(&format!("when = '{condition}'"), &laptop::sound()), "{condition}");
        assert!(!passes(&format!("when = '!({condition})'"), &laptop::sound()), "not {condition}");
    }
    let version = "table = \"os_version\"\nwhen = 'resource has major && resource.major >= 12'";
    for (version_of, good) in [("12", true), ("13.1", true), ("11.9", false), ("rolling", false)] {
        let laptop =
            laptop::sound().rows("os_version", &[&[("platform", "debian"), ("version", version_of)]]);
        assert_eq!(passes(version, &laptop), good, "{version_of}");
    }
}

#[test]
fn the_age_of_facts_is_that_at_the_moment_they_are_judged_for() {
    let bundle = bundle(&own("when = 'context.age >= 0 && context.age <= 300'"));
    let facts = laptop::sound().facts();
    let good = |facts: &Facts, now: &str| assess(&bundle, facts, at(now)).levels.len() == 3;
    assert!(good(&facts, ASKED));
    assert!(good(&facts, "2027-11-23T12:00:00Z"), "a running channel does not grow stale by running");
    assert!(!good(&facts.clone().asked_at(at("2026-11-23T13:00:00Z")), "2026-11-23T13:00:00Z"));
    assert!(!good(&facts.asked_at(at("2026-11-23T11:00:00Z")), ASKED), "facts from the future");
}

#[test]
fn a_check_is_for_its_kinds_of_device() {
    let host = laptop::sound().kind(DeviceKind::Host).without("disk_encryption").without("screenlock");
    assert_eq!(levels(&host.judged(&bundle(""))), ["healthy", "managed"]);
    assert_eq!(levels(&host.kind(DeviceKind::Laptop).judged(&bundle(""))), ["managed"]);
}

#[test]
fn observe_notes_and_warn_tells_until_its_day_and_blocks_from_then_on() {
    let check = "mode = \"warn until 2026-12-01\"\nwhen = 'context.key == \"tpm\"'";
    let (warns, notes) =
        (bundle(&own(check)), bundle(&own(&check.replace("warn until 2026-12-01", "observe"))));
    let (facts, own) = (laptop::sound().facts(), Level::parse("own").unwrap());
    let before = assess(&warns, &facts, at("2026-11-30T23:59:59Z"));
    assert!(before.levels.contains(&own) && before.failed.is_empty());
    assert_eq!(
        before.warning(&own).map(|warned| warned.mode.to_string()).collect::<Vec<_>>(),
        ["warn until 2026-12-01"]
    );
    assert_eq!(before.warning(&Level::healthy()).count(), 0);
    let after = assess(&warns, &facts, at("2026-12-01T00:00:00Z"));
    assert!(!after.levels.contains(&own) && after.warned.is_empty());
    let noted = assess(&notes, &facts, at("2030-01-01T00:00:00Z"));
    assert!(noted.levels.contains(&own) && noted.failed.is_empty() && noted.observed.len() == 1);
    assert_eq!(noted.observed.first().unwrap().mode, Mode::Observe);
}

#[test]
fn a_level_fails_with_what_it_includes() {
    let toml = own("when = 'context.key == \"file\"'")
        + "[[level]]\nname = \"top\"\nincludes = [\"own\", \"healthy\"]\n";
    let bundle = bundle(&toml);
    assert_eq!(levels(&laptop::sound().judged(&bundle)), ["healthy", "managed", "own", "top"]);
    let sick = laptop::sound().rows("firewall", &[&[("enabled", "0")]]).judged(&bundle);
    assert_eq!(levels(&sick), ["managed", "own"]);
    assert_eq!(sick.barring(&Level::parse("top").unwrap()).count(), 1);
}

#[test]
fn a_bundle_changes_the_built_in_checks_by_their_names_and_adds_its_own() {
    let toml = "[[level]]\nname = \"healthy\"\n\
        [[level.check]]\nname = \"firewall\"\nmode = \"observe\"\n\
        [[level.check]]\nname = \"keeper\"\nwhen = 'context.key == \"tpm\"'\nmode = \"block\"\nfailed = \"f\"\ndo = \"d\"\n";
    let laptop = laptop::sound().rows("firewall", &[&[("enabled", "0")]]);
    let assessment = laptop.judged(&bundle(toml));
    let names = |list: &[policy::Failed]| list.iter().map(|one| one.check.clone()).collect::<Vec<_>>();
    assert_eq!(
        (names(&assessment.failed), names(&assessment.observed)),
        (vec!["keeper".into()], vec!["firewall".into()])
    );
}

#[test]
fn a_channel_needs_the_level_of_its_grant_and_that_of_the_login() {
    let toml = "[login]\nrequire = { posture = \"managed\" }\n".to_owned()
        + &target("web-1", "")
        + &grant("g", "require = { posture = \"healthy\" }");
    let bundle = bundle(&toml);
    let with =
        |laptop: Laptop| alice().with(|a| a.device.as_mut().unwrap().levels = laptop.judged(&bundle).levels);
    assert!(with(laptop::sound()).ask(&bundle).is_ok());
    let sick = with(laptop::sound().without("firewall")).ask(&bundle).unwrap_err();
    assert_eq!(sick.missing, [Missing::Posture(Level::healthy())]);
    let strange = with(laptop::sound().managed(false)).ask(&bundle).unwrap_err();
    assert_eq!(
        strange.missing,
        [Missing::Posture(Level::healthy())],
        "who is told of healthy is not told of managed"
    );
    assert_eq!(alice().with(|a| a.device = None).ask(&bundle).unwrap_err().cause, Cause::Missing);
}

#[test]
fn the_level_of_the_login_holds_where_a_grant_names_none() {
    let toml =
        "[login]\nrequire = { posture = \"healthy\" }\n".to_owned() + &target("web-1", "") + &grant("g", "");
    let bundle = bundle(&toml);
    assert_eq!(bundle.login().posture(), Some(&Level::healthy()));
    assert_eq!(bundle.login().factors().len(), 2, "what is not said stays");
    assert_eq!(alice().ask(&bundle).unwrap_err().missing, [Missing::Posture(Level::healthy())]);
}

#[test]
fn a_comment_cannot_swallow_the_end_of_a_condition() {
    assert!(passes("when = 'context.age == 60 // always'", &laptop::sound()));
    assert!(!passes("when = 'context.age == 61 // || true'", &laptop::sound()));
}

#[test]
fn more_facts_than_can_be_judged_in_short_time_are_refused() {
    let row: &[(&str, &str)] = &[("name", "x")];
    let rows = |count| laptop::sound().rows("processes", &vec![row; count]).try_facts();
    assert!(rows(64).is_ok());
    assert!(matches!(rows(65), Err(FactsError::TooMany { .. })));
    for word in ["a\u{1b}[2J", "a\n", &"x".repeat(256)] {
        assert!(laptop::sound().rows("processes", &[&[("name", word)]]).try_facts().is_err(), "{word:?}");
        let told = policy::Told { hostname: word.to_owned(), ..laptop::sound().told };
        assert!(Facts::told(laptop::sound().on_record, told, at(ASKED)).is_err());
    }
    let many: Vec<String> = (0..33).map(|n| format!("t{n}")).collect();
    let laptop = many.iter().fold(laptop::sound(), |laptop, table| laptop.rows(table, &[]));
    assert!(laptop.try_facts().is_err());
}

/// Every table that a check of `healthy` can block by, with what fails it.
const SICK: [(&str, &str, &str); 5] = [
    ("disk_encryption", "encrypted", "0"),
    ("screenlock", "enabled", "0"),
    ("screenlock", "grace_period", "301"),
    ("patches", "pending_security", "1"),
    ("firewall", "enabled", "0"),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Taking a fact away, or putting anything in its place, never raises a device to a level.
    #[test]
    fn less_is_never_more(taken in prop::collection::btree_set(0..8_usize, 0..8), sick in prop::collection::btree_set(0..SICK.len(), 0..3)) {
        let bundle = bundle("");
        let mut laptop = laptop::sound();
        for place in sick {
            let (table, column, value) = SICK[place];
            laptop = laptop.cell(table, column, value);
        }
        let before = laptop.judged(&bundle).levels;
        let tables: Vec<String> = laptop.told.tables.keys().cloned().collect();
        for place in taken {
            if let Some(table) = tables.get(place) {
                laptop = laptop.without(table);
            }
        }
        prop_assert!(laptop.judged(&bundle).levels.is_subset(&before));
    }

    #[test]
    fn hostile_facts_are_judged_or_refused_and_never_drawn(
        rows in prop::collection::vec(prop::collection::btree_map("[a-z_]{1,12}|encrypted|name|enabled", any::<String>(), 0..4), 0..6),
        table in "disk_encryption|firewall|processes|policies|os_version|x",
        collected in any::<u64>(),
        hostname in any::<String>(),
    ) {
        let bundle = bundle(&own("table = \"os_version\"\nwhen = 'resource has major && resource.major > 1 && context.age > 5'"));
        let mut laptop = laptop::sound();
        laptop.told.tables.insert(table, rows);
        (laptop.told.collected_at, laptop.told.hostname) = (collected, hostname);
        if let Ok(facts) = laptop.try_facts() {
            let assessment = assess(&bundle, &facts, at(ASKED));
            for level in bundle.levels() {
                prop_assert_eq!(assessment.levels.contains(level), assessment.barring(level).next().is_none());
            }
            for failed in assessment.failed.iter().chain(&assessment.observed) {
                prop_assert!(!failed.failed.chars().chain(failed.do_.chars()).any(char::is_control));
            }
        }
    }
}
