//! The table of authority, as a file under review: role by action by state of device and login, over one bundle.
//! Never edited by hand: run the test, read the difference, accept it.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use std::collections::BTreeMap;
use std::fmt::Write;

use policy::{ChannelKind, DeviceKind, Factor, Facts, Failed, Level, assess};
use scene::laptop::{self, Laptop};
use scene::{Asker, alice, at, grant, held, ruled, target};

const ROLES: [&str; 5] = ["(none)", "auditor", "dba", "oncall", "sre"];
const TARGETS: [(&str, &str); 4] =
    [("web-1", "deploy"), ("web-1", "root"), ("db-1", "deploy"), ("db-1", "root")];
const KINDS: [&str; 4] = ["shell", "exec", "sftp", "subsystem:netconf"];

/// What its device is like, and what else is unlike the usual.
type Change = (fn() -> Option<Laptop>, fn(&mut Asker));
const STATES: [(&str, Change); 10] = [
    ("sound laptop, key + code now", (|| Some(laptop::guarded()), |_| {})),
    (
        "sound laptop, key + code 1 h ago",
        (|| Some(laptop::guarded()), |a| a.factors = vec![held(Factor::Key, 3600), held(Factor::Code, 3600)]),
    ),
    ("sound laptop, key alone", (|| Some(laptop::guarded()), |a| a.factors = vec![held(Factor::Key, 0)])),
    ("no device", (|| None, |_| {})),
    ("device not managed", (|| Some(laptop::guarded().managed(false)), |_| {})),
    ("disk not encrypted", (|| Some(bare_disk()), |_| {})),
    ("firewall not told", (|| Some(laptop::guarded().without("firewall")), |_| {})),
    ("sensor does not run", (|| Some(no_sensor()), |_| {})),
    (
        "sound laptop, with reason and approval",
        (|| Some(laptop::guarded()), |a| (a.reason, a.approvals) = (Some("INC-7".into()), 1)),
    ),
    ("sound laptop, on Sunday", (|| Some(laptop::guarded()), |a| a.now = at("2026-11-22T12:00:00Z"))),
];

fn bare_disk() -> Laptop {
    laptop::guarded().cell("disk_encryption", "encrypted", "0")
}

fn no_sensor() -> Laptop {
    laptop::guarded().rows("processes", &[])
}

const LEVELS: &str = r#"
[[level]]
name = "hardened"
includes = ["healthy"]

[[level.check]]
name = "sensor"
table = "processes"
rows = "any"
when = 'resource.name == "sensor"'
mode = "warn until 2027-01-01"
failed = "the sensor does not run"
do = "start it"

[[level.check]]
name = "key in hardware"
on = ["laptop"]
when = 'context.key != "file"'
mode = "observe"
failed = "its key is kept in a file"
do = "enrol it again"
"#;

