//! Drives `bartizan-verify` as people and scripts do.
//!
//! Never looks inside: folders in, exit code and text out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a scene that cannot be set fails its test, and a test tells its figures"
)]

#[path = "../power/chance.rs"]
mod chance;
mod tamper;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bartizan_ledger::evidence;
use bartizan_ledger::log::{Event, Log, Sign};
use bartizan_ledger::recording::{Header, Stamp, Stream, Writer, recover};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Map, Value};

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

fn open(dir: &Path, seed: u8) -> Log {
    Log::open(&dir.join("log"), Box::new(Signer(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())))
        .unwrap()
}

fn note(log: &mut Log, kind: &str, detail: Map<String, Value>) {
    let mut event = Event::new("2026-01-02T03:04:05Z".parse().unwrap(), kind, "node-1");
    event.detail = detail;
    log.append(&event).unwrap();
}

fn begin(dir: &Path, log: &mut Log, id: char) -> (Writer, String) {
    let recording = format!("r-{}", id.to_string().repeat(26));
    let header = Header {
        recording: recording.clone(),
        session: format!("s-{}", "1".repeat(26)),
        channel: 0,
        node: "node-1".into(),
        operator: "alice".into(),
        device: None,
        target: "web-1".into(),
        account: "deploy".into(),
        kind: "shell".into(),
        started: "2026-01-02T03:04:05Z".parse().unwrap(),
        envelope: vec![0; 90],
    };
    let mut writer = Writer::create(&dir.join("recordings"), &header, &[7; 32]).unwrap();
    note(log, evidence::STARTED, evidence::started(&recording));
    for i in 0..5 {
        writer
            .append(Stream::Output, Stamp { monotonic_ns: i, wall_ns: 0 }, format!("line {i}\r\n").as_bytes())
            .unwrap();
    }
    writer.syncer().sync().unwrap();
    note(log, evidence::COMMITTED, evidence::committed([(recording.as_str(), writer.head())]));
    (writer, recording)
}

/// A bartizan folder with a sealed recording A, a recovered B and a running C.
fn scene(dir: &Path) {
    fs::create_dir(dir.join("recordings")).unwrap();
    let mut log = open(dir, 1);
    let (writer, id) = begin(dir, &mut log, 'A');
    let head = writer.seal().unwrap();
    note(&mut log, evidence::SEALED, evidence::sealed(&id, &head));
    let (mut writer, id) = begin(dir, &mut log, 'B');
    writer.append(Stream::Output, Stamp::default(), b"cut").unwrap();
    let path = writer.path().to_owned();
    let length = writer.head().bytes;
    drop(writer);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 3).unwrap();
    let found = recover(&path).unwrap();
    note(&mut log, evidence::RECOVERED, evidence::recovered(&id, &found.head, found.ignored));
    begin(dir, &mut log, 'C');
    log.checkpoint().unwrap();
}

fn recording(dir: &Path, id: char) -> PathBuf {
    dir.join("recordings").join(format!("r-{}.rec", id.to_string().repeat(26)))
}

/// The exit code, standard output and standard error.
fn run(arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bartizan-verify")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(path: &Path) -> (i32, Value) {
    let (code, out, _) = run(&[path.to_str().unwrap(), "--json"]);
    (code, serde_json::from_str(&out).unwrap())
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 0x20;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_folder_a_log_and_a_single_recording_verify() {
    let dir = tempfile::tempdir().unwrap();
    scene(dir.path());
    let (code, out, _) = run(&[dir.path().to_str().unwrap()]);
    assert_eq!(code, 0, "{out}");
    for text in [
        "log: 8 entries, 8 signed",
        "sealed: 6 frames",
        "recovered after a crash: 5 frames",
        "ignored",
        "unfinished: 5 frames",
        "the log vouches for 5 frames",
        "--key",
        "--checkpoint",
        "ok: the log and 3 recordings",
    ] {
        assert!(out.contains(text), "{text} not in:\n{out}");
    }
    let (code, found) = json(dir.path());
    assert_eq!(
        (code, &found["ok"], &found["recordings"][1]["state"]),
        (0, &Value::from(true), &Value::from("recovered"))
    );
    assert_eq!(json(&dir.path().join("log")).0, 0);
    let (code, found) = json(&recording(dir.path(), 'A'));
    assert_eq!((code, &found["recordings"][0]["state"]), (0, &Value::from("sealed")));
    let alone = dir.path().join("alone.rec");
    fs::copy(recording(dir.path(), 'A'), &alone).unwrap();
    let (code, found) = json(&alone);
    assert_eq!((code, &found["recordings"][0]["state"]), (0, &Value::from("ended")));
    assert!(found["notes"].to_string().contains("without a sound log"));
}

#[test]
fn a_flipped_byte_is_named_with_its_position() {
    let dir = tempfile::tempdir().unwrap();
    scene(dir.path());
    let path = recording(dir.path(), 'A');
    let length = fs::read(&path).unwrap().len();
    flip(&path, length - 70);
    let (code, found) = json(dir.path());
    let broken = &found["recordings"][0];
    assert_eq!((code, &broken["ok"], broken["frame"].as_u64()), (1, &Value::from(false), Some(5)));
    assert!(broken["byte"].as_u64().unwrap() <= (length - 70) as u64);
    assert_eq!(found["recordings"][1]["ok"], true, "the others have their own answer");
    flip(&path, length - 70);
    assert_eq!(json(dir.path()).0, 0);

    let entries = dir.path().join("log/entries.jsonl");
    let second = fs::read(&entries).unwrap().iter().position(|b| *b == b'\n').unwrap() + 1;
    flip(&entries, second + 30);
    let (code, found) = json(dir.path());
    assert_eq!(
        (code, found["log"]["entry"].as_u64(), found["log"]["byte"].as_u64()),
        (1, Some(1), Some(second as u64))
    );
    let (_, out, _) = run(&[dir.path().to_str().unwrap()]);
    assert!(
        out.contains(&format!("BROKEN  log: entries.jsonl, byte {second}, entry 1: the event was changed")),
        "{out}"
    );
}

#[test]
fn missing_planted_and_swapped_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    scene(dir.path());
    let (a, b) = (recording(dir.path(), 'A'), recording(dir.path(), 'B'));
    let kept = fs::read(&a).unwrap();
    fs::remove_file(&a).unwrap();
    let (code, out, _) = run(&[dir.path().to_str().unwrap()]);
    assert!(code == 1 && out.contains("the file is missing, the log speaks of it last at entry 2"), "{out}");
    fs::write(&a, fs::read(&b).unwrap()).unwrap();
    assert_eq!(json(dir.path()).0, 1);
    fs::write(&a, kept).unwrap();
    let planted = dir.path().join("recordings/r-\u{1b}[2J.rec");
    fs::copy(&a, planted).unwrap();
    let (code, out, _) = run(&[dir.path().to_str().unwrap()]);
    assert!(code == 1 && !out.contains('\u{1b}') && out.contains("\\u{1b}"), "{out}");
}

