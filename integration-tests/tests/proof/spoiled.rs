//! Certificates that are right but for one thing, and the code that each has in the log.
//! It never spoils two things at once, so that no check stands in for another.

use bartizan_integration_tests::Rig;
use posture::certificate::{SERIAL_WINDOW, VALID_AFTER, VALID_BEFORE};
use posture::report::{Hex, Text};
use russh::keys::ssh_key::certificate::CertType;

use crate::agent::private;
use crate::forge::{Making, key_of};

/// A number that was used before.
pub(crate) const USED: u64 = 9_000_000;

/// What is done to a certificate before it is signed.
pub(crate) type Change = Box<dyn Fn(&mut Making) + Send + Sync>;

/// What it is, its code, and how it is done.
pub(crate) type Spoiled = (&'static str, &'static str, Change);

/// All of them.
pub(crate) fn spoiled(rig: &Rig) -> Vec<Spoiled> {
    [form(), signer(rig), binding(), freshness()].into_iter().flatten().collect()
}

fn change(change: fn(&mut Making)) -> Change {
    Box::new(change)
}

fn form() -> Vec<Spoiled> {
    let large = |bytes: usize| -> Change { Box::new(move |making| making.json = Some(" ".repeat(bytes))) };
    vec![
        ("larger than a certificate may be", "POSTURE-001", large(33 << 10)),
        ("a report larger than a report may be", "POSTURE-001", large(17 << 10)),
        ("no JSON", "POSTURE-001", change(|making| making.json = Some("posture".into()))),
        (
            "an unknown field",
            "POSTURE-001",
            change(|making| making.say("{\"v\":1", "{\"v\":1,\"root\":true")),
        ),
        ("a field twice", "POSTURE-001", change(|making| making.say("{\"v\":1", "{\"v\":1,\"v\":1"))),
        ("another version", "POSTURE-001", change(|making| making.say("{\"v\":1", "{\"v\":2"))),
        ("bytes after the report", "POSTURE-001", change(|making| making.say("]}", "]}{}"))),
        ("no critical option", "POSTURE-001", change(|making| making.critical.clear())),
        (
            "one more critical option",
            "POSTURE-001",
            change(|making| making.critical.push(("verify-required", ""))),
        ),
        ("a critical option with a value", "POSTURE-001", change(|making| making.critical[0].1 = "no")),
        ("one more extension", "POSTURE-001", change(|making| making.more.push(("permit-pty", "")))),
        (
            "another name for the report",
            "POSTURE-001",
            change(|making| making.renamed = Some("posture-v2@bartizan")),
        ),
        ("a host's certificate", "POSTURE-001", change(|making| making.kind = CertType::Host)),
        (
            "the name of another device",
            "POSTURE-001",
            change(|making| making.id = "device:bob-laptop".into()),
        ),
    ]
}

fn signer(rig: &Rig) -> Vec<Spoiled> {
    let person = private(&rig.path("ana-key"));
    vec![
        ("no device's key", "POSTURE-002", change(|making| making.signer = key_of("a stranger's CA"))),
        ("the person's own key", "POSTURE-002", Box::new(move |making| making.signer = person.clone())),
        (
            "another device's report",
            "POSTURE-002",
            change(|making| {
                making.report.device.uid = Text::parse("bob-laptop").unwrap();
                making.id = "device:bob-laptop".into();
            }),
        ),
        (
            "a login that another key signed",
            "POSTURE-003",
            change(|making| making.signs = key_of("a thief's")),
        ),
    ]
}

fn binding() -> Vec<Spoiled> {
    vec![
        (
            "another session's identifier",
            "POSTURE-004",
            change(|making| {
                making.report.bind.session_id = Hex::new(&[7; 32]).unwrap();
            }),
        ),
        (
            "a part of this session's identifier",
            "POSTURE-004",
            change(|making| {
                let whole = making.report.bind.session_id.bytes().to_vec();
                making.report.bind.session_id = Hex::new(&whole[..whole.len() - 1]).unwrap();
            }),
        ),
        (
            "another host key",
            "POSTURE-004",
            change(|making| {
                making.report.bind.hostkey_sha256 = Hex::new(&[7; 32]).unwrap();
            }),
        ),
        ("a forwarded agent", "POSTURE-004", change(|making| making.report.bind.is_forwarding = true)),
    ]
}

fn freshness() -> Vec<Spoiled> {
    vec![
        (
            "expired",
            "POSTURE-005",
            change(|making| (making.from, making.until) = (making.from - 600, making.until - 600)),
        ),
        (
            "not yet valid",
            "POSTURE-005",
            change(|making| (making.from, making.until) = (making.from + 600, making.until + 600)),
        ),
        ("valid for long", "POSTURE-005", change(|making| making.until += VALID_BEFORE + VALID_AFTER)),
        ("valid for ever", "POSTURE-005", change(|making| making.until = u64::MAX)),
        ("old facts", "POSTURE-005", change(|making| making.report.collected_at -= 1000)),
        ("facts of the future", "POSTURE-005", change(|making| making.report.collected_at += 1000)),
        ("a number used before", "POSTURE-005", change(|making| making.report.bind.seq = USED)),
        (
            "a number of long ago",
            "POSTURE-005",
            change(|making| making.report.bind.seq = USED - SERIAL_WINDOW - 1),
        ),
    ]
}
