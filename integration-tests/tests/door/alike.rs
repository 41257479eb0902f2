//! Whether an operator exists, is disabled or has a phone, as far as the time of an answer would tell it.
//! It compares ranks, never seconds: how fast this machine is says nothing about anybody.

use std::time::{Duration, Instant};

use bartizan_integration_tests::{BareClient, Rig};

const FAILURE: u8 = 51;
const INFO_REQUEST: u8 = 60;
/// No refusal comes earlier, whatever was looked up for it.
const FLOOR: Duration = Duration::from_millis(100);
/// Whoever guesses by the time alone is right this often at most, where a half is chance.
const CHANCE: std::ops::RangeInclusive<f64> = 0.35..=0.65;
/// Refusals on one connection: after more than 20 it ends.
const BATCH: usize = 10;

/// Real, disabled, and one that nobody has heard of.
const WHO: [&str; 3] = ["ana", "dora", "nobody"];

fn scene() -> Rig {
    let rig = Rig::new()
        .operator("ana")
        .operator("dora")
        .operator("eve")
        .without_phone()
        .target("db1")
        .setting("device", "require = \"any\"")
        .start();
    rig.said(&["operator", "disable", "dora"]);
    rig
}

/// A connection on which a login may begin.
fn connected(rig: &Rig) -> BareClient {
    let mut client = BareClient::connect(rig.server().address()).unwrap();
    assert!(client.begin_login());
    client
}

fn timed(act: impl FnOnce() -> u8) -> Duration {
    let began = Instant::now();
    assert_eq!(act(), FAILURE);
    began.elapsed()
}

/// How long it takes to refuse a stranger's key, so many times for each of [`WHO`], in turns.
fn keys_refused(rig: &Rig, times: usize) -> Vec<Vec<Duration>> {
    let stranger = rig.path("eve-key");
    let mut taken = vec![Vec::new(); WHO.len()];
    for _ in 0..times / BATCH {
        let mut clients: Vec<BareClient> = WHO.iter().map(|_| connected(rig)).collect();
        for turn in 0..BATCH {
            // Whoever comes first in a round may meet another machine than whoever comes last.
            for at in (0..WHO.len()).map(|at| (at + turn) % WHO.len()) {
                let user = format!("{}+root+db1", WHO[at]);
                taken[at].push(timed(|| clients[at].prove(&user, &stranger)));
            }
        }
    }
    taken
}

/// How long it takes to refuse a wrong code of who has a phone, and of who has none.
fn codes_refused(rig: &Rig, times: usize) -> Vec<Vec<Duration>> {
    let wrong = rig.phone("ana").wrong();
    let mut taken = vec![Vec::new(); 2];
    for _ in 0..times {
        for (who, taken) in ["ana", "eve"].iter().zip(&mut taken) {
            let (user, mut client) = (format!("{who}+root+db1"), connected(rig));
            assert_eq!(client.prove(&user, &rig.path(format!("{who}-key"))), FAILURE, "a code is asked for");
            assert_eq!(client.ask_for_prompt(&user), INFO_REQUEST, "{who}");
            taken.push(timed(|| client.respond(&[&wrong])));
        }
    }
    taken
}

/// How often one of the first took longer than one of the second: a half where nobody can tell them apart.
fn told_apart(one: &[Duration], other: &[Duration]) -> f64 {
    let beats = |a: &Duration, b: &Duration| match a.cmp(b) {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    };
    let sum: f64 = one.iter().flat_map(|a| other.iter().map(move |b| beats(a, b))).sum();
    sum / (one.len() * other.len()) as f64
}

#[test]
fn no_refusal_of_a_key_or_a_code_comes_before_its_time() {
    let rig = scene();
    for taken in [keys_refused(&rig, BATCH), codes_refused(&rig, 2)].concat() {
        assert!(taken.iter().all(|took| *took >= FLOOR), "{taken:?}");
    }
}

#[test]
#[ignore = "long: two minutes of refusals"]
fn the_time_of_a_refusal_tells_nothing_about_the_operator() {
    let rig = scene();
    for (what, taken) in [("keys", keys_refused(&rig, 200)), ("codes", codes_refused(&rig, 200))] {
        for (at, one) in taken.iter().enumerate() {
            for other in &taken[at + 1..] {
                let apart = told_apart(one, other);
                println!("{what}: {apart:.3}");
                assert!(CHANCE.contains(&apart), "{what}: {apart:.3}");
            }
        }
    }
}

#[test]
fn times_that_differ_are_told_apart() {
    let (short, long): (Vec<_>, Vec<_>) =
        (0..100).map(|n| (Duration::from_micros(100 + n), Duration::from_micros(150 + n))).unzip();
    assert!(!CHANCE.contains(&told_apart(&long, &short)) && !CHANCE.contains(&told_apart(&short, &long)));
    assert_eq!(told_apart(&short, &short), 0.5);
}
