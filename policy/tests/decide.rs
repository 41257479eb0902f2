//! Decisions: what permits, what denies, and in which order of force.
//! Never through anything but the public face of the crate.

mod scene;

use policy::{AccountName, Cause, ChannelKind, Evidence, Factor, Missing, TenantName};
use scene::{alice, at, bundle, grant, held, ruled, target};

fn web(more: &str) -> policy::Bundle {
    bundle(&format!("{}{}", target("web-1", ""), grant("g", more)))
}

#[test]
fn an_empty_bundle_denies() {
    let nothing = policy::Bundle::parse(&[]).unwrap();
    assert_eq!(alice().ask(&nothing).unwrap_err().cause, Cause::UnknownTarget);
}

#[test]
fn a_grant_permits_and_the_permit_carries_its_terms() {
    let permit = alice().ask(&web("max_session = \"8h\"")).unwrap();
    assert_eq!(permit.operator().as_str(), "alice");
    assert_eq!(permit.device().unwrap().as_str(), "lt-0421");
    assert_eq!((permit.target().as_str(), permit.account().as_str()), ("web-1", "deploy"));
    assert_eq!((permit.kind(), permit.grant().as_str()), (&ChannelKind::Shell, "g"));
    assert_eq!(permit.ends(), Some(at("2026-11-23T20:00:00Z")));
    assert_eq!(permit.decided(), at("2026-11-23T12:00:00Z"));
    assert_eq!(permit.rules(), ["shipped:grant"]);
}

#[test]
fn what_no_grant_names_is_denied() {
    let bundle = web("");
    let no = |asker: scene::Asker| asker.ask(&bundle).unwrap_err().cause;
    assert_eq!(no(alice().with(|a| a.target = "web-2".into())), Cause::UnknownTarget);
    assert_eq!(no(alice().with(|a| a.target = "../web-1".into())), Cause::UnknownTarget);
    assert_eq!(no(alice().with(|a| a.account = AccountName::parse("toor").ok())), Cause::UnknownAccount);
    assert_eq!(no(alice().with(|a| a.account = AccountName::parse("root").ok())), Cause::NoGrant);
    assert_eq!(no(alice().with(|a| a.kind = ChannelKind::Exec)), Cause::NoGrant);
    assert_eq!(no(alice().with(|a| a.roles.clear())), Cause::NoGrant);
    assert_eq!(no(alice().with(|a| a.enabled = false)), Cause::Disabled);
}
