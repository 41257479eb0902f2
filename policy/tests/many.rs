//! A hundred thousand grants, and random small bundles held against the plainest possible decision.
//! Never asserts a time: the ignored test prints one.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on stops")]

#[expect(dead_code, reason = "used in part here")]
mod scene;

use std::collections::BTreeSet;

use policy::{Bundle, Cause, ChannelKind};
use proptest::prelude::*;
use scene::{alice, file, grant, target};

const GRANTS: usize = 100_000;
const TARGETS: usize = 2_000;
const OPERATORS: usize = 5_000;
const ROLES: usize = 500;

/// The same numbers in every run, without a pattern that lines up with the counts.
fn mixed(n: usize, below: usize) -> usize {
    (n.wrapping_mul(2_654_435_761) >> 7) % below
}

/// Grants of every form: by operator and role, by exact name, glob and label.
fn site() -> Bundle {
    let mut toml = String::new();
    for n in 0..TARGETS {
        let labels = format!("labels = {{ rack = \"r{}\", env = \"e{}\" }}", n % 100, n % 7);
        toml.push_str(&target(&format!("t{n}-x"), &labels));
    }
    for n in 0..GRANTS {
        let who = match n % 3 {
            0 => format!("operators = [\"o{}\"]", mixed(n, OPERATORS)),
            _ => format!("roles = [\"role{}\"]", mixed(n, ROLES)),
        };
        let what = match n % 10 {
            0 => format!("targets = [\"t{}?-*\"]", mixed(n + 1, 200)),
            1 => format!("labels = {{ rack = \"r{}\", env = \"e{}\" }}", mixed(n + 1, 100), mixed(n + 2, 7)),
            _ => format!("targets = [\"t{}-x\"]", mixed(n + 1, TARGETS)),
        };
        toml.push_str(&grant(&format!("g{n}"), &format!("{who}\n{what}")));
    }
    Bundle::parse(&[file("site.toml", &toml)]).unwrap()
}

/// Decided by walking over every grant.
fn plainly(bundle: &Bundle, asker: &scene::Asker) -> bool {
    let Ok(name) = asker.target.parse() else { return false };
    let Some(target) = bundle.target(&name) else { return false };
    let account = asker.account.as_ref().or(target.default_account()).unwrap();
    bundle.grants().iter().any(|grant| {
        grant.names_operator(&asker.operator, &asker.roles)
            && grant.names_target(target)
            && grant.accounts().contains(account)
            && asker.kind.needs().iter().all(|needed| grant.allow().contains(needed))
    })
}

/// Every other one is somebody whom a grant is for, at a target it is for, where there is one.
fn somebody(bundle: &Bundle, n: usize) -> scene::Asker {
    let mut asker = alice().with(|a| {
        a.operator = format!("o{}", mixed(n, OPERATORS)).parse().unwrap();
        a.roles =
            [mixed(n, ROLES), mixed(n + 1, ROLES)].map(|role| format!("role{role}").parse().unwrap()).into();
        a.target = format!("t{}-x", mixed(n + 3, TARGETS));
    });
    if n.is_multiple_of(2) {
        let grant = &bundle.grants()[mixed(n, GRANTS)];
        asker.roles.extend(grant.roles().iter().cloned());
        asker.operator = grant.operators().first().cloned().unwrap_or(asker.operator);
        let named = bundle.targets().find(|target| grant.names_target(target));
        asker.target = named.map_or(asker.target, |target| target.name().to_string());
    }
    asker
}

#[test]
fn among_a_hundred_thousand_grants_the_decision_is_that_of_walking_over_all() {
    let bundle = site();
    assert_eq!(bundle.grants().len(), GRANTS);
    let mut permitted = 0;
    for n in 0..200 {
        let asker = somebody(&bundle, n);
        let decided = asker.ask(&bundle);
        assert_eq!(decided.is_ok(), plainly(&bundle, &asker), "{n}: {decided:?}");
        match decided {
            Ok(_) => permitted += 1,
            Err(denial) => assert_eq!(denial.cause, Cause::NoGrant),
        }
    }
    assert!((20..180).contains(&permitted), "{permitted} of 200 say little");
}

#[test]
#[ignore = "prints microseconds; run with --release --ignored --nocapture"]
fn how_long_a_decision_takes_among_a_hundred_thousand_grants() {
    let begun = std::time::Instant::now();
    let bundle = site();
    println!("read and indexed in {} ms", begun.elapsed().as_millis());
    let mut times: [Vec<u128>; 2] = [Vec::new(), Vec::new()];
    for n in 0..5_000 {
        let asker = somebody(&bundle, n);
        let begun = std::time::Instant::now();
        let permitted = asker.ask(&bundle).is_ok();
        times[usize::from(permitted)].push(begun.elapsed().as_micros());
    }
    for (word, mut times) in ["denied", "permitted"].into_iter().zip(times) {
        times.sort_unstable();
        let at = |part: usize| times.get(times.len() * part / 100).or(times.last());
        println!(
            "{word}: {} decisions, median {:?} us, 99% {:?} us, most {:?} us",
            times.len(),
            at(50),
            at(99),
            times.last()
        );
    }
}

fn word(set: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(set)
}

/// One grant over few names, so that many collide.
fn any_grant() -> impl Strategy<Value = String> {
    let who = word(&[
        "roles = [\"a\"]",
        "roles = [\"b\", \"c\"]",
        "operators = [\"alice\"]",
        "roles = [\"a\"]\noperators = [\"alice\"]",
    ]);
    let targets = word(&["", "t1", "t2", "t*", "t?", "*", "{t1,u1}", "[!t]*", "*1", "t1*"]);
    let labels = word(&["", "env = \"p\"", "env = \"q\"", "env = \"p\", tier = \"w\""]);
    let allow =
        word(&["\"shell\"", "\"exec\"", "\"shell\", \"exec\"", "\"upload\", \"download\"", "\"upload\""]);
    let account = word(&["deploy", "root"]);
    (who, targets, labels, allow, account).prop_map(|(who, targets, labels, allow, account)| {
        let mut text = format!("{who}\naccounts = [\"{account}\"]\nallow = [{allow}]\n");
        if !targets.is_empty() || labels.is_empty() {
            text.push_str(&format!("targets = [\"{}\"]\n", if targets.is_empty() { "u*" } else { targets }));
        }
        if !labels.is_empty() {
            text.push_str(&format!("labels = {{ {labels} }}\n"));
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_decision_is_that_of_walking_over_all_grants(
        grants in proptest::collection::vec(any_grant(), 0..8),
        roles in proptest::collection::btree_set("[abd]", 0..3),
        name in word(&["t1", "t2", "u1", "v"]),
        kind in word(&["shell", "exec", "sftp"]),
        root in any::<bool>(),
    ) {
        let mut toml = target("t1", "labels = { env = \"p\", tier = \"w\" }");
        toml.push_str(&target("t2", "labels = { env = \"q\" }"));
        toml.push_str(&target("u1", ""));
        toml.extend(grants.iter().enumerate().map(|(n, more)| grant(&format!("g{n}"), more)));
        let bundle = Bundle::parse(&[file("a.toml", &toml)]).unwrap();
        let asker = alice().with(|a| {
            a.roles = roles.iter().map(|role| role.parse().unwrap()).collect::<BTreeSet<_>>();
            a.target = name.to_owned();
            a.kind = ChannelKind::parse(kind).unwrap();
            a.account = root.then(|| "root".parse().unwrap());
        });
        prop_assert_eq!(asker.ask(&bundle).is_ok(), plainly(&bundle, &asker));
    }
}
