//! Decisions: what permits, what denies, and in which order of force.
//! Never through anything but the public face of the crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use std::time::Duration;

use policy::{
    AccountName, Bundle, Capability, Cause, ChannelKind, Factor, OperatorName, RoleName, TenantName,
    login_fresh,
};
use scene::{Asker, alice, at, bundle, grant, held, target};

fn web(more: &str) -> Bundle {
    bundle(&format!("{}{}", target("web-1", ""), grant("g", more)))
}

fn cause(bundle: &Bundle, change: impl FnOnce(&mut Asker)) -> Cause {
    alice().with(change).ask(bundle).unwrap_err().cause
}

fn permits(bundle: &Bundle, change: impl FnOnce(&mut Asker)) -> bool {
    alice().with(change).ask(bundle).is_ok()
}

#[test]
fn an_empty_bundle_denies() {
    assert_eq!(cause(&Bundle::parse(&[]).unwrap(), |_| {}), Cause::UnknownTarget);
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
    let web = web("");
    assert_eq!(cause(&web, |a| a.target = "web-2".into()), Cause::UnknownTarget);
    assert_eq!(cause(&web, |a| a.target = "web-*".into()), Cause::UnknownTarget);
    assert_eq!(cause(&web, |a| a.account = AccountName::parse("toor").ok()), Cause::UnknownAccount);
    assert_eq!(cause(&web, |a| a.account = AccountName::parse("root").ok()), Cause::NoGrant);
    assert_eq!(cause(&web, |a| a.kind = ChannelKind::Exec), Cause::NoGrant);
    assert_eq!(cause(&web, |a| a.roles.clear()), Cause::NoGrant);
}

#[test]
fn a_disabled_operator_is_denied_before_anything_is_looked_up() {
    assert_eq!(cause(&web(""), |a| a.enabled = false), Cause::Disabled);
    let nowhere = |a: &mut Asker| (a.enabled, a.target) = (false, "nowhere".into());
    assert_eq!(cause(&web(""), nowhere), Cause::Disabled);
}

#[test]
fn operator_device_and_target_must_be_of_one_tenant() {
    let acme = TenantName::parse("acme").unwrap();
    assert_eq!(cause(&web(""), |a| a.tenant = acme.clone()), Cause::OtherTenant);
    assert_eq!(cause(&web(""), |a| a.device.as_mut().unwrap().tenant = acme.clone()), Cause::OtherTenant);
    let both = |a: &mut Asker| {
        a.tenant = acme.clone();
        a.device.as_mut().unwrap().tenant = acme.clone();
    };
    assert_eq!(cause(&web(""), both), Cause::OtherTenant);
    let theirs = bundle(&(target("web-1", "tenant = \"acme\"") + &grant("g", "")));
    assert!(permits(&theirs, both));
    assert_eq!(cause(&theirs, |_| {}), Cause::OtherTenant);
}

#[test]
fn a_bundle_that_names_operators_speaks_for_itself() {
    let named = |who: &str, roles: &str| {
        let operator = format!("[[operator]]\nname = \"{who}\"\nroles = [{roles}]\n");
        bundle(&(operator + &target("web-1", "") + &grant("g", "")))
    };
    assert!(permits(&named("alice", "\"sre\""), |a| a.roles.clear()), "its roles count");
    assert_eq!(cause(&named("alice", ""), |_| {}), Cause::NoGrant, "those of the store do not");
    assert_eq!(cause(&named("bob", "\"sre\""), |_| {}), Cause::NoGrant, "who is not in it does not exist");
}

#[test]
fn the_tenant_of_the_bundle_counts_and_not_only_the_one_that_is_claimed() {
    let operator = "[[operator]]\nname = \"alice\"\nroles = [\"sre\"]\ntenant = \"acme\"\n";
    let bundle = bundle(&(operator.to_owned() + &target("web-1", "") + &grant("g", "")));
    assert_eq!(cause(&bundle, |_| {}), Cause::OtherTenant);
}

#[test]
fn a_grant_is_for_its_operators_and_for_those_of_its_roles() {
    let bundle = web("roles = [\"dba\"]\noperators = [\"alice\"]");
    assert!(permits(&bundle, |_| {}));
    assert!(permits(&bundle, |a| {
        a.operator = OperatorName::parse("bob").unwrap();
        a.roles = [RoleName::parse("dba").unwrap()].into();
    }));
    assert_eq!(cause(&bundle, |a| a.operator = OperatorName::parse("bob").unwrap()), Cause::NoGrant);
}

