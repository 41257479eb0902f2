//! A sealed recording and a signed log, made by the code that makes them in the bastion.
//! Never different from one run to the next.

use std::fs;
use std::path::Path;

use bartizan_ledger::log::{Event, Log, Sign};
use bartizan_ledger::recording::{Head, Header, Stamp, Stream, Writer};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

/// The recording's key.
pub const KEY: [u8; 32] = [7; 32];

/// A sealed recording.
pub struct Sealed {
    /// The file.
    pub bytes: Vec<u8>,
    /// The head that the log has of it.
    pub head: Head,
    /// Every frame's stream and content.
    pub frames: Vec<(Stream, Vec<u8>)>,
    /// Where the first frame begins.
    pub front: usize,
}

/// The header of every recording here.
fn header() -> Header {
    Header {
        recording: format!("r-{}", "0".repeat(26)),
        session: format!("s-{}", "1".repeat(26)),
        channel: 0,
        node: "node-1".into(),
        operator: "alice".into(),
        device: Some("lt-0421".into()),
        target: "web-1".into(),
        account: "deploy".into(),
        kind: "shell".into(),
        started: jiff::Timestamp::UNIX_EPOCH,
        envelope: vec![5; 60],
    }
}

/// A recording with a frame of each stream, one of them packed, written in `dir` and read back.
pub fn recording(dir: &Path) -> Sealed {
    let mut writer = Writer::create(dir, &header(), &KEY).expect("a recording");
    let front = usize::try_from(writer.head().bytes).expect("a length");
    let long = b"the same words over and over, ".repeat(20);
    let frames: Vec<(Stream, Vec<u8>)> = vec![
        (Stream::Request, br#"{"request":"shell"}"#.to_vec()),
        (Stream::Output, b"$ ".to_vec()),
        (Stream::Input, b"ls\r".to_vec()),
        (Stream::Output, long),
        (Stream::Stderr, b"no such file\n".to_vec()),
        (Stream::Resize, br#"{"columns":80,"rows":24}"#.to_vec()),
        (Stream::File, br#"{"path":"/etc/motd"}"#.to_vec()),
        (Stream::Note, br#"{"told":"bartizan: cut"}"#.to_vec()),
    ];
    for (number, (stream, payload)) in (1..).zip(&frames) {
        let stamp = Stamp { monotonic_ns: number * 1_000_000, wall_ns: 0 };
        writer.append(*stream, stamp, payload).expect("a frame");
    }
    let path = writer.path().to_owned();
    let head = writer.seal().expect("sealed");
    Sealed { bytes: fs::read(path).expect("the file"), head, frames, front }
}

struct Signer(Ed25519KeyPair);

impl Sign for Signer {
    fn name(&self) -> &str {
        "fuzz/audit"
    }

    fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().expect("32 bytes")
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().expect("64 bytes")
    }
}

/// Who signs the log.
pub fn signer() -> Box<dyn Sign> {
    Box::new(Signer(Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key")))
}

/// A log of seven entries under three checkpoints, written in `dir`.
pub fn log(dir: &Path) {
    let mut log = Log::open(dir, signer()).expect("a log");
    for number in 0..7 {
        let mut event = Event::new(jiff::Timestamp::UNIX_EPOCH, "auth.login", "node-1");
        event.operator = Some("alice".into());
        event.detail.insert("number".into(), number.into());
        log.append(&event).expect("an entry");
        if number % 3 == 0 {
            log.checkpoint().expect("a checkpoint");
        }
    }
}
