//! What the audit log promises, tried on real folders.
//!
//! Never mocks signing: the keys are real Ed25519 keys made from fixed seeds.

mod damage;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;
use crate::merkle;

struct Signer(Ed25519KeyPair);

impl Sign for Signer {
    fn name(&self) -> &str {
        "bastion.example/audit"
    }
    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap()
    }
}

fn signer(seed: u8) -> Box<Signer> {
    Box::new(Signer(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()))
}

fn key() -> VerifierKey {
    VerifierKey::of(signer(1).as_ref()).unwrap()
}

fn event(n: u64) -> Event {
    let mut event =
        Event::new(format!("2026-01-02T03:04:{:02}Z", n % 60).parse().unwrap(), "session.opened", "node-1");
    event.operator = Some(if n.is_multiple_of(2) { "alice" } else { "bob" }.into());
    event.detail = json!({"n": n, "text": "\u{1b}[2J \u{20ac}"}).as_object().unwrap().clone();
    event
}

fn open(dir: &Path) -> Result<Log, OpenError> {
    Log::open(dir, signer(1))
}

/// A log of `count` entries with a checkpoint after every `each` and one at the end.
fn filled(dir: &Path, count: u64, each: u64) -> Vec<Checkpoint> {
    let mut log = open(dir).unwrap();
    let mut made = Vec::new();
    for n in 0..count {
        assert_eq!(log.append(&event(n)).unwrap(), n);
        if (n + 1).is_multiple_of(each) || n + 1 == count {
            made.push(log.checkpoint().unwrap());
        }
    }
    made
}

fn check(dir: &Path) -> Result<Counts, VerifyError> {
    verify(dir, &key(), &[], |_| {})
}

fn broken(result: Result<Counts, VerifyError>) -> Broken {
    match result {
        Err(VerifyError::Broken(broken)) => broken,
        other => panic!("not named: {other:?}"),
    }
}

/// Where each line of the entries begins, and the end.
fn starts(dir: &Path) -> Vec<usize> {
    let text = fs::read(entries(dir)).unwrap();
    [0].into_iter().chain(text.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1)).collect()
}

/// What has no room, or no descriptor, for the newest checkpoint's file for a moment.
#[test]
fn a_checkpoint_that_could_not_be_published_is_made_later_and_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    log.append(&event(0)).unwrap();
    let in_the_way = dir.path().join("checkpoint.new");
    fs::create_dir(&in_the_way).unwrap();
    for _ in 0..2 {
        assert!(matches!(log.checkpoint(), Err(CheckpointError::File { .. })));
    }
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(log.checkpoint().unwrap().size, 1);
    drop(log);
    let history = fs::read_to_string(super::history(dir.path())).unwrap();
    assert_eq!(history.matches("bastion.example/audit\n1\n").count(), 1, "{history}");
    verify(dir.path(), &key(), &[], |_| {}).unwrap();
}

#[test]
fn an_entry_is_exactly_the_object_of_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1, 1);
    let entry = Reader::open(dir.path(), Filter::default()).unwrap().next().unwrap().unwrap();
    assert_eq!(
        entry.json,
        "{\"account\":null,\"code\":null,\"detail\":{\"n\":0,\"text\":\"\\u001b[2J \u{20ac}\"},\"device\":null,\
         \"node\":\"node-1\",\"operator\":\"alice\",\"outcome\":null,\"reason\":null,\"seq\":0,\"session\":null,\
         \"target\":null,\"time\":\"2026-01-02T03:04:00.000000Z\",\"type\":\"session.opened\"}"
    );
    assert_eq!(entry.event, event(0));
    let line: Value = serde_json::from_slice(&fs::read(entries(dir.path())).unwrap()).unwrap();
    assert_eq!(line["leaf"], entry.leaf.to_base64());
}

#[test]
fn the_log_is_continued_and_every_checkpoint_stays_consistent() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = filled(dir.path(), 7, 3);
    let mut log = open(dir.path()).unwrap();
    assert_eq!((log.size(), log.signed(), log.torn().len()), (7, made.last(), 0));
    assert_eq!(log.checkpoint().unwrap(), *made.last().unwrap(), "nothing new, nothing signed");
    for n in 7..40 {
        log.append(&event(n)).unwrap();
    }
    made.push(log.checkpoint().unwrap());
    let counts = check(dir.path()).unwrap();
    // The empty one, three of the first run, one of the second, and the newest once more.
    assert_eq!(counts, Counts { entries: 40, signed: 40, checkpoints: 6, torn: 0 });
    for (older, newer) in
        made.iter().flat_map(|a| made.iter().map(move |b| (a, b))).filter(|(a, b)| a.size <= b.size)
    {
        let proof = consistent(dir.path(), older, newer).unwrap();
        assert!(merkle::extends(older.size, &older.root, newer.size, &newer.root, &proof));
    }
    for entry in Reader::open(dir.path(), Filter::default()).unwrap().map(Result::unwrap) {
        for checkpoint in made.iter().filter(|checkpoint| checkpoint.size > entry.seq) {
            let proof = prove(dir.path(), entry.seq, checkpoint).unwrap();
            assert!(proof.holds(&entry.json, checkpoint));
            assert!(!proof.holds(&entry.json.replace("node-1", "node-2"), checkpoint));
        }
    }
    assert!(matches!(prove(dir.path(), 40, &made[3]), Err(ProofError::Beyond { .. })));
    let forged = Checkpoint { root: made[0].root, ..made[3].clone() };
    assert!(matches!(consistent(dir.path(), &made[0], &forged), Err(ProofError::Differs(40))));
    assert!(matches!(prove(dir.path(), 0, &forged), Err(ProofError::Differs(40))));
}

