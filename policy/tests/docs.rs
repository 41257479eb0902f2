//! Holds `docs/access-bundle.md` to the truth: its example is read, decided, and shows every key.
//! Never a copy of the example: the text is taken out of the page.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use policy::{AccountName, Bundle, Cause, ChannelKind, Level, Missing, TenantName};
use scene::{alice, at, file, laptop};

const PAGE: &str = include_str!("../../docs/access-bundle.md");

fn block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let rest = &PAGE[PAGE.find(&begin).unwrap() + begin.len()..];
    &rest[..rest.find("```").unwrap()]
}

fn documented() -> Bundle {
    Bundle::parse(&[file("access.toml", block("toml")), file("rules.cedar", block("cedar"))]).unwrap()
}

fn asker() -> scene::Asker {
    let acme = TenantName::parse("acme").unwrap();
    alice().with(|a| {
        a.device.as_mut().unwrap().tenant = acme.clone();
        a.tenant = acme;
    })
}

#[test]
fn the_documented_bundle_is_read_and_decides_as_the_page_says() {
    let bundle = documented();
    assert_eq!((bundle.operators().len(), bundle.targets().len(), bundle.grants().len()), (2, 3, 4));
    assert_eq!(bundle.rule_ids(), ["freeze-over-new-year", "root-wants-a-ticket"]);
    assert_eq!(asker().ask(&bundle).unwrap().grant().as_str(), "sre-web");
    let frozen = asker().with(|a| a.now = at("2026-12-31T12:00:00Z")).ask(&bundle).unwrap_err();
    assert_eq!(frozen.cause, Cause::Forbidden { rule: "freeze-over-new-year".into() });
    let root = asker().with(|a| a.account = AccountName::parse("root").ok());
    let lacks = root.clone().with(|a| (a.now, a.reason) = (at("2026-11-23T02:00:00Z"), Some("INC-7".into())));
    let said = lacks.ask(&bundle).unwrap_err();
    assert!(
        said.missing.contains(&Missing::Approval(1)) && !said.missing.contains(&Missing::Reason),
        "{said}"
    );
    let tunnel =
        asker().with(|a| (a.target, a.account) = ("db-1".into(), AccountName::parse("postgres").ok()));
    assert_eq!(tunnel.ask(&bundle).unwrap_err().cause, Cause::NoGrant, "a forward opens no shell");
    let dump = asker().with(|a| {
        a.operator = "backup-job".parse().unwrap();
        (a.target, a.account, a.kind) =
            ("db-1".into(), AccountName::parse("postgres").ok(), ChannelKind::Exec);
        a.now = at("2026-11-23T02:00:00Z");
    });
    assert_eq!(dump.ask(&bundle).unwrap().ends(), Some(at("2026-11-23T05:00:00Z")));
}

#[test]
fn the_documented_levels_are_read_and_hold_as_the_page_says() {
    let bundle = documented();
    assert_eq!(bundle.levels().map(Level::as_str).collect::<Vec<_>>(), ["hardened", "healthy", "managed"]);
    assert_eq!(bundle.login().posture(), Some(&Level::managed()));
    let laptop = laptop::sound().rows("processes", &[&[("name", "falcon-sensor")]]);
    assert_eq!(laptop.judged(&bundle).levels.len(), 3);
    let bare = laptop.cell("firewall", "enabled", "0").cell("os_version", "version", "11").judged(&bundle);
    assert_eq!(bare.warned.iter().map(|one| one.check.as_str()).collect::<Vec<_>>(), ["firewall"]);
    assert_eq!(
        bare.failed.iter().map(|one| one.failed.as_str()).collect::<Vec<_>>(),
        ["debian 11 is no longer supported"]
    );
    assert_eq!(bare.levels.len(), 2);
}

#[test]
fn the_page_shows_every_built_in_check_and_every_table() {
    let built_in = include_str!("../src/posture/healthy.toml");
    let checks: Vec<&str> = built_in
        .split("[[level.check]]\nname = \"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .collect();
    assert_eq!(checks.len(), 6);
    let check = "[[level]]\nname = \"own\"\n[[level.check]]\nname = \"c\"\ntable = \"x\"";
    let told = Bundle::parse(&[file("a.toml", check)]).unwrap_err();
    let tables: Vec<&str> = told.remedy.strip_prefix("write one of ").unwrap().split(", ").collect();
    for shown in checks.iter().chain(&tables) {
        assert!(PAGE.contains(&format!("\n| `{shown}` | ")), "{shown} stands in no table");
    }
}

/// The error about an unknown key lists the known ones: each must stand in the example and in the page's tables.
#[test]
fn the_page_shows_every_key() {
    let sections = [
        "",
        "[login]\n",
        "[login]\nrequire.",
        "[[level]]\n",
        "[[level]]\nname = \"a\"\n[[level.check]]\n",
        "[[operator]]\n",
        "[[target]]\n",
        "[[grant]]\n",
        "[[grant]]\nrequire.",
    ];
    for section in sections {
        let told =
            Bundle::parse(&[file("a.toml", &format!("{section}nonsense = 1"))]).unwrap_err().to_string();
        let keys: Vec<&str> = told.split('`').skip(3).step_by(2).collect();
        assert!(!keys.is_empty(), "{told}");
        for key in keys {
            let example = block("toml");
            let forms = [format!("{key} ="), format!("[{key}]"), format!(".{key}]")];
            assert!(forms.iter().any(|form| example.contains(form)), "{key}");
            assert!(PAGE.matches(key).count() > 1, "{key} stands in no table");
        }
    }
}
