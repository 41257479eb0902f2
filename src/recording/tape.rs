//! One recording being written: takes what is to be shown, counts what it does not keep.
//! Never blocks two directions on the disk longer than one write takes, and never goes on after an error.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ledger::Syncer;
use ledger::recording::{Head, Stamp, Stream, Writer};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value, json};

use super::files::{Facts, Files};
use super::running::Bell;
use crate::channel::{Asked, FromOperator, FromTarget, Size};
use crate::clock::Clock;
use crate::ids::RecordingId;

/// What of a channel is kept besides its totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of output.
    pub output: u64,
    /// Whether input is kept; passwords are typed too.
    pub input: bool,
    /// Whether the totals are the content: they are written at the seal, and nothing is said of what is not kept.
    pub totals: bool,
    /// Whether the channel ends when nothing can be written; else it goes on, and the log says so.
    pub strict: bool,
    /// Bytes of facts about files.
    pub facts: u64,
}

/// The recording cannot be written: the channel must end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the recording cannot be written: {0}")]
pub struct Unrecorded(String);

impl Unrecorded {
    /// Says why.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// What passed of one stream. Each byte is witnessed once: the recording's chain holds what is kept, the digest the rest.
struct Total {
    bytes: u64,
    kept: u64,
    rest: Context,
}

struct Inner {
    /// `None` once sealed, or once a best-effort recording has failed.
    writer: Option<Writer>,
    input: Total,
    output: Total,
    stderr: Total,
    cut_noted: bool,
    files: Option<Files>,
    /// Facts about files: bytes of them, and how many were not written for lack of room.
    facts: u64,
    untold: u64,
    /// Files moved, by direction.
    moved: BTreeMap<String, u64>,
    failed: Option<Unrecorded>,
    committed: u64,
}

/// A recording being written.
pub struct Tape {
    id: RecordingId,
    keep: Keep,
    clock: Arc<dyn Clock>,
    syncer: Syncer,
    bell: Arc<Bell>,
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Tape {
    pub(super) fn new(
        id: RecordingId,
        writer: Writer,
        keep: Keep,
        files: Option<Files>,
        clock: Arc<dyn Clock>,
        bell: Arc<Bell>,
    ) -> Self {
        let syncer = writer.syncer();
        let inner = Inner {
            writer: Some(writer),
            input: Total::default(),
            output: Total::default(),
            stderr: Total::default(),
            cut_noted: false,
            files,
            facts: 0,
            untold: 0,
            moved: BTreeMap::new(),
            failed: None,
            committed: 0,
        };
        Self { id, keep, clock, syncer, bell, inner: Mutex::new(inner) }
    }

    /// The recording's name.
    pub fn id(&self) -> &RecordingId {
        &self.id
    }

    /// Writes what was asked for, as the first frame.
    pub(super) fn begin(&self, asked: &Asked) -> Result<(), Unrecorded> {
        if !asked.start.is_session() {
            let (to, from) = (asked.start.command(), asked.start.origin().map(ToString::to_string));
            let request = json!({"request": asked.start.word(), "to": to, "from": from});
            return self.write(Stream::Request, request.to_string().as_bytes());
        }
        let what = asked.start.word();
        let terminal = asked.terminal.as_ref().map(|terminal| {
            json!({"term": terminal.term, "columns": terminal.size.columns, "rows": terminal.size.rows})
        });
        let request = json!({
            "request": what, "command": asked.start.command(), "terminal": terminal, "environment": asked.environment,
            "agent": asked.agent, "x11": asked.screen.is_some(),
        });
        self.write(Stream::Request, request.to_string().as_bytes())
    }

    /// Takes a message on its way to the operator. An error means that it must not be shown.
    ///
    /// # Errors
    /// The recording cannot be written and must be.
    pub fn shown(&self, message: &FromTarget) -> Result<(), Unrecorded> {
        match message {
            FromTarget::Data(bytes) => self.output(Stream::Output, bytes),
            FromTarget::Stderr(bytes) => self.output(Stream::Stderr, bytes),
            FromTarget::ExitStatus(status) => self.note(&json!({"exit": status})),
            FromTarget::ExitSignal { signal, .. } => self.note(&json!({"signal": signal})),
            FromTarget::Eof | FromTarget::Close => Ok(()),
        }
    }

    /// Takes a message on its way to the target.
    ///
    /// # Errors
    /// As [`Tape::shown`].
    pub fn sent(&self, message: &FromOperator) -> Result<(), Unrecorded> {
        match message {
            FromOperator::Data(bytes) => self.input(bytes),
            FromOperator::Resize(Size { columns, rows, .. }) => {
                self.write(Stream::Resize, json!({"columns": columns, "rows": rows}).to_string().as_bytes())
            }
            FromOperator::Signal(name) => self.note(&json!({"sent": name})),
            FromOperator::Eof | FromOperator::Close => Ok(()),
        }
    }

    /// Writes a note of the bastion's own.
    ///
    /// # Errors
    /// As [`Tape::shown`].
    pub fn note(&self, what: &Value) -> Result<(), Unrecorded> {
        self.write(Stream::Note, what.to_string().as_bytes())
    }

    /// Puts what was written on disk.
    pub(super) fn sync(&self) {
        if let Err(why) = self.syncer.sync() {
            self.lock().failed.get_or_insert_with(|| Unrecorded(why.to_string()));
        }
    }

    /// Bytes that were handed over and are not on disk yet.
    pub(super) fn behind(&self) -> u64 {
        self.syncer.behind()
    }

    /// Nothing more is taken.
    pub(super) fn give_up(&self, why: &str) {
        let mut inner = self.lock();
        inner.failed.get_or_insert_with(|| Unrecorded::new(why));
        inner.writer = None;
    }

    /// How far the recording has come, on disk, when that has changed since it was asked last. Blocks.
    pub(super) fn grown(&self) -> Option<Head> {
        let head = {
            let mut inner = self.lock();
            let head = inner.writer.as_ref()?.head();
            if std::mem::replace(&mut inner.committed, head.frames) >= head.frames {
                return None;
            }
            head
        };
        self.sync();
        self.lock().failed.is_none().then_some(head)
    }

    /// The totals of the streams, for the entry that closes the channel.
    pub(super) fn totals(&self) -> Map<String, Value> {
        let inner = self.lock();
        let mut totals = Map::new();
        totals.insert("input".into(), inner.input.told());
        totals.insert("output".into(), inner.output.told());
        totals.insert("stderr".into(), inner.stderr.told());
        if inner.files.is_some() {
            totals.insert("files".into(), json!(inner.moved));
            if inner.untold > 0 {
                totals.insert("files_untold".into(), inner.untold.into());
            }
        }
        if let Some(failed) = &inner.failed {
            totals.insert("recording_failed".into(), failed.to_string().into());
        }
        totals
    }

    /// The last frame and an fsync. The log, not this, makes the recording sealed.
    pub(super) fn seal(&self) -> Result<Head, Unrecorded> {
        let mut inner = self.lock();
        if let Some(failed) = &inner.failed {
            return Err(failed.clone());
        }
        if let Some(files) = &mut inner.files {
            let facts = files.over();
            self.facts(&mut inner, &facts)?;
        }
        if self.keep.totals {
            let note = json!({"to_target": inner.input.told(), "to_operator": inner.output.told()});
            self.append(&mut inner, Stream::Note, note.to_string().as_bytes())?;
        }
        let writer = inner.writer.take().ok_or_else(|| Unrecorded("it was sealed before".into()))?;
        writer.seal().map_err(|why| Unrecorded(why.to_string()))
    }

    fn output(&self, stream: Stream, bytes: &Bytes) -> Result<(), Unrecorded> {
        let mut inner = self.lock();
        let facts = match (&mut inner.files, stream) {
            (Some(files), Stream::Output) => files.shown(bytes),
            _ => Facts::default(),
        };
        self.facts(&mut inner, &facts)?;
        let mut cut = false;
        for (piece, content) in pieces(bytes, &facts.content) {
            let left = self.keep.output.saturating_sub(inner.output.kept + inner.stderr.kept);
            let kept = self.take(&mut inner, stream, piece, if content { 0 } else { left })?;
            cut |= !content && kept < piece.len();
        }
        if cut && !self.keep.totals && !std::mem::replace(&mut inner.cut_noted, true) {
            let kept = inner.output.kept + inner.stderr.kept;
            let note = json!({"kept": kept, "rest": "counted, with its digest in the audit log"});
            self.append(&mut inner, Stream::Note, note.to_string().as_bytes())?;
        }
        self.sound(&inner)
    }

    fn input(&self, bytes: &Bytes) -> Result<(), Unrecorded> {
        let mut inner = self.lock();
        if let Some(files) = &mut inner.files {
            let facts = files.sent(bytes);
            self.facts(&mut inner, &facts)?;
        }
        self.take(&mut inner, Stream::Input, bytes, if self.keep.input { u64::MAX } else { 0 })?;
        self.sound(&inner)
    }

    /// Keeps as much of the front of `bytes` as there is `room` for, and counts the rest. Answers how much was kept.
    fn take(&self, inner: &mut Inner, stream: Stream, bytes: &[u8], room: u64) -> Result<usize, Unrecorded> {
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let (front, _) = bytes.split_at(room);
        if !front.is_empty() {
            self.append(inner, stream, front)?;
        }
        // A best-effort recording that has failed keeps nothing.
        let kept = if inner.writer.is_some() { room } else { 0 };
        let total = match stream {
            Stream::Input => &mut inner.input,
            Stream::Stderr => &mut inner.stderr,
            _ => &mut inner.output,
        };
        total.add(bytes, kept);
        Ok(kept)
    }

    /// Writes facts about files, as long as there is room for them.
    fn facts(&self, inner: &mut Inner, facts: &Facts) -> Result<(), Unrecorded> {
        for fact in &facts.told {
            if fact.get("what") == Some(&json!("moved")) {
                let direction = fact.get("direction").and_then(Value::as_str).unwrap_or_default();
                *inner.moved.entry(direction.to_owned()).or_default() += 1;
            }
            let text = fact.to_string();
            inner.facts = inner.facts.saturating_add(text.len() as u64);
            if inner.facts > self.keep.facts {
                inner.untold += 1;
                if inner.untold == 1 {
                    let note = json!({"files": "there are more facts about files than are kept"});
                    self.append(inner, Stream::Note, note.to_string().as_bytes())?;
                }
            } else {
                self.append(inner, Stream::File, text.as_bytes())?;
            }
        }
        Ok(())
    }

    fn write(&self, stream: Stream, payload: &[u8]) -> Result<(), Unrecorded> {
        self.append(&mut self.lock(), stream, payload)
    }

    fn append(&self, inner: &mut Inner, stream: Stream, payload: &[u8]) -> Result<(), Unrecorded> {
        self.sound(inner)?;
        let Some(writer) = inner.writer.as_mut() else { return Ok(()) };
        let monotonic = self.clock.monotonic();
        let stamp = Stamp {
            monotonic_ns: u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX),
            wall_ns: i64::try_from(self.clock.now().as_nanosecond()).unwrap_or(i64::MAX),
        };
        if let Err(why) = writer.append(stream, stamp, payload) {
            inner.failed.get_or_insert_with(|| Unrecorded(why.to_string()));
            inner.writer = None;
        }
        self.bell.ring(monotonic);
        self.sound(inner)
    }

