//! How the audit log speaks of recordings, and what it says of each: the heads that recordings are held against.
//!
//! Never reads a recording, and keeps one small record of each, however long the log.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::log::Event;
use crate::recording::Head;

/// The type of the event that a recording was begun; its detail is [`started`].
pub const STARTED: &str = "recording.started";
/// The type of the event that recordings have come so far and are on disk; its detail is [`committed`].
pub const COMMITTED: &str = "recording.committed";
/// The type of the event that a recording was sealed; its detail is [`sealed`].
pub const SEALED: &str = "recording.sealed";
/// The type of the event that says how far a recording is good after a crash; its detail is [`recovered`].
pub const RECOVERED: &str = "recording.recovered";

/// How many recordings one [`COMMITTED`] event may name and stay under [`crate::log::MAX_EVENT`].
pub const COMMITTED_AT_ONCE: usize = 256;

/// The detail of [`STARTED`]: `{"recording": id}`. The caller may add members, here and below.
pub fn started(recording: &str) -> Map<String, Value> {
    object([("recording", json!(recording))])
}

/// The detail of [`COMMITTED`]: `{"heads": {id: head, ...}}`. At most [`COMMITTED_AT_ONCE`] heads; each must be on disk.
pub fn committed<'a>(heads: impl IntoIterator<Item = (&'a str, Head)>) -> Map<String, Value> {
    let heads: Map<String, Value> =
        heads.into_iter().map(|(id, head)| (id.to_owned(), json!(head))).collect();
    object([("heads", Value::Object(heads))])
}

/// The detail of [`SEALED`]: `{"recording": id, "head": head}`.
pub fn sealed(recording: &str, head: &Head) -> Map<String, Value> {
    object([("recording", json!(recording)), ("head", json!(head))])
}

/// The detail of [`RECOVERED`]: `{"recording": id, "head": head, "ignored": bytes}`.
pub fn recovered(recording: &str, head: &Head, ignored: u64) -> Map<String, Value> {
    object([("recording", json!(recording)), ("head", json!(head)), ("ignored", json!(ignored))])
}

/// What the log says of one recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The place in the log where it was last spoken of.
    pub seq: u64,
    /// The last committed head.
    pub committed: Option<Head>,
    /// The head at its end.
    pub end: Option<End>,
    /// A place where the log contradicts itself: a second end, or a head that goes back.
    pub contradiction: Option<u64>,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Sealed, with this head.
    Sealed(Head),
    /// Ended by a crash; good up to this head, and so many bytes follow it.
    Recovered(Head, u64),
}

impl End {
    /// The last good frame.
    pub fn head(&self) -> &Head {
        match self {
            Self::Sealed(head) | Self::Recovered(head, _) => head,
        }
    }
}

/// What the log says of all recordings. Feed it every entry in order.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    said: BTreeMap<String, Said>,
}

impl Evidence {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in what `event`, at place `seq`, says; other events say nothing.
    pub fn take(&mut self, seq: u64, event: &Event) {
        let named = || event.detail.get("recording").and_then(Value::as_str);
        let head = || event.detail.get("head").and_then(head_of);
        match event.kind.as_str() {
            STARTED => {
                if let Some(id) = named() {
                    self.said.entry(id.to_owned()).or_default().seq = seq;
                }
            }
            COMMITTED => {
                let heads = event.detail.get("heads").and_then(Value::as_object);
                for (id, value) in heads.into_iter().flatten() {
                    if let Some(head) = head_of(value) {
                        self.said.entry(id.clone()).or_default().commit(seq, head);
                    }
                }
            }
            SEALED => {
                if let (Some(id), Some(head)) = (named(), head()) {
                    self.said.entry(id.to_owned()).or_default().end(seq, End::Sealed(head));
                }
            }
            RECOVERED => {
                if let (Some(id), Some(head)) = (named(), head()) {
                    let ignored = event.detail.get("ignored").and_then(Value::as_u64).unwrap_or(0);
                    self.said.entry(id.to_owned()).or_default().end(seq, End::Recovered(head, ignored));
                }
            }
            _ => {}
        }
    }

    /// What was said of `recording`.
    pub fn of(&self, recording: &str) -> Option<&Said> {
        self.said.get(recording)
    }

    /// All recordings that were spoken of, by id.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Said)> {
        self.said.iter().map(|(id, said)| (id.as_str(), said))
    }
}

impl Said {
    fn commit(&mut self, seq: u64, head: Head) {
        self.seq = seq;
        let before = self.end.as_ref().map(End::head).or(self.committed.as_ref());
        if before.is_some_and(|before| {
            before.frames > head.frames || (before.frames == head.frames && *before != head)
        }) {
            self.contradiction.get_or_insert(seq);
        } else {
            self.committed = Some(head);
        }
    }

    fn end(&mut self, seq: u64, end: End) {
        self.seq = seq;
        if self.end.is_some_and(|before| before != end) {
            self.contradiction.get_or_insert(seq);
        } else {
            self.end = Some(end);
        }
    }
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn head_of(value: &Value) -> Option<Head> {
    serde_json::from_value(value.clone()).ok()
}