#[test]
fn opening_tells_whether_it_began_the_log_and_what_no_signature_vouched_for() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    assert!(log.is_new());
    log.append(&event(0)).unwrap();
    log.checkpoint().unwrap();
    log.append(&event(1)).unwrap();
    log.sync().unwrap();
    drop(log);
    let log = open(dir.path()).unwrap();
    assert_eq!((log.is_new(), log.unsigned_at_open(), log.size()), (false, 1, 2));
}

#[test]
fn the_log_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    assert!(matches!(open(dir.path()), Err(OpenError::Busy(_))));
    drop(first);
    open(dir.path()).unwrap();
}

#[test]
fn an_event_that_cannot_be_written_leaves_the_log_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    let mut odd = event(0);
    odd.detail.insert("big".into(), json!(u64::MAX));
    assert!(matches!(log.append(&odd), Err(AppendError::Event(EventError::Canonical(_)))));
    odd.detail.insert("big".into(), json!("x".repeat(MAX_EVENT)));
    assert!(matches!(log.append(&odd), Err(AppendError::Event(EventError::TooLong(_)))));
    assert_eq!(log.append(&event(0)).unwrap(), 0);
    log.checkpoint().unwrap();
    assert_eq!(check(dir.path()).unwrap().entries, 1);
}

#[test]
fn readers_filter_follow_and_find_the_end_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    for n in 0..3000 {
        log.append(&event(n)).unwrap();
    }
    log.sync().unwrap();
    let count = |filter| Reader::open(dir.path(), filter).unwrap().map(Result::unwrap).count();
    let base = Filter::default;
    assert_eq!(count(Filter { operator: Some("bob".into()), ..base() }), 1500);
    assert_eq!(count(Filter { kind: Some("session.".into()), ..base() }), 3000);
    assert_eq!(count(Filter { kind: Some("session.*".into()), ..base() }), 3000);
    assert_eq!(count(Filter { kind: Some("auth.".into()), ..base() }), 0);
    assert_eq!(count(Filter { target: Some("web-1".into()), ..base() }), 0);
    let at = |text: &str| Some(text.parse().unwrap());
    let (since, until) = (at("2026-01-02T03:04:10Z"), at("2026-01-02T03:04:12Z"));
    assert_eq!(count(Filter { since, until, ..base() }), 100);

    let filter = Filter { operator: Some("alice".into()), ..base() };
    let (found, mut follow) = tail(dir.path(), filter.clone(), 500).unwrap();
    assert_eq!(found.iter().map(|e| e.seq).collect::<Vec<_>>(), (2000..3000).step_by(2).collect::<Vec<_>>());
    assert!(follow.next().is_none());
    log.append(&event(3000)).unwrap();
    log.append(&event(3001)).unwrap();
    assert!(follow.next().is_none(), "not written yet");
    log.flush().unwrap();
    assert_eq!(follow.by_ref().map(|e| e.unwrap().seq).collect::<Vec<_>>(), [3000]);
    assert_eq!(tail(dir.path(), base(), 9999).unwrap().0.len(), 3002);
    assert_eq!(tail(dir.path(), base(), 0).unwrap().0.len(), 0);
    let mut file = fs::OpenOptions::new().append(true).open(entries(dir.path())).unwrap();
    file.write_all(b"{\"event\":{\"acc").unwrap();
    assert_eq!(tail(dir.path(), filter, 1).unwrap().0[0].seq, 3000);
    assert_eq!(count(base()), 3002);
}

#[test]
fn an_empty_log_verifies_and_a_folder_without_one_does_not() {
    let dir = tempfile::tempdir().unwrap();
    assert!(check(dir.path()).is_err());
    assert!(tail(dir.path(), Filter::default(), 3).is_err());
    let mut log = open(dir.path()).unwrap();
    assert_eq!(log.checkpoint().unwrap().size, 0);
    assert_eq!(check(dir.path()).unwrap(), Counts { entries: 0, signed: 0, checkpoints: 2, torn: 0 });
    assert_eq!(tail(dir.path(), Filter::default(), 3).unwrap().0, []);
    assert_eq!(fs::read_to_string(public(dir.path())).unwrap().parse(), Ok(key()));
}

#[test]
fn a_reserve_that_is_gone_is_made_again_with_the_next_event() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    assert!(has_reserve(dir.path()));
    fs::remove_file(dir.path().join("reserve")).unwrap();
    assert!(!has_reserve(dir.path()));
    log.append(&event(0)).unwrap();
    log.sync().unwrap();
    assert!(has_reserve(dir.path()));
    fs::write(dir.path().join("reserve"), "half").unwrap();
    log.append(&event(1)).unwrap();
    log.checkpoint().unwrap();
    assert!(has_reserve(dir.path()));
}

#[test]
fn a_full_disk_gives_the_log_up_until_it_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = open(dir.path()).unwrap();
    log.append(&event(0)).unwrap();
    log.checkpoint().unwrap();
    log.append(&event(1)).unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    log.entries = std::sync::Arc::new(crate::durable::Durable::new(full, "/dev/full".into()));
    assert!(matches!(log.sync(), Err(crate::WriteError::Write { .. })));
    assert!(matches!(log.append(&event(2)), Err(AppendError::Write(_))));
    assert!(matches!(log.checkpoint(), Err(CheckpointError::Write(_))));
    drop(log);
    let mut log = open(dir.path()).unwrap();
    assert_eq!(log.append(&event(1)).unwrap(), 1);
    log.checkpoint().unwrap();
    assert_eq!(check(dir.path()).unwrap().signed, 2);
}
