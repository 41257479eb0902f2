//! Levels as a bundle writes them: what is taken, what is refused and where, and what devices are asked for.
//! Never through anything but the public face of the crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use std::collections::BTreeSet;

use policy::{Bundle, BundleError, Level, Missing};
use proptest::prelude::*;
use scene::laptop::{self, own};
use scene::{alice, bundle, file, grant, ruled, target};

fn refused(toml: &str) -> BundleError {
    let told = Bundle::parse(&[file("a.toml", toml)]).unwrap_err();
    let sentence = told.to_string();
    assert!(!sentence.contains('\n') && sentence.contains("; "), "{sentence}");
    told
}

#[test]
fn only_what_a_check_names_is_asked_for() {
    let bundle = bundle(&own(
        "table = \"processes\"\nrows = \"any\"\nwhen = '[\"a\", \"b\"].contains(resource.name) || resource.name == \"c\"'",
    ));
    let needed = bundle.facts_needed();
    let tables: Vec<(&str, Vec<&str>)> =
        needed.tables().iter().map(|(table, columns)| (*table, columns.iter().copied().collect())).collect();
    let expected = [
        ("disk_encryption", vec!["encrypted", "name"]),
        ("firewall", vec!["enabled"]),
        ("patches", vec!["checked_at", "pending_security"]),
        ("processes", vec!["name"]),
        ("screenlock", vec!["enabled", "grace_period"]),
        ("secureboot", vec!["secure_boot"]),
    ];
    assert_eq!(tables, expected);
    assert_eq!(needed.programs(), &["a", "b", "c"].map(ToOwned::to_owned).into());
}

#[test]
fn a_level_that_cannot_be_read_is_refused_with_its_line() {
    for (toml, line) in [
        ("[[level]]\nname = \"Own\"\nincludes = [\"healthy\"]", 2),
        ("[[level]]\nname = \"managed\"\nincludes = [\"healthy\"]", 2),
        ("[[level]]\nname = \"own\"", 2),
        ("[[level]]\nname = \"healthy\"", 2),
        ("[[level]]\nname = \"own\"\nincludes = []", 3),
        ("[[level]]\nname = \"own\"\nincludes = [\"helthy\"]", 3),
        ("[[level]]\nname = \"own\"\nincludes = [\"own\"]", 2),
        ("[[level]]\nname = \"a\"\nincludes = [\"b\"]\n[[level]]\nname = \"b\"\nincludes = [\"a\"]", 2),
        (
            "[[level]]\nname = \"a\"\nincludes = [\"healthy\"]\n[[level]]\nname = \"a\"\nincludes = [\"healthy\"]",
            5,
        ),
        (
            "[[level]]\nname = \"healthy\"\nincludes = [\"own\"]\n[[level]]\nname = \"own\"\nincludes = [\"healthy\"]",
            2,
        ),
        ("[[level]]\nname = \"own\"\nincludes = [\"healthy\"]\nabove = 1", 4),
        ("[login]\nrequire = { posture = \"helthy\" }", 2),
        ("[login]\nrequire = { posture = \"\" }", 2),
        ("[[level]]\nname = \"healthy\"\n[[level.check]]\nname = \"firewal\"\nmode = \"observe\"", 4),
        ("[[level]]\nname = \"healthy\"\n[[level.check]]\nname = \"firewall\"\ntable = \"patches\"", 4),
        (
            "[[level]]\nname = \"healthy\"\n[[level.check]]\nname = \"firewall\"\nwhen = \"resource.encrypted\"",
            5,
        ),
        (
            "[[level]]\nname = \"healthy\"\n[[level.check]]\nname = \"firewall\"\n[[level.check]]\nname = \"firewall\"",
            6,
        ),
    ] {
        let told = refused(toml);
        assert_eq!((told.file.as_deref(), told.line), (Some("a.toml"), Some(line)), "{told}");
    }
}