#[test]
fn a_roll_back_needs_the_checkpoint_kept_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    scene(dir.path());
    let log = dir.path().join("log");
    let old: Vec<_> = ["entries.jsonl", "checkpoint", "checkpoints"]
        .map(|name| log.join(name))
        .map(|p| (fs::read(&p).unwrap(), p))
        .into();
    let mut newer = open(dir.path(), 1);
    note(&mut newer, "admin.changed", Map::new());
    newer.checkpoint().unwrap();
    drop(newer);
    let kept = dir.path().join("kept");
    fs::copy(log.join("checkpoint"), &kept).unwrap();
    let (path, kept) = (dir.path().to_str().unwrap(), kept.to_str().unwrap());
    assert_eq!(run(&[path, "--checkpoint", kept]).0, 0);
    for (bytes, path) in old {
        fs::write(path, bytes).unwrap();
    }
    assert_eq!(run(&[path]).0, 0);
    let (code, out, _) = run(&[path, "--checkpoint", kept]);
    assert!(code == 1 && out.contains("9 entries were signed"), "{out}");
}

#[test]
fn a_log_signed_anew_by_another_key_fails_under_the_given_key() {
    let dir = tempfile::tempdir().unwrap();
    scene(dir.path());
    let public = fs::read_to_string(dir.path().join("log/public")).unwrap();
    let forged = tempfile::tempdir().unwrap();
    fs::create_dir(forged.path().join("recordings")).unwrap();
    open(forged.path(), 2).checkpoint().unwrap();
    let path = forged.path().to_str().unwrap();
    assert_eq!(run(&[path]).0, 0, "its own key is all it has");
    let (code, out, _) = run(&[path, "--key", public.trim()]);
    assert!(code == 1 && out.contains("not signed by the log's key"), "{out}");
    let file = dir.path().join("log/public");
    assert_eq!(run(&[dir.path().to_str().unwrap(), "--key", file.to_str().unwrap()]).0, 0);
}

#[test]
fn empty_half_written_foreign_and_future_files_get_a_clear_answer() {
    let dir = tempfile::tempdir().unwrap();
    scene(dir.path());
    let path = recording(dir.path(), 'A');
    let whole = fs::read(&path).unwrap();
    let mut future = whole.clone();
    future[9] = 9;
    for (bytes, text) in [
        (vec![], "is empty"),
        (whole[..20].to_vec(), "half written"),
        (b"#!/bin/sh\n".to_vec(), "not a recording"),
        (future, "format version 9"),
        (whole[..whole.len() - 1].to_vec(), "the end was cut off"),
    ] {
        fs::write(&path, bytes).unwrap();
        for given in [path.as_path(), dir.path()] {
            let (code, out, err) = run(&[given.to_str().unwrap()]);
            assert!(code == 1 && out.contains(text) && err.is_empty(), "{text}: {out}{err}");
        }
    }
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    assert_eq!(run(&[dir.path().to_str().unwrap()]).0, 1, "a folder without its log does not verify");
}

#[test]
fn wrong_usage_is_told_on_stderr_with_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    for (arguments, text) in [
        (vec![], "Usage"),
        (vec!["/no/such/folder"], "cannot read"),
        (vec![path], "holds neither a log nor recordings"),
        (vec![path, "--frobnicate"], "unexpected argument"),
    ] {
        let (code, out, err) = run(&arguments);
        assert!(code == 2 && out.is_empty() && err.contains(text), "{code} {out} {err}");
    }
    scene(dir.path());
    for (option, value) in
        [("--key", "nonsense"), ("--checkpoint", "/no/such/file"), ("--key", "a+00000000+AQ==")]
    {
        assert_eq!(run(&[path, option, value]).0, 2);
    }
}
