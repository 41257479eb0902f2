//! What a denial says is missing: the smallest set that would permit, and nothing where no grant is about the asker.
//! Never through anything but the public face of the crate.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use policy::{
    AccountName, Answer, Bundle, Cause, ChannelKind, Denial, Factor, Level, Missing, Person, explain, who_can,
};
use proptest::prelude::*;
use scene::{Asker, alice, at, bundle, grant, held, ruled, target};

fn web(more: &str) -> Bundle {
    bundle(&format!("{}{}", target("web-1", ""), grant("g", more)))
}

fn denial(bundle: &Bundle, change: impl FnOnce(&mut Asker)) -> Denial {
    alice().with(change).ask(bundle).unwrap_err()
}

fn missing(more: &str, change: impl FnOnce(&mut Asker)) -> Vec<Missing> {
    let denial = denial(&web(more), change);
    assert_eq!(denial.cause, Cause::Missing, "{denial}");
    denial.missing
}

#[test]
fn every_condition_is_named_when_it_alone_is_missing() {
    assert_eq!(missing("", |a| a.factors.truncate(1)), [Missing::Factor(Factor::Code)]);
    assert_eq!(missing("require = { fresh = \"30s\" }", |_| {}), [Missing::FreshCode]);
    assert_eq!(missing("require = { fresh = \"30s\" }", |a| a.factors.truncate(1)), [Missing::FreshCode]);
    assert_eq!(
        missing("require = { factors = [\"presence\"] }", |_| {}),
        [Missing::Factor(Factor::Presence)]
    );
    let managed = [Missing::Posture(Level::managed())];
    assert_eq!(missing("require = { posture = \"managed\" }", |a| a.device = None), managed);
    let bare = |a: &mut Asker| a.device.as_mut().unwrap().levels.clear();
    assert_eq!(missing("require = { posture = \"managed\" }", bare), managed);
    assert_eq!(missing("require = { assurance = 2 }", |_| {}), [Missing::Assurance(2)]);
    assert_eq!(missing("require = { approvals = 2 }", |a| a.approvals = 1), [Missing::Approval(2)]);
    assert_eq!(missing("require = { reason = true }", |a| a.reason = Some(" \t".into())), [Missing::Reason]);
    assert_eq!(missing("hours = \"Tue 08:00-09:00 UTC\"", |_| {}), [Missing::Hours]);
    assert_eq!(missing("require = { source = [\"192.0.2.0/24\"] }", |_| {}), [Missing::Source]);
    assert_eq!(missing("until = \"2026-11-23T12:00:00Z\"", |_| {}), [Missing::Expired]);
}

#[test]
fn with_everything_that_was_missing_it_is_permitted() {
    let bundle = web(
        "require = { posture = \"managed\", fresh = \"5m\", assurance = 2, reason = true, approvals = 1 }",
    );
    let bare = alice().with(|a| (a.device, a.factors) = (None, vec![held(Factor::Key, 0)]));
    let said = bare.ask(&bundle).unwrap_err();
    let all = [
        Missing::FreshCode,
        Missing::Reason,
        Missing::Posture(Level::managed()),
        Missing::Assurance(2),
        Missing::Approval(1),
    ];
    assert_eq!(said.missing, all);
    let full = alice().with(|a| (a.assurance, a.reason, a.approvals) = (2, Some("INC-1".into()), 1));
    assert!(full.ask(&bundle).is_ok());
}

#[test]
fn of_several_grants_the_one_that_lacks_least_is_told_and_what_is_in_reach_comes_first() {
    let grants = [
        grant("a", "require = { reason = true, approvals = 1 }"),
        grant("b", "require = { fresh = \"30s\" }"),
        grant("c", "until = \"2026-01-01\""),
    ];
    let bundle = bundle(&(target("web-1", "") + &grants.concat()));
    let said = denial(&bundle, |_| {});
    assert_eq!((said.missing, said.grant.unwrap().as_str()), (vec![Missing::FreshCode], "b"));
}

#[test]
fn nothing_is_told_where_no_grant_is_about_the_asker() {
    let bundle = web("require = { approvals = 1 }");
    for change in [
        (|a| a.roles.clear()) as fn(&mut Asker),
        |a| a.target = "nowhere".into(),
        |a| a.account = AccountName::parse("root").ok(),
        |a| a.kind = ChannelKind::Exec,
    ] {
        let said = denial(&bundle, change);
        assert!(said.missing.is_empty() && said.grant.is_none());
        assert_eq!(said.told_code(), "ACCESS-000");
        assert_eq!(said.told(), denial(&bundle, |a| a.target = "x".into()).told());
    }
}

