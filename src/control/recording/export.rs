//! A recording in forms that other programs read: plain text, JSON lines, asciicast.
//! It never holds more than a frame, and plain text never holds a character that a terminal obeys.

use std::time::Duration;

use data_encoding::BASE64;
use ledger::recording::{Frame, Stream};
use serde_json::json;

use super::reel::{Reel, size_of};
use super::screen::{USUAL, Utf8};
use super::{Material, script};
use crate::control::clean;
use crate::control::reply::{Reply, Trouble};

/// The forms `recording export` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// What could be read on the screen, line by line.
    Text,
    /// One JSON object a frame.
    Jsonl,
    /// asciicast version 2: asciinema and most players.
    #[value(name = "asciicast-v2")]
    AsciicastV2,
    /// asciicast version 3: asciinema from 3.0.
    #[value(name = "asciicast-v3")]
    AsciicastV3,
    /// The bytes of standard output, or of the stream that is named, as they were.
    Raw,
}

/// Which streams of a program are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Standard output; of a terminal all there is.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, in the order they came.
    Both,
}

impl Which {
    /// Whether it has this stream.
    pub(super) fn has(self, stream: Stream) -> bool {
        match stream {
            Stream::Output => self != Self::Stderr,
            Stream::Stderr => self != Self::Stdout,
            _ => false,
        }
    }
}

/// Says the whole recording in `format`.
pub(super) async fn export<R: Reply>(
    material: &Material,
    format: Format,
    which: Option<Which>,
    out: &mut R,
) -> Result<(), Trouble> {
    match (format, which) {
        (Format::Text, which) => text(material, which.unwrap_or(Which::Both), out).await,
        (Format::Raw, which) => raw(material, which.unwrap_or(Which::Stdout), out).await,
        (_, Some(_)) => Err(Trouble::said("--stream goes with --format text or raw")),
        (Format::Jsonl, None) => jsonl(material, out).await,
        (Format::AsciicastV2, None) => asciicast(material, 2, out).await,
        (Format::AsciicastV3, None) => asciicast(material, 3, out).await,
    }
}

async fn raw<R: Reply>(material: &Material, which: Which, out: &mut R) -> Result<(), Trouble> {
    if out.shape().terminal {
        return Err(Trouble::said(
            "raw bytes are not for a terminal; name a file with -o, or write into a pipe",
        ));
    }
    let mut reel = material.reel();
    while let Some(next) = reel.next().await {
        let (_, frame) = next?;
        if which.has(frame.stream) {
            out.raw(&frame.payload).await?;
        }
    }
    Ok(())
}

/// The lines of a terminal as they left the screen; without a terminal the bytes as text.
pub(super) async fn text<R: Reply>(material: &Material, which: Which, out: &mut R) -> Result<(), Trouble> {
    let (give, mut pieces) = tokio::sync::mpsc::channel(4);
    let (path, key) = (material.path.clone(), material.key.clone());
    let writing = tokio::task::spawn_blocking(move || script::write(&path, &key, which, &give));
    while let Some(piece) = pieces.recv().await {
        out.out(&piece?).await?;
    }
    Ok(writing.await?)
}

async fn jsonl<R: Reply>(material: &Material, out: &mut R) -> Result<(), Trouble> {
    say_json(out, &json!({ "recording": material.id, "header": material.header })).await?;
    let mut reel = material.reel();
    while let Some(next) = reel.next().await {
        let (at, frame) = next?;
        say_json(out, &frame_json(at, &frame)).await?;
    }
    if let Some(rest) = reel.rest().await {
        let end = json!({ "frames": rest.head.frames, "bytes": rest.head.bytes, "ended": rest.ended, "following": rest.bytes });
        say_json(out, &json!({ "end": end })).await?;
    }
    Ok(())
}

/// A frame's text where it is UTF-8 and its base64 where it is not, so that no byte is lost.
fn frame_json(at: Duration, frame: &Frame) -> serde_json::Value {
    let (form, content) = match std::str::from_utf8(&frame.payload) {
        Ok(text) => ("text", json!(text)),
        Err(_) => ("base64", json!(BASE64.encode(&frame.payload))),
    };
    json!({
        "seq": frame.seq,
        "at": at.as_secs_f64(),
        "time": jiff::Timestamp::from_nanosecond(i128::from(frame.stamp.wall_ns)).ok(),
        "stream": frame.stream.name(),
        form: content,
    })
}

async fn asciicast<R: Reply>(material: &Material, version: u8, out: &mut R) -> Result<(), Trouble> {
    let mut reel = material.reel();
    let mut decoders = (Utf8::default(), Utf8::default(), Utf8::default());
    // The heading holds the first size, so frames before it wait for it.
    let (size, first) = opening(&mut reel).await?;
    say_json(out, &heading(material, version, size.unwrap_or(USUAL))).await?;
    let bare = size.is_none();
    let mut before = 0;
    let mut queue = first.into_iter();
    loop {
        let (at, frame) = match queue.next() {
            Some(frame) => frame,
            None => match reel.next().await {
                Some(next) => next?,
                None => return Ok(()),
            },
        };
        let (code, data) = match frame.stream {
            Stream::Output => ("o", decoders.0.text(&frame.payload)),
            Stream::Stderr => ("o", decoders.1.text(&frame.payload)),
            Stream::Input => ("i", decoders.2.text(&frame.payload)),
            Stream::Resize | Stream::Request => match size_of(&frame) {
                Some((columns, rows)) => ("r", format!("{columns}x{rows}")),
                None => continue,
            },
            Stream::Note if version > 2 => match exit_of(&frame) {
                Some(status) => ("x", status),
                None => continue,
            },
            _ => continue,
        };
        let data = if bare && code == "o" { data.replace('\n', "\r\n") } else { data };
        // Differences of rounded moments: so they add up to the moments again.
        let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
        let when = if version == 2 { micros } else { micros.saturating_sub(before) };
        before = micros;
        say_json(out, &json!([when as f64 / 1e6, code, data])).await?;
    }
}

/// The program's exit status, where a note tells it.
fn exit_of(frame: &Frame) -> Option<String> {
    let note: serde_json::Value = serde_json::from_slice(&frame.payload).ok()?;
    note.get("exit")?.as_u64().map(|status| status.to_string())
}

type Timed = (Duration, Frame);

/// The first size, and the frames read on the way: the size is told before anything is shown.
async fn opening(reel: &mut Reel) -> Result<(Option<(usize, usize)>, Vec<Timed>), Trouble> {
    let mut frames = Vec::new();
    while let Some(next) = reel.next().await {
        let (at, frame) = next?;
        if let Some(size) = size_of(&frame) {
            return Ok((Some(size), frames));
        }
        let shown = matches!(frame.stream, Stream::Output | Stream::Stderr | Stream::Input);
        frames.push((at, frame));
        if shown || frames.len() > 64 {
            break;
        }
    }
    Ok((None, frames))
}

fn heading(material: &Material, version: u8, (columns, rows): (usize, usize)) -> serde_json::Value {
    let timestamp = material.header.started.as_second();
    let title = format!("{} {}", material.id, material.header.kind);
    if version == 2 {
        json!({ "version": 2, "width": columns, "height": rows, "timestamp": timestamp, "title": title })
    } else {
        json!({ "version": 3, "term": { "cols": columns, "rows": rows }, "timestamp": timestamp, "title": title })
    }
}

async fn say_json<R: Reply>(out: &mut R, value: &serde_json::Value) -> Result<(), Trouble> {
    out.out(&format!("{}\n", clean::json(&value.to_string()))).await
}