#[test]
fn a_check_that_cannot_mean_what_it_says_is_refused() {
    for check in [
        "",
        "when = ''",
        "when = 'true'",
        "when = 'context.nonsense == 1'",
        "when = 'context.serial == \"x\"'",
        "when = 'context.age'",
        "when = 'context.age == \"1\"'",
        "when = 'context.age > 1 && false'",
        "when = 'resource.encrypted'",
        "when = 'context.age > 1 }; permit (principal, action, resource) when { true'",
        "when = 'context.age > 1; context.age > 2'",
        "when = 'context.age > 1 // }'\nrows = \"any\"",
        "table = \"users\"\nwhen = 'resource.name == \"x\"'",
        "table = \"firewall\"\nwhen = 'context.age > 1'",
        "table = \"firewall\"\nwhen = 'resource.enabled == \"1\"'",
        "table = \"firewall\"\nwhen = 'resource.grace_period == 1'",
        "table = \"os_version\"\nwhen = 'resource.major >= 12'",
        "table = \"firewall\"\nrows = \"all\"\nwhen = 'resource.enabled'",
        "table = \"firewall\"\nwhen = 'resource.enabled'\non = []",
        "table = \"firewall\"\nwhen = 'resource.enabled'\non = [\"phone\"]",
        "table = \"firewall\"\nwhen = 'resource.enabled'\nmode = \"deny\"",
        "table = \"firewall\"\nwhen = 'resource.enabled'\nmode = \"warn until soon\"",
        "table = \"firewall\"\nwhen = 'resource.enabled'\nfailed = \"{name}\"",
        "table = \"firewall\"\nwhen = 'resource.enabled'\nrows = \"any\"\nfailed = \"{enabled}\"",
        "table = \"firewall\"\nwhen = 'resource.enabled'\nfailed = \"\"",
        "table = \"firewall\"\nwhen = 'resource.enabled'\ndo = \"a\\u001b[2Jb\"",
        "table = \"firewall\"\nwhen = 'resource.enabled'\nextra = 1",
        "table = \"processes\"\nwhen = 'resource.name like \"falcon*\"'",
        "table = \"processes\"\nwhen = 'resource.name == \"a\" && resource.name != context.hostname'",
        "table = \"processes\"\nwhen = 'resource.name == \"a b\"'",
    ] {
        assert!(refused(&own(check)).line.is_some(), "{check}");
    }
    let nested = format!("when = '{}context.age > 1{}'", "(".repeat(40), ")".repeat(40));
    refused(&own(&nested));
    refused(&own(&format!("when = '{}context.age > 1'", "context.age > 0 && ".repeat(150))));
    let check = "[[level.check]]\nname = \"n\"\nwhen = 'context.age > 1'\nmode = \"block\"\nfailed = \"f\"\ndo = \"d\"\n";
    let many: String = (0..60).map(|n| check.replace("\"n\"", &format!("\"n{n}\""))).collect();
    assert!(refused(&format!("[[level]]\nname = \"own\"\n{many}")).problem.contains("64 checks"));
    let many: String =
        (0..17).map(|n| format!("[[level]]\nname = \"l{n}\"\nincludes = [\"healthy\"]\n")).collect();
    assert!(refused(&many).problem.contains("16 levels"));
}

#[test]
fn a_rule_about_a_level_is_satisfied_by_a_device_at_it_and_what_is_missing_is_told() {
    let toml = target("web-1", "") + &grant("g", "") + &own("when = 'context.key == \"tpm\"'");
    let rule = "forbid (principal, action, resource) unless { context has device && context.device.levels.contains(\"own\") };";
    assert_eq!(
        alice().ask(&ruled(&toml, rule)).unwrap_err().missing,
        [Missing::Posture(Level::parse("own").unwrap())]
    );
    let managed = rule.replace("own", "managed");
    let strange = alice().with(|a| a.device.as_mut().unwrap().levels.clear()).ask(&ruled(&toml, &managed));
    assert_eq!(strange.unwrap_err().missing, [Missing::Posture(Level::managed())], "and no higher one");
    for gone in ["contains(\"owm\")", "containsAny([\"own\", \"owm\"])"] {
        let rule = rule.replace("contains(\"own\")", gone);
        let told = Bundle::parse(&[file("a.toml", &toml), file("r.cedar", &rule)]).unwrap_err();
        assert!(told.to_string().contains("names the level \"owm\""), "{told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hostile_conditions_are_answered(text in any::<String>(), piece in "[a-z.()\"=&|!<> ]{0,60}") {
        for text in [text, format!("resource.encrypted {piece}"), format!("{piece} context.age")] {
            let quoted = toml::Value::String(text).to_string();
            if let Err(told) = Bundle::parse(&[file("a.toml", &own(&format!("table = \"disk_encryption\"\nwhen = {quoted}")))]) {
                prop_assert!(told.to_string().chars().all(|c| !c.is_control()));
            }
        }
    }

    #[test]
    fn a_level_rests_on_all_that_it_includes(edges in prop::collection::btree_set((0..5_usize, 0..5_usize), 0..8)) {
        let mut toml = String::new();
        for level in 0..5 {
            let includes: BTreeSet<String> = edges.iter().filter(|(from, _)| *from == level).map(|(_, to)| format!("\"l{to}\"")).collect();
            let includes: Vec<String> = includes.into_iter().chain(["\"healthy\"".to_owned()]).collect();
            toml += &format!("[[level]]\nname = \"l{level}\"\nincludes = [{}]\n", includes.join(", "));
        }
        match Bundle::parse(&[file("a.toml", &toml)]) {
            Err(told) => prop_assert!(told.to_string().contains("includes itself"), "{}", told),
            Ok(bundle) => {
                prop_assert!(edges.iter().all(|(from, to)| from != to));
                prop_assert_eq!(laptop::sound().judged(&bundle).levels.len(), 7);
                let sick = laptop::sound().without("firewall").judged(&bundle);
                prop_assert_eq!(&sick.levels, &[Level::managed()].into());
                prop_assert_eq!(sick.failed[0].levels.len(), 6);
            }
        }
    }
}