#[test]
fn what_only_a_rule_demands_is_told_as_well() {
    let fresh =
        "forbid (principal, action, resource) unless { context has code_age && context.code_age <= 30 };";
    let toml = target("web-1", "") + &grant("g", "");
    assert_eq!(denial(&ruled(&toml, fresh), |_| {}).missing, [Missing::FreshCode]);
    let two = "forbid (principal, action, resource) unless { context has reason && context.approvals >= 2 };";
    assert_eq!(denial(&ruled(&toml, two), |_| {}).missing, [Missing::Reason, Missing::Approval(2)]);
    let three = "forbid (principal, action, resource)
        unless { context has reason && context.approvals >= 1 && context.assurance >= 2 };";
    let all = [Missing::Reason, Missing::Assurance(2), Missing::Approval(1)];
    assert_eq!(denial(&ruled(&toml, three), |_| {}).missing, all);
    let grown = target("web-1", "") + &grant("g", "require = { factors = [\"password\"] }");
    let set = [Missing::FreshCode, Missing::Factor(Factor::Password)];
    assert_eq!(denial(&ruled(&grown, fresh), |_| {}).missing, set, "on top of what the grant demands");
}

#[test]
fn a_rule_that_forbids_whatever_is_added_is_no_riddle() {
    let never = "@id(\"freeze\") forbid (principal, action, resource) when { resource.name == \"web-1\" };";
    let said = denial(&ruled(&(target("web-1", "") + &grant("g", "")), never), |a| a.factors.truncate(1));
    assert_eq!(said.cause, Cause::Forbidden { rule: "freeze".into() });
    assert!(said.missing.is_empty());
    assert_eq!(said.told_code(), "ACCESS-004");
    assert!(!said.told().contains("freeze"), "the rule's name is for the log");
}

#[test]
fn who_can_names_everybody_and_what_each_needs() {
    let toml = [
        "[[operator]]\nname = \"alice\"\nroles = [\"sre\"]\n".to_owned(),
        "[[operator]]\nname = \"bob\"\nroles = [\"dba\"]\n".to_owned(),
        "[[operator]]\nname = \"carol\"\nroles = [\"sre\"]\n".to_owned(),
        target("web-1", ""),
        grant("g", "require = { reason = true }"),
    ]
    .concat();
    let asker = alice();
    let carol = Person {
        name: "carol".parse().unwrap(),
        roles: asker.roles.clone(),
        tenant: asker.tenant.clone(),
        enabled: false,
    };
    let reach = who_can(&bundle(&toml), std::slice::from_ref(&carol), "web-1", None, asker.now);
    assert_eq!(reach.len(), 1, "{reach:?}");
    let needs = vec![Missing::Reason, Missing::Factor(Factor::Key), Missing::Factor(Factor::Code)];
    assert_eq!((reach[0].operator.as_str(), &reach[0].kind), ("alice", &ChannelKind::Shell));
    assert_eq!(reach[0].answer, Answer::Needs { grant: "g".parse().unwrap(), missing: needs });
    assert!(who_can(&bundle(&toml), &[], "nowhere", None, asker.now).is_empty());
    assert!(
        who_can(&bundle(&toml), &[], "web-1", AccountName::parse("root").ok().as_ref(), asker.now).is_empty()
    );
    let small = bundle(&(target("web-1", "") + &grant("g", "")));
    let store = [Person { enabled: true, ..carol }];
    assert_eq!(who_can(&small, &store, "web-1", None, asker.now)[0].operator.as_str(), "carol");
}

#[test]
fn who_can_shows_those_whom_a_rule_holds_back() {
    let never = "@id(\"freeze\") forbid (principal, action, resource);";
    let toml = target("web-1", "") + &grant("g", "operators = [\"alice\"]");
    let asker = alice();
    let person = Person { name: asker.operator, roles: asker.roles, tenant: asker.tenant, enabled: true };
    let reach = who_can(&ruled(&toml, never), &[person], "web-1", None, at("2026-11-23T12:00:00Z"));
    assert_eq!(reach[0].answer, Answer::HeldBack { rule: "freeze".into() });
}

