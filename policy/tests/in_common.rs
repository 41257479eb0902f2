//! What is asked for before any channel is: what all ways to an account need in common, and can be typed.
//! Never through anything but the public face of the crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use policy::{AccountName, Bundle, Factor, Missing, in_common};
use scene::{Asker, alice, bundle, grant, held, ruled, target};

/// The target `web-1` with these grants.
fn web(grants: &[&str]) -> Bundle {
    let grants: String = grants.iter().enumerate().map(|(n, more)| grant(&format!("g{n}"), more)).collect();
    bundle(&format!("{}{grants}", target("web-1", "")))
}

fn asked(bundle: &Bundle, change: impl FnOnce(&mut Asker)) -> Option<Vec<Missing>> {
    let asker = alice().with(change);
    in_common(bundle, &asker.request()).map(|set| set.into_iter().collect())
}

const FRESH: &str = "require = { fresh = \"30s\" }";
const REASON: &str = "require = { reason = true }";
const BOTH: &str = "require = { fresh = \"30s\", reason = true }";

#[test]
fn what_the_one_grant_is_lacking_is_asked_and_nothing_that_is_there() {
    assert_eq!(asked(&web(&[FRESH]), |_| {}), Some(vec![Missing::FreshCode]));
    assert_eq!(asked(&web(&[REASON]), |_| {}), Some(vec![Missing::Reason]));
    assert_eq!(asked(&web(&[BOTH]), |_| {}), Some(vec![Missing::FreshCode, Missing::Reason]));
    assert_eq!(asked(&web(&[""]), |_| {}), Some(vec![]));
    let just_now = |a: &mut Asker| a.factors = vec![held(Factor::Key, 60), held(Factor::Code, 0)];
    assert_eq!(asked(&web(&[BOTH]), just_now), Some(vec![Missing::Reason]));
    let with_reason = |a: &mut Asker| a.reason = Some("INC-42".to_owned());
    assert_eq!(asked(&web(&[BOTH]), with_reason), Some(vec![Missing::FreshCode]));
    // A key alone, where the login asks for a code.
    assert_eq!(asked(&web(&[""]), |a| a.factors.truncate(1)), Some(vec![Missing::FreshCode]));
}

#[test]
fn what_only_some_ways_need_is_not_asked() {
    let exec = |more: &str| format!("allow = [\"exec\"]\n{more}");
    assert_eq!(asked(&web(&[FRESH, &exec("")]), |_| {}), Some(vec![]), "an exec goes as it is");
    assert_eq!(asked(&web(&[BOTH, &exec(FRESH)]), |_| {}), Some(vec![Missing::FreshCode]));
    assert_eq!(asked(&web(&[REASON, &exec(FRESH)]), |_| {}), Some(vec![]));
    assert_eq!(asked(&web(&[FRESH, ""]), |_| {}), Some(vec![]), "one of two grants for a shell holds");
}

#[test]
fn a_forward_is_a_way_and_what_is_only_lent_to_a_program_is_none() {
    for more in ["allow = [\"reverse-forward\"]", "allow = [\"forward\"]\nforward_to = [\"10.0.0.1:80\"]"] {
        assert_eq!(asked(&web(&[FRESH, more]), |_| {}), Some(vec![]), "{more}");
        assert_eq!(
            asked(&web(&[&format!("{more}\n{FRESH}")]), |_| {}),
            Some(vec![Missing::FreshCode]),
            "{more}"
        );
    }
    for more in ["allow = [\"agent\"]", "allow = [\"x11\"]"] {
        assert_eq!(asked(&web(&[FRESH, more]), |_| {}), Some(vec![Missing::FreshCode]), "{more}");
        assert_eq!(asked(&web(&[more]), |_| {}), None, "{more}");
    }
}

#[test]
fn what_cannot_be_typed_is_never_asked_and_hides_no_way_that_can() {
    for more in [
        "require = { fresh = \"30s\", posture = \"healthy\" }",
        "require = { reason = true, approvals = 1 }",
        "require = { fresh = \"30s\", factors = [\"presence\"] }",
        "require = { fresh = \"30s\", source = [\"192.0.2.0/24\"] }",
        "until = \"2020-01-01\"\nrequire = { reason = true }",
    ] {
        assert_eq!(asked(&web(&[more]), |_| {}), None, "{more}");
    }
    let elsewhere = "allow = [\"exec\"]\nrequire = { posture = \"healthy\" }";
    assert_eq!(asked(&web(&[FRESH, elsewhere]), |_| {}), Some(vec![Missing::FreshCode]));
}

#[test]
fn nothing_is_asked_where_no_grant_names_the_operator_for_target_and_account() {
    let bundle = web(&[BOTH]);
    let root = AccountName::parse("root").unwrap();
    for (what, change) in [
        ("another operator", Box::new(|a: &mut Asker| a.roles.clear()) as Box<dyn FnOnce(&mut Asker)>),
        ("a target that is not", Box::new(|a: &mut Asker| a.target = "web-9".to_owned())),
        ("another account", Box::new(move |a: &mut Asker| a.account = Some(root))),
        ("another tenant", Box::new(|a: &mut Asker| a.tenant = policy::TenantName::parse("acme").unwrap())),
        ("disabled", Box::new(|a: &mut Asker| a.enabled = false)),
    ] {
        assert_eq!(asked(&bundle, change), None, "{what}");
    }
}

#[test]
fn what_a_rule_demands_is_asked_and_what_a_rule_forbids_is_not() {
    let text = format!("{}{}", target("web-1", ""), grant("g", ""));
    let demands = |condition: &str| {
        ruled(&text, &format!("forbid (principal, action, resource) unless {{ {condition} }};"))
    };
    let fresh = demands("context has code_age && context.code_age <= 30");
    assert_eq!(asked(&fresh, |_| {}), Some(vec![Missing::FreshCode]));
    assert_eq!(asked(&demands("context has reason"), |_| {}), Some(vec![Missing::Reason]));
    assert_eq!(asked(&demands("principal.name == \"bob\""), |_| {}), None);
    let ticket = demands("context has reason && context.reason like \"INC-*\"");
    assert_eq!(asked(&ticket, |_| {}), Some(vec![Missing::Reason]), "though no reason is known to do");
    assert_eq!(asked(&ticket, |a| a.reason = Some("INC-7".into())), Some(vec![]));
    assert_eq!(asked(&ticket, |a| a.reason = Some("no ticket".into())), None);
    assert_eq!(asked(&demands("principal.name == \"reason\""), |_| {}), None);
}