#[test]
fn names_and_labels_of_a_grant_must_both_fit() {
    let toml = [
        target("web-1", "labels = { env = \"prod\", tier = \"web\" }"),
        target("web-2", "labels = { env = \"dev\", tier = \"web\" }"),
        target("db-1", "labels = { env = \"prod\", tier = \"db\" }"),
        grant("g", "targets = [\"web-*\"]\nlabels = { env = \"prod\" }"),
        grant("h", "labels = { env = \"prod\", tier = \"db\" }\nallow = [\"exec\"]"),
    ]
    .concat();
    let bundle = bundle(&toml);
    assert!(permits(&bundle, |_| {}));
    assert_eq!(cause(&bundle, |a| a.target = "web-2".into()), Cause::NoGrant);
    assert_eq!(cause(&bundle, |a| a.target = "db-1".into()), Cause::NoGrant);
    assert!(permits(&bundle, |a| (a.target, a.kind) = ("db-1".into(), ChannelKind::Exec)));
    assert_eq!(
        cause(&bundle, |a| a.kind = ChannelKind::Exec),
        Cause::NoGrant,
        "one label of two is not enough"
    );
}

#[test]
fn sftp_needs_upload_and_download_of_one_grant() {
    let sftp = |a: &mut Asker| a.kind = ChannelKind::Sftp;
    assert!(permits(&web("allow = [\"upload\", \"download\"]"), sftp));
    assert_eq!(cause(&web("allow = [\"download\", \"shell\", \"exec\"]"), sftp), Cause::NoGrant);
    let halves = grant("up", "allow = [\"upload\"]") + &grant("down", "allow = [\"download\"]");
    assert_eq!(cause(&bundle(&(target("web-1", "") + &halves)), sftp), Cause::NoGrant);
}

#[test]
fn a_subsystem_is_allowed_by_its_name_alone() {
    let bundle = web("allow = [\"subsystem:netconf\"]");
    assert!(permits(&bundle, |a| a.kind = ChannelKind::subsystem("netconf").unwrap()));
    assert_eq!(cause(&bundle, |a| a.kind = ChannelKind::subsystem("netconf2").unwrap()), Cause::NoGrant);
    assert_eq!(cause(&bundle, |a| a.kind = ChannelKind::Sftp), Cause::NoGrant);
}

#[test]
fn without_a_default_account_one_must_be_named() {
    let toml = target("web-1", "").replace("default_account = \"deploy\"\n", "") + &grant("g", "");
    assert_eq!(cause(&bundle(&toml), |_| {}), Cause::UnknownAccount);
    assert!(permits(&bundle(&toml), |a| a.account = AccountName::parse("deploy").ok()));
}

#[test]
fn the_grant_that_lasts_longest_is_the_one_of_the_permit() {
    let grants = [
        grant("short", "max_session = \"1h\""),
        grant("long", "max_session = \"4h\""),
        grant("ended", "until = \"2026-01-01\""),
        grant("else", "allow = [\"exec\"]"),
    ];
    let permit = alice().ask(&bundle(&(target("web-1", "") + &grants.concat()))).unwrap();
    assert_eq!(permit.grant().as_str(), "long");
}

#[test]
fn a_permit_ends_with_the_first_of_its_ends() {
    let ends = |more: &str| alice().ask(&web(more)).unwrap().ends();
    assert_eq!(ends(""), None);
    assert_eq!(ends("until = \"2027-01-01\""), Some(at("2027-01-01T00:00:00Z")));
    assert_eq!(ends("until = 2027-01-01"), Some(at("2027-01-01T00:00:00Z")), "a date of TOML's own");
    let all = "hours = \"Mon-Fri 08:30-17:30 UTC\"\nuntil = \"2026-11-23T17:00:00Z\"\nmax_session = \"";
    assert_eq!(ends(&format!("{all}8h\"")), Some(at("2026-11-23T17:00:00Z")));
    assert_eq!(ends(&format!("{all}1h\"")), Some(at("2026-11-23T13:00:00Z")));
}

#[test]
fn deciding_a_running_session_again_does_not_prolong_it() {
    let bundle = web("max_session = \"2h\"");
    let running = alice().with(|a| a.since = Some(at("2026-11-23T11:00:00Z")));
    assert_eq!(running.ask(&bundle).unwrap().ends(), Some(at("2026-11-23T13:00:00Z")));
    assert_eq!(cause(&bundle, |a| a.since = Some(at("2026-11-23T10:00:00Z"))), Cause::Missing);
    // A clock that was set back does not lengthen it either.
    let ahead = alice().with(|a| a.since = Some(at("2026-11-23T20:00:00Z")));
    assert_eq!(ahead.ask(&bundle).unwrap().ends(), Some(at("2026-11-23T14:00:00Z")));
}