#[test]
fn an_explanation_shows_every_grant_that_is_about_the_asker() {
    let grants = [
        grant("a", "require = { approvals = 1 }"),
        grant("b", "allow = [\"exec\"]"),
        grant("c", "accounts = [\"root\"]"),
        grant("d", "roles = [\"dba\"]"),
    ];
    let bundle = bundle(&(target("web-1", "") + &grants.concat()));
    let asker = alice();
    let shown = explain(&bundle, &asker.request());
    assert_eq!(shown.decision.unwrap_err().missing, [Missing::Approval(1)]);
    let names: Vec<&str> = shown.considered.iter().map(|one| one.grant.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(shown.considered[0].missing, [Missing::Approval(1)]);
    assert_eq!(shown.considered[1].not_allowed.len(), 1);
    assert!(!shown.considered[2].account);
    let unknown = alice().with(|a| a.target = "nowhere".into());
    let shown = explain(&bundle, &unknown.request());
    assert_eq!(shown.decision.unwrap_err().cause, Cause::UnknownTarget);
    assert!(shown.considered.is_empty());
}

/// The asker with a condition met.
fn given(asker: &mut Asker, condition: &Missing) {
    match condition {
        Missing::FreshCode => asker.factors.push(held(Factor::Code, 0)),
        Missing::Reason => asker.reason = Some("INC-1".into()),
        Missing::Factor(factor) => asker.factors.push(held(*factor, 0)),
        Missing::Posture(level) => {
            let device = asker.device.get_or_insert_with(|| alice().device.unwrap());
            device.levels.insert(level.clone());
        }
        Missing::Assurance(level) => asker.assurance = *level,
        Missing::Approval(count) => asker.approvals = *count,
        Missing::Hours => asker.now = at("2026-11-24T08:30:00Z"),
        Missing::Source => asker.source = "192.0.2.7".parse().unwrap(),
        Missing::Expired => asker.since = None,
    }
}

fn any_require() -> impl Strategy<Value = String> {
    let parts = vec![
        "posture = \"managed\"",
        "fresh = \"5m\"",
        "factors = [\"presence\"]",
        "assurance = 2",
        "reason = true",
        "approvals = 2",
        "source = [\"192.0.2.0/24\"]",
    ];
    let require = proptest::sample::subsequence(parts, 0..=7);
    let outer =
        proptest::sample::subsequence(vec!["hours = \"Tue 08:00-09:00 UTC\"", "max_session = \"1h\""], 0..=2);
    (require, outer)
        .prop_map(|(require, outer)| format!("require = {{ {} }}\n{}", require.join(", "), outer.join("\n")))
}

const RULES: [&str; 4] = [
    "",
    "forbid (principal, action, resource) unless { context.assurance >= 2 && context.factors.contains(\"presence\") };",
    "forbid (principal, action, resource) unless { context has device && context has reason };",
    "forbid (principal, action, resource) unless { context has code_age && context.code_age < 30 };",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn what_is_told_missing_is_enough_and_none_of_it_is_too_much(
        requires in proptest::collection::vec(any_require(), 1..4),
        rule in proptest::sample::select(&RULES[..]),
        factors in proptest::sample::subsequence(Factor::ALL.to_vec(), 0..=5),
        age in proptest::sample::select(vec![0_u64, 100, 1000]),
        device in any::<bool>(),
        level in any::<bool>(),
        (assurance, approvals, reason) in (0_u8..3, 0_u32..3, any::<bool>()),
        late in any::<bool>(),
    ) {
        let grants = requires.iter().enumerate().map(|(n, more)| grant(&format!("g{n}"), more));
        let bundle = ruled(&(target("web-1", "") + &grants.collect::<String>()), rule);
        let asker = alice().with(|a| {
            a.factors = factors.iter().map(|factor| held(*factor, age)).collect();
            if !level {
                a.device.as_mut().unwrap().levels.clear();
            }
            a.device = a.device.take().filter(|_| device);
            (a.assurance, a.approvals, a.reason) = (assurance, approvals, reason.then(|| "INC-2".into()));
            a.since = late.then(|| at("2026-11-23T09:00:00Z"));
        });
        if let Err(denial) = asker.ask(&bundle) {
            prop_assert_eq!(&denial.cause, &Cause::Missing, "{}", denial);
            let met = |left_out: Option<&Missing>| {
                let mut asker = asker.clone();
                // Hours and the end of a session both hang on the time: a session of the new time is a new one.
                if denial.missing.contains(&Missing::Hours) {
                    asker.since = asker.since.map(|_| at("2026-11-24T05:30:00Z"));
                }
                denial.missing.iter().filter(|one| Some(*one) != left_out).for_each(|one| given(&mut asker, one));
                asker.ask(&bundle)
            };
            prop_assert!(met(None).is_ok(), "{} is not enough: {:?}", denial, met(None));
            for one in denial.missing.iter().filter(|one| !matches!(one, Missing::Hours)) {
                prop_assert!(met(Some(one)).is_err(), "{} without {} is enough", denial, one);
            }
        }
    }
}
