//! The frames of one recording, read on a thread that may block and handed over a few at a time.
//! It never reads ahead further than that, so a recording of any length takes the same memory.

use std::path::PathBuf;
use std::time::Duration;

use keys::RecordingKey;
use ledger::recording::{Frame, ReadError, Reader, Rest, Stream};
use tokio::sync::mpsc;

use super::screen::USUAL;

/// Frames that are read before anybody asks for them.
const AHEAD: usize = 16;

/// A recording being read.
pub(super) struct Reel {
    frames: mpsc::Receiver<Result<Frame, ReadError>>,
    rest: tokio::task::JoinHandle<Option<Rest>>,
    first: Option<u64>,
}

impl Reel {
    /// Reads the recording at `path` from its beginning.
    pub(super) fn open(path: PathBuf, key: RecordingKey) -> Self {
        let (give, frames) = mpsc::channel(AHEAD);
        let rest = tokio::task::spawn_blocking(move || {
            let mut reader = match Reader::open(&path, Some(&key)) {
                Ok(reader) => reader,
                Err(error) => {
                    let _ = give.blocking_send(Err(error));
                    return None;
                }
            };
            for frame in &mut reader {
                // Nobody wants more.
                give.blocking_send(frame).ok()?;
            }
            reader.rest().ok()
        });
        Self { frames, rest, first: None }
    }

    /// The next frame and when it was, counted from the first. May be dropped and asked again.
    pub(super) async fn next(&mut self) -> Option<Result<(Duration, Frame), ReadError>> {
        match self.frames.recv().await? {
            Ok(frame) => {
                let first = *self.first.get_or_insert(frame.stamp.monotonic_ns);
                let at = Duration::from_nanos(frame.stamp.monotonic_ns.saturating_sub(first));
                Some(Ok((at, frame)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Where reading stopped, after the last frame.
    pub(super) async fn rest(self) -> Option<Rest> {
        drop(self.frames);
        self.rest.await.ok().flatten()
    }
}

/// The terminal's columns and rows that a frame tells of: a change, or the request that asked for one.
pub(super) fn size_of(frame: &Frame) -> Option<(usize, usize)> {
    let said: serde_json::Value = match frame.stream {
        Stream::Resize | Stream::Request => serde_json::from_slice(&frame.payload).ok()?,
        _ => return None,
    };
    let size = if frame.stream == Stream::Request { said.get("terminal")? } else { &said };
    let number = |name| usize::try_from(size.get(name)?.as_u64()?).ok();
    // A client without a window of its own says 0 (RFC 4254 section 6.2: "zero dimension parameters MUST be ignored").
    let known = |said: usize, usual| if said == 0 { usual } else { said };
    Some((known(number("columns")?, USUAL.0), known(number("rows")?, USUAL.1)))
}