    /// Where the recording must be written, a failure ends the channel; where best effort is enough it does not.
    fn sound(&self, inner: &Inner) -> Result<(), Unrecorded> {
        match &inner.failed {
            Some(failed) if self.keep.strict => Err(failed.clone()),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All of `bytes` in order, and of each piece whether it is one of these ranges, which are in order.
fn pieces<'a>(bytes: &'a [u8], ranges: &'a [Range<usize>]) -> impl Iterator<Item = (&'a [u8], bool)> {
    let mut at = 0;
    let inside = ranges.iter().flat_map(move |range| {
        let before = std::mem::replace(&mut at, range.end)..range.start;
        [(before, false), (range.clone(), true)]
    });
    let end = ranges.last().map_or(0, |range| range.end);
    inside
        .chain(std::iter::once((end..bytes.len(), false)))
        .filter_map(|(range, content)| Some((bytes.get(range)?, content)))
        .filter(|(piece, _)| !piece.is_empty())
}

impl Default for Total {
    fn default() -> Self {
        Self { bytes: 0, kept: 0, rest: Context::new(&SHA256) }
    }
}

impl Total {
    fn add(&mut self, bytes: &[u8], kept: usize) {
        let (front, rest) = bytes.split_at(kept.min(bytes.len()));
        self.bytes += bytes.len() as u64;
        self.kept += front.len() as u64;
        self.rest.update(rest);
    }

    /// The digest is that of the bytes that are not kept, in their order; none where the recording has them all.
    fn told(&self) -> Value {
        let digest = (self.bytes == 0 || self.kept < self.bytes)
            .then(|| data_encoding::HEXLOWER.encode(self.rest.clone().finish().as_ref()));
        json!({"bytes": self.bytes, "kept": self.kept, "sha256": digest})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_kept_or_in_the_digest() {
        let of = |bytes: &[u8]| data_encoding::HEXLOWER.encode(ring::digest::digest(&SHA256, bytes).as_ref());
        let mut total = Total::default();
        assert_eq!(total.told(), json!({"bytes": 0, "kept": 0, "sha256": of(b"")}));
        total.add(b"kept", 4);
        assert_eq!(total.told(), json!({"bytes": 4, "kept": 4, "sha256": null}));
        total.add(b"half", 2);
        total.add(b"rest", 0);
        assert_eq!(total.told(), json!({"bytes": 12, "kept": 6, "sha256": of(b"lfrest")}));
    }
}
