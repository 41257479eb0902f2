//! Measures the audit log: `cargo run --release -p bartizan-ledger --example log FOLDER [ENTRIES]`.
//!
//! Never part of a test: it prints numbers of this machine and asserts nothing. FOLDER must be new.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use bartizan_ledger::log::{Event, Filter, Log, Reader, Sign, VerifierKey, prove, tail, verify};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

struct Signer(Ed25519KeyPair, [u8; 32]);

impl Sign for Signer {
    fn name(&self) -> &str {
        "measured/audit"
    }

    fn public(&self) -> [u8; 32] {
        self.1
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap_or([0; 64])
    }
}

fn signer() -> Result<Box<Signer>, Box<dyn Error>> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).map_err(|_| "no key")?;
    let public = pair.public_key().as_ref().try_into()?;
    Ok(Box::new(Signer(pair, public)))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("give a new folder")?);
    let entries: u64 = arguments.next().and_then(|n| n.to_str()?.parse().ok()).unwrap_or(1_000_000);
    let mut out = std::io::stdout().lock();
    let mut told = |what: &str, count: u64, began: Instant| {
        let seconds = began.elapsed().as_secs_f64();
        writeln!(out, "{what:<28}{seconds:>9.3} s {:>12.0} entries/s", count as f64 / seconds)
    };

    let mut event = Event::new("2026-01-01T00:00:00Z".parse()?, "channel.session", "node-1");
    event.session = Some(format!("s-{}", "0".repeat(26)));
    event.operator = Some("alice".into());
    event.target = Some("web-1".into());
    event.detail.insert("recording".into(), format!("r-{}", "0".repeat(26)).into());
    let began = Instant::now();
    let mut log = Log::open(&folder, signer()?)?;
    for _ in 0..entries {
        log.append(&event)?;
    }
    let newest = log.checkpoint()?;
    told("append and one checkpoint", entries, began)?;

    let began = Instant::now();
    for _ in 0..200 {
        log.append(&event)?;
        log.sync()?;
    }
    told("append, each synced", 200, began)?;
    let began = Instant::now();
    for _ in 0..100 {
        log.append(&event)?;
        log.checkpoint()?;
    }
    told("append, each under a note", 100, began)?;
    drop(log);

    let total = entries + 300;
    let began = Instant::now();
    drop(Log::open(&folder, signer()?)?);
    told("open", total, began)?;
    let began = Instant::now();
    verify(&folder, &VerifierKey::of(signer()?.as_ref())?, &[], |_| {})?;
    told("verify", total, began)?;
    let began = Instant::now();
    let read = Reader::open(&folder, Filter { operator: Some("bob".into()), ..Filter::default() })?.count();
    told("read through a filter", total + read as u64, began)?;
    let began = Instant::now();
    let last = tail(&folder, Filter::default(), 20)?.0.len();
    told("the last twenty", last as u64, began)?;
    let began = Instant::now();
    prove(&folder, entries / 2, &newest)?;
    told("prove one", 1, began)?;
    Ok(())
}
