//! Measures how fast a recording takes bytes: `cargo run --release -p bartizan-ledger --example append [FOLDER]`.
//!
//! Never part of a test: it prints numbers of this machine and asserts nothing.

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bartizan_ledger::recording::{Header, Stamp, Stream, Writer};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let mut noise = vec![0; 1 << 20];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut noise)
        .map_err(|_| "no randomness")?;
    let text: Vec<u8> = (0..40_000)
        .flat_map(|i| format!("\x1b[32mline {}\x1b[0m {:x}\r\n", i, i * 7919).into_bytes())
        .collect();
    let zeros = vec![0; 1 << 20];
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{:<10} {:>8} {:>10} {:>12} {:>12} {:>8}",
        "payload", "bytes", "MB/s", "calls/s", "ns/call", "kept"
    )?;
    for (name, source) in [("random", &noise), ("terminal", &text), ("zeros", &zeros)] {
        for size in [16, 256, 4096, 32 * 1024, 256 * 1024] {
            let total = if size < 1024 { 32 << 20 } else { 512 << 20 };
            let (spent, calls, kept) = measure(&folder, source, size, total)?;
            let seconds = spent.as_secs_f64();
            writeln!(
                out,
                "{name:<10} {size:>8} {:>10.0} {:>12.0} {:>12.0} {:>7.1}%",
                (calls * size) as f64 / seconds / 1e6,
                calls as f64 / seconds,
                seconds * 1e9 / calls as f64,
                kept as f64 * 100.0 / (calls * size) as f64,
            )?;
        }
    }
    Ok(())
}

/// Appends `total` bytes of `source` in calls of `size`: the time, the number of calls, the bytes in the file.
fn measure(
    folder: &Path,
    source: &[u8],
    size: usize,
    total: usize,
) -> Result<(Duration, usize, u64), Box<dyn Error>> {
    let header = Header {
        recording: format!("r-{}", "0".repeat(26)),
        session: format!("s-{}", "0".repeat(26)),
        channel: 0,
        node: "measured".into(),
        operator: "alice".into(),
        device: None,
        target: "demo".into(),
        account: "demo".into(),
        kind: "shell".into(),
        started: "2026-01-01T00:00:00Z".parse()?,
        envelope: Vec::new(),
    };
    let mut writer = Writer::create(folder, &header, &[7; 32])?;
    let path = writer.path().to_owned();
    let calls = total / size;
    let mut pieces = source.chunks_exact(size).cycle();
    let began = Instant::now();
    for i in 0..calls {
        let stamp = Stamp { monotonic_ns: i as u64, wall_ns: 0 };
        writer.append(Stream::Output, stamp, pieces.next().unwrap_or_default())?;
    }
    let spent = began.elapsed();
    let kept = writer.head().bytes;
    drop(writer);
    std::fs::remove_file(path)?;
    Ok((spent, calls, kept))
}
