//! Puts a long recording of a terminal into a bastion's directory: `long_recording DIR HOURS MEGABYTES` prints its id.
//! It never touches a directory that is in use. For measuring replays: see `integration-tests/bench/replay`.

use std::path::Path;

use anyhow::Context as _;
use bartizan::bastion::Bastion;
use bartizan::config::Config;
use bartizan::control::lock::Lock;
use bartizan::store::{NewRecording, NewSession, RecordingEnd, RecordingState};
use ledger::recording::{Header, Stamp, Stream, Writer};

/// Bytes of output in one frame.
const FRAME: usize = 500;
const BEGUN_MS: i64 = 1_767_323_045_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, hours, megabytes] = arguments.as_slice() else {
        anyhow::bail!("usage: long_recording DIR HOURS MEGABYTES");
    };
    let (hours, megabytes) = (hours.parse()?, megabytes.parse()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(made(Path::new(dir), hours, megabytes))
}

async fn made(dir: &Path, hours: u64, megabytes: usize) -> anyhow::Result<()> {
    let _lock = Lock::take(dir).context("the directory is in use")?;
    let bastion = Bastion::open(Config::load(dir)?).await?;
    let now = bastion.clock.now();
    let (id, session) = (bastion.ids.recording(now), bastion.ids.session(now));
    let (key, envelope) = bastion.keys.recording_key(id.as_str())?;
    let header = Header {
        recording: id.to_string(),
        session: session.to_string(),
        channel: 0,
        node: "bench".into(),
        operator: "ana".into(),
        device: None,
        target: "web-1".into(),
        account: "deploy".into(),
        kind: "shell".into(),
        started: now,
        envelope,
    };
    let (name, kind) = (session.as_str(), "shell");
    let new = NewSession {
        id: name,
        operator: "ana",
        device: None,
        target: "web-1",
        account: "deploy",
        peer: "127.0.0.1:1",
        reason: None,
        started: BEGUN_MS,
    };
    bastion.store.start_session(&new).await?;
    let row = NewRecording {
        id: id.as_str(),
        session: name,
        operator: "ana",
        device: None,
        target: "web-1",
        account: "deploy",
        kind,
        command: None,
        started: BEGUN_MS,
    };
    bastion.store.start_recording(&row).await?;
    let mut writer = Writer::create(bastion.recordings.dir(), &header, &key)?;
    written(&mut writer, hours * 3600, megabytes * 1_000_000)?;
    let head = writer.seal()?;
    let end = RecordingEnd {
        state: RecordingState::Sealed,
        ended: BEGUN_MS + i64::try_from(hours)? * 3_600_000,
        outcome: "ok",
        bytes: head.bytes,
        frames: head.frames,
        ignored: 0,
        digest: Some(head.digest.bytes()),
    };
    bastion.store.end_recording(id.as_str(), &end).await?;
    bastion.audit.stop().await;
    bastion.store.close().await;
    std::io::Write::write_all(&mut std::io::stdout(), format!("{id}\n").as_bytes())?;
    Ok(())
}

/// A day's work at a terminal: logs with colours, a program that draws whole screens, an editor on another page, resizes.
fn written(writer: &mut Writer, seconds: u64, bytes: usize) -> anyhow::Result<()> {
    let frames = (bytes / FRAME) as u64;
    let at = |n: u64| Stamp {
        monotonic_ns: 1_000_000_000 + seconds * 1_000_000 * n / frames * 1000,
        wall_ns: BEGUN_MS * 1_000_000,
    };
    let request = br#"{"request":"shell","terminal":{"term":"xterm","columns":120,"rows":40}}"#;
    writer.append(Stream::Request, at(0), request)?;
    let mut noise = 88_172_645_463_325_252_u64;
    let mut random = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        noise
    };
    let (mut text, mut line) = (String::new(), 0_u64);
    for n in 1..=frames {
        while text.len() < FRAME {
            line += 1;
            let (a, b) = (random(), random());
            let row = line % 38 + 1;
            match n / 2000 % 3 {
                0 => text.push_str(&format!(
                    "\x1b[3{}m{line}\x1b[0m GET /{a:x}/{b:x} 200 \x1b[1m{}\x1b[0m ms\r\n",
                    a % 8,
                    b % 900
                )),
                1 => text.push_str(&format!(
                    "\x1b[{row};1H\x1b[7m{line:8}\x1b[0m {a:x} {b:x} {}.{}\x1b[K",
                    a % 100,
                    b % 10
                )),
                _ => text.push_str(&format!("{a:x} {b:x} {a:o} {line}\r\n")),
            }
        }
        if n % 6000 == 2000 {
            text.push_str("\x1b[?1049h\x1b[2J");
        }
        if n % 6000 == 4000 {
            text.push_str("\x1b[?1049l");
        }
        if n == frames * 9 / 10 {
            text.push_str("\r\nthe needle of this haystack\r\n");
        }
        writer.append(Stream::Output, at(n), text.as_bytes())?;
        text.clear();
    }
    Ok(())
}