fn site() -> policy::Bundle {
    let toml = [
        LEVELS.to_owned(),
        target("web-1", "labels = { env = \"prod\" }"),
        target("db-1", "labels = { env = \"prod\", data = \"personal\" }"),
        grant(
            "sre-web",
            "targets = [\"web-*\"]\nallow = [\"shell\", \"exec\", \"upload\", \"download\"]\nrequire = { posture = \"managed\" }",
        ),
        grant(
            "sre-root",
            "targets = [\"web-*\"]\naccounts = [\"root\"]\nrequire = { fresh = \"15m\", reason = true }",
        ),
        grant(
            "dba",
            "roles = [\"dba\"]\nlabels = { data = \"personal\" }\nallow = [\"shell\", \"upload\", \"download\"]\nrequire = { posture = \"healthy\" }\nhours = \"Mon-Fri 08:00-18:00 UTC\"",
        ),
        grant(
            "oncall",
            "roles = [\"oncall\"]\ntargets = [\"*\"]\naccounts = [\"deploy\", \"root\"]\nallow = [\"shell\", \"exec\"]\nrequire = { posture = \"hardened\", approvals = 1, reason = true }",
        ),
    ];
    let rules = "@id(\"no-bulk-copies\")
        forbid (principal, action in [Action::\"upload\", Action::\"download\"], resource)
        when { resource.hasTag(\"data\") && resource.getTag(\"data\") == \"personal\" };
        @id(\"root-only-from-managed\")
        forbid (principal, action, resource)
        when { context.account == \"root\" }
        unless { context has device && context.device.levels.contains(\"managed\") };";
    ruled(&toml.concat(), rules)
}

fn cell(
    bundle: &policy::Bundle,
    role: &str,
    place: (&str, &str),
    kind: &str,
    (device, change): Change,
) -> String {
    let mut asker = alice().with(|a| {
        a.roles = if role == "(none)" { [].into() } else { [role.parse().unwrap()].into() };
        (a.target, a.account) = (place.0.to_owned(), Some(place.1.parse().unwrap()));
        a.kind = ChannelKind::parse(kind).unwrap();
        a.factors = vec![held(Factor::Key, 0), held(Factor::Code, 0)];
        change(a);
    });
    match device() {
        None => asker.device = None,
        Some(laptop) => {
            asker.device.as_mut().unwrap().levels = assess(bundle, &laptop.facts(), asker.now).levels
        }
    }
    match asker.ask(bundle) {
        Ok(permit) => format!("yes, by {}", permit.grant()),
        Err(denial) => format!("no, {denial} [{}]", denial.code()),
    }
}

const NOTHING: &str =
    "no, no grant names this operator for this target, account and kind of channel [ACCESS-002]\n";

/// Rows that no grant is about are counted. Rows in which all states agree are one row; those that deviate from the first state follow it.
fn render() -> String {
    let bundle = site();
    let (mut closed, mut all) = (0, 0);
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for role in ROLES {
        for place in TARGETS {
            for kind in KINDS {
                let usual = cell(&bundle, role, place, kind, STATES[0].1);
                let mut text = format!("{usual}\n");
                for (state, change) in &STATES[1..] {
                    let other = cell(&bundle, role, place, kind, *change);
                    if other != usual {
                        writeln!(text, "        {state}: {other}").unwrap();
                    }
                }
                all += 1;
                if text == NOTHING {
                    closed += 1;
                    continue;
                }
                let row = format!("{role}: {kind} as {} on {}", place.1, place.0);
                blocks.entry(text).or_default().push(row);
            }
        }
    }
    let mut text = format!("usual state: {}; a state that is not listed is like it\n", STATES[0].0);
    writeln!(text, "{closed} of {all} rows are in every state: {NOTHING}").unwrap();
    for (answer, rows) in blocks {
        writeln!(text, "\n{}\n    {}", rows.join("\n"), answer.trim_end()).unwrap();
    }
    text
}

const LATER: &str = "2027-01-01T00:00:00Z";

/// Every state of a device against every check.
fn posture() -> String {
    let (bundle, now) = (site(), at(laptop::ASKED));
    let facts = |laptop: Laptop| laptop.facts();
    let old =
        laptop::sound().cell("patches", "checked_at", "1793000000").cell("patches", "pending_security", "3");
    let states: [(&str, Facts, jiff::Timestamp); 12] = [
        ("sound, its key in a TPM, sensor running", facts(laptop::guarded()), now),
        ("sound", facts(laptop::sound()), now),
        ("sensor does not run", facts(no_sensor()), now),
        ("sensor does not run, after 2026", facts(no_sensor()), at(LATER)),
        ("disk not encrypted", facts(bare_disk()), now),
        ("screen never locks", facts(laptop::sound().cell("screenlock", "grace_period", "-1")), now),
        ("updates wait, list old", facts(old), now),
        ("secure boot off", facts(laptop::sound().cell("secureboot", "secure_boot", "0")), now),
        ("firewall not told", facts(laptop::sound().without("firewall")), now),
        ("a host without a screen", facts(laptop::sound().without("screenlock").kind(DeviceKind::Host)), now),
        ("not managed", facts(laptop::guarded().managed(false)), now),
        ("proven by a plain key", Facts::untold(laptop::sound().on_record), now),
    ];
    let mut text = String::new();
    for (state, facts, now) in states {
        let assessment = assess(&bundle, &facts, now);
        let levels: Vec<&str> = assessment.levels.iter().map(Level::as_str).collect();
        writeln!(
            text,
            "{state}\n    at {}",
            if levels.is_empty() { "none".to_owned() } else { levels.join(", ") }
        )
        .unwrap();
        let lists =
            [("bars", &assessment.failed), ("warns", &assessment.warned), ("noted", &assessment.observed)];
        for (what, list) in lists {
            for Failed { check, level, mode, failed, do_, .. } in list {
                writeln!(text, "    {what}: {level}, {check} ({mode}): {failed}; {do_}").unwrap();
            }
        }
    }
    text
}

#[test]
fn the_table_of_posture_is_as_reviewed() {
    insta::assert_snapshot!("posture", posture());
}

#[test]
fn the_table_of_authority_is_as_reviewed() {
    let levels: Vec<String> = site().levels().map(ToString::to_string).collect();
    assert_eq!(levels, ["hardened", "healthy", "managed"], "a new level needs its states in this table");
    insta::assert_snapshot!("authority", render());
}
