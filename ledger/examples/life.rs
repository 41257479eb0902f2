//! One life of a log and its recordings, as the server leads it: `life FOLDER`. It says what it has been promised to last, as
//! soon as it is promised. The test of power cuts watches its writes.
//!
//! Never ends in order: the last recording is left open and the last entries unsigned.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;

use bartizan_ledger::evidence;
use bartizan_ledger::log::{Event, Log, Sign};
use bartizan_ledger::recording::{Header, Stamp, Stream, Writer};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Map, Value};

/// Payloads smaller than a sector, larger than a page, larger than a frame.
const SIZES: [usize; 6] = [90, 700, 5_000, 60, 70_000, 1];

struct Signer(Ed25519KeyPair, [u8; 32]);

impl Sign for Signer {
    fn name(&self) -> &str {
        "life/audit"
    }

    fn public(&self) -> [u8; 32] {
        self.1
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap_or([0; 64])
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder =
        PathBuf::from(std::env::args_os().nth(1).ok_or("give a folder with an empty folder `recordings`")?);
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).map_err(|_| "no key")?;
    let public = pair.public_key().as_ref().try_into()?;
    let mut log = Log::open(&folder.join("log"), Box::new(Signer(pair, public)))?;
    say("signed 0")?;
    let mut open: Option<(Writer, String)> = None;
    for round in 0..4_u8 {
        let id = format!("r-{}", char::from(b'A' + round).to_string().repeat(26));
        let mut writer = Writer::create(&folder.join("recordings"), &header(&id)?, &[7; 32])?;
        say(&format!("begun {id} 0"))?;
        note(&mut log, evidence::STARTED, evidence::started(&id))?;
        log.sync()?;
        say(&format!("logged {}", log.size()))?;
        for piece in 0..6_u64 {
            let payload = noise(piece, SIZES.get(piece as usize).copied().unwrap_or(1));
            writer.append(Stream::Output, Stamp { monotonic_ns: piece, wall_ns: 0 }, &payload)?;
            if piece % 2 == 1 {
                writer.syncer().sync()?;
                say(&format!("kept {id} {}", writer.head().frames))?;
            }
        }
        writer.syncer().sync()?;
        note(&mut log, evidence::COMMITTED, evidence::committed([(id.as_str(), writer.head())]))?;
        note(&mut log, "admin.something", Map::new())?;
        log.sync()?;
        say(&format!("logged {}", log.size()))?;
        if let Some((before, id)) = open.replace((writer, id)) {
            let head = before.seal()?;
            note(&mut log, evidence::SEALED, evidence::sealed(&id, &head))?;
            log.sync()?;
            say(&format!("sealed {id} {}", head.frames))?;
        }
        if round < 3 {
            let signed = log.checkpoint()?;
            say(&format!("signed {}", signed.size))?;
        }
    }
    if let Some((writer, _)) = &mut open {
        writer.append(Stream::Output, Stamp::default(), b"not on disk yet")?;
    }
    note(&mut log, "admin.last", Map::new())?;
    log.flush()?;
    Ok(())
}

fn say(what: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{what}")
}

fn note(log: &mut Log, kind: &str, detail: Map<String, Value>) -> Result<(), Box<dyn Error>> {
    let mut event = Event::new("2026-01-02T03:04:05Z".parse()?, kind, "node-1");
    event.detail = detail;
    log.append(&event)?;
    Ok(())
}

fn header(id: &str) -> Result<Header, Box<dyn Error>> {
    Ok(Header {
        recording: id.to_owned(),
        session: format!("s-{}", "1".repeat(26)),
        channel: 0,
        node: "node-1".into(),
        operator: "alice".into(),
        device: None,
        target: "web-1".into(),
        account: "deploy".into(),
        kind: "shell".into(),
        started: "2026-01-02T03:04:05Z".parse()?,
        envelope: vec![0; 90],
    })
}

/// Bytes that do not shrink.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}