#[test]
fn a_recovery_code_stands_in_for_a_code_and_for_nothing_else() {
    let recovered = |a: &mut Asker| a.factors = vec![held(Factor::Key, 5), held(Factor::Recovery, 5)];
    assert!(permits(&web("require = { fresh = \"1m\" }"), recovered));
    assert!(!permits(&web("require = { factors = [\"password\"] }"), recovered));
    assert!(!permits(&web(""), |a| a.factors = vec![held(Factor::Recovery, 5)]));
}

#[test]
fn a_fraction_of_a_second_too_old_is_too_old() {
    let bundle = web("require = { fresh = \"1m\" }");
    let aged = |age: Duration| {
        permits(&bundle, |a| {
            a.factors = vec![held(Factor::Key, 0), policy::Held { factor: Factor::Code, age }]
        })
    };
    assert!(aged(Duration::from_secs(60)));
    assert!(!aged(Duration::from_millis(60_001)));
}

#[test]
fn a_source_in_ipv6_clothes_is_its_ipv4_self() {
    let bundle = web("require = { source = [\"10.0.0.0/8\"] }");
    assert!(permits(&bundle, |a| a.source = "::ffff:10.1.2.3".parse().unwrap()));
    assert!(!permits(&bundle, |a| a.source = "::ffff:11.1.2.3".parse().unwrap()));
}

#[test]
fn a_login_asks_for_the_freshest_code_that_a_grant_for_it_wants() {
    let toml = [
        target("web-1", ""),
        target("db-1", ""),
        grant("g", "require = { fresh = \"15m\" }"),
        grant("root", "accounts = [\"root\"]\nrequire = { fresh = \"1m\" }"),
        grant("others", "roles = [\"dba\"]\nrequire = { fresh = \"30s\" }"),
        grant("lax", "targets = [\"db-1\"]\nrequire = { fresh = \"24h\" }"),
    ]
    .concat();
    let bundle = bundle(&toml);
    let asker = alice();
    let root = AccountName::parse("root").unwrap();
    let fresh =
        |target, account| login_fresh(&bundle, &asker.operator, &asker.roles, target, account).as_secs();
    assert_eq!(fresh(Some("web-1"), None), 900);
    assert_eq!(fresh(Some("web-1"), Some(&root)), 60);
    assert_eq!(fresh(Some("db-1"), None), 8 * 3600, "never less fresh than [login]");
    assert_eq!(fresh(Some("nowhere"), None), 8 * 3600);
    assert_eq!(fresh(None, None), 8 * 3600);
}

#[test]
fn only_what_is_named_is_a_capability_of_a_channel() {
    for kind in [ChannelKind::Shell, ChannelKind::Exec, ChannelKind::Sftp] {
        let forwards = [Capability::Forward, Capability::ReverseForward, Capability::Agent, Capability::X11];
        assert!(!kind.needs().is_empty() && kind.needs().iter().all(|needed| !forwards.contains(needed)));
    }
}

#[test]
fn a_forward_leads_to_the_places_of_its_own_grant_and_nowhere_else() {
    let toml = [
        target("web-1", ""),
        grant("db", "allow = [\"forward\"]\nforward_to = [\"127.0.0.1:5432\", \"unix:/run/pg.sock\"]"),
        grant("web", "allow = [\"forward\", \"shell\"]\nforward_to = [\"db.internal:443\", \"[::1]:80\"]"),
    ];
    let bundle = bundle(&toml.concat());
    let to = |place: &str| {
        let kind = ChannelKind::parse(&format!("forward:{place}")).unwrap();
        alice().with(|a| a.kind = kind).ask(&bundle)
    };
    for (place, by) in [
        ("127.0.0.1:5432", "db"),
        ("unix:/run/pg.sock", "db"),
        ("db.internal:443", "web"),
        ("[0:0::1]:80", "web"),
    ] {
        assert_eq!(to(place).unwrap().grant().as_str(), by, "{place}");
    }
    for place in
        ["127.0.0.1:5433", "localhost:5432", "127.0.0.2:5432", "DB.internal:443", "unix:/run/pg", "[::1]:443"]
    {
        assert_eq!(to(place).unwrap_err().cause, Cause::NoGrant, "{place}");
    }
    for kind in ["agent", "x11", "reverse-forward", "exec"] {
        assert_eq!(cause(&bundle, |a| a.kind = ChannelKind::parse(kind).unwrap()), Cause::NoGrant, "{kind}");
    }
}
