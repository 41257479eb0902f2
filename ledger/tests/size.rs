//! Recordings as large as a session can make them: ten million tiny frames, a million resizes, 50 GiB of output. Memory stays
//! flat while they are written, read and verified, here and in the verifier's own process.
//!
//! Never keeps a file: each is gone with its test. What 50 GiB say is repetitive, so that they fit on a disk.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a scene that cannot be set fails its test, and a test tells its figures"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Instant;

use bartizan_ledger::recording::{Header, Reader, Stamp, State, Stream, Writer, file_name, verify};

const KEY: [u8; 32] = [7; 32];
/// What a process may need beyond what it begins with, in bytes.
const FLAT: u64 = 24 << 20;
/// All the address space the verifier gets, in KiB: programs and libraries are the most of it.
const ROOM: u32 = 128 << 10;
const ID: &str = "r-0123456789ABCDEFGHJKMNPQRS";

/// One at a time: memory is the whole process's.
static ALONE: Mutex<()> = Mutex::new(());

fn header() -> Header {
    Header {
        recording: ID.to_owned(),
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
    }
}

/// The most memory this process has held since the last call of [`forget_peak`].
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn forget_peak() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}

/// Writes a recording of so many pieces, reads it back, verifies it; says what that took.
fn lived_through(pieces: u64, stream: Stream, piece: &[u8]) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (before, began) = (forget_peak(), Instant::now());
    let path = written(folder.path(), pieces, stream, piece);
    let wrote = began.elapsed();
    let mut reader = Reader::open(&path, Some(&KEY)).unwrap();
    let (mut frames, mut bytes) = (0, 0_u64);
    for frame in reader.by_ref() {
        let frame = frame.unwrap();
        frames += u64::from(frame.stream == stream);
        bytes += frame.payload.len() as u64;
    }
    assert!(reader.rest().unwrap().ended && frames >= pieces, "{frames}");
    assert_eq!(bytes, pieces * piece.len() as u64);
    let read = began.elapsed();
    let verified = verify(&path, Some(&KEY), None, &[]).unwrap();
    assert_eq!(verified.state, State::Ended);
    let grown = peak().saturating_sub(before);
    println!(
        "{pieces} pieces, {} MiB said, {} MiB on disk, written in {wrote:?}, read in {:?}, verified in {:?}; {} KiB more",
        bytes >> 20,
        std::fs::metadata(&path).unwrap().len() >> 20,
        read - wrote,
        began.elapsed() - read,
        grown >> 10
    );
    assert!(grown < FLAT, "{grown} bytes more than before");
    let verifier = env!("CARGO_BIN_EXE_bartizan-verify");
    let line = format!("ulimit -v {ROOM}; exec '{verifier}' '{}'", path.display());
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("ok"), "{output:?}");
}

fn written(folder: &Path, pieces: u64, stream: Stream, piece: &[u8]) -> PathBuf {
    let mut writer = Writer::create(folder, &header(), &KEY).unwrap();
    for n in 0..pieces {
        writer.append(stream, Stamp { monotonic_ns: n, wall_ns: 0 }, piece).unwrap();
    }
    writer.seal().unwrap();
    folder.join(file_name(ID))
}

#[test]
#[ignore = "long: ten million frames"]
fn ten_million_tiny_frames_take_flat_memory() {
    lived_through(10_000_000, Stream::Output, b"x");
}

#[test]
#[ignore = "long: a million frames"]
fn a_million_resizes_take_flat_memory() {
    lived_through(1_000_000, Stream::Resize, br#"{"columns":80,"rows":24}"#);
}

#[test]
#[ignore = "long: 50 GiB"]
fn a_session_of_50_gib_takes_flat_memory() {
    let block = b"the same line, over and over, as a program in a loop prints it\r\n".repeat(16 << 10);
    assert_eq!(block.len(), 1 << 20);
    lived_through(50 << 10, Stream::Output, &block);
}
