//! An event in its place: the line of the log, with the hash of its leaf.
//!
//! Never accepts a line that is not exactly what the writer would have written for the same event.

use serde::Deserialize;

use super::event::{Event, MAX_EVENT};
use crate::{Digest, canonical, merkle};

/// What stands before and between the two members of a line, and after them.
const FRONT: &str = r#"{"event":"#;
const MIDDLE: &str = r#","leaf":""#;
const BACK: &str = r#""}"#;
/// Base64 of 32 bytes.
const LEAF: usize = 44;
/// The longest line with its line end.
pub(super) const MAX_LINE: usize = FRONT.len() + MAX_EVENT + MIDDLE.len() + LEAF + BACK.len() + 1;

/// An event as the log holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its place, counted from 0: also the index of its leaf.
    pub seq: u64,
    /// Where its line begins in the file.
    pub offset: u64,
    /// The hash of its leaf, `SHA-256(0x00 || json)`.
    pub leaf: Digest,
    /// The event.
    pub event: Event,
    /// The canonical JSON that was hashed: the object people and scripts are shown.
    pub json: String,
}

impl Entry {
    /// Where the next line begins.
    pub(super) fn end(&self) -> u64 {
        self.offset + (FRONT.len() + self.json.len() + MIDDLE.len() + LEAF + BACK.len() + 1) as u64
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not the form of a line.
    #[error("the line is not an entry of the log")]
    Form,
    /// The event and the hash beside it disagree.
    #[error("the event was changed: it and the hash beside it disagree")]
    Leaf,
    /// Another entry stands here.
    #[error("entry {0} stands here: lines were cut out, inserted, moved or repeated")]
    Sequence(u64),
    /// The hash agrees, but the text is not what the log writes for this event.
    #[error("the event is not in the form the log writes")]
    Canonical,
    /// The line ends before it is complete.
    #[error("the line is incomplete")]
    Torn,
}

#[derive(Deserialize)]
struct Place {
    seq: u64,
}

/// The line, with its end, of the event whose canonical text is `json`; and its leaf hash.
pub(super) fn line(json: &str) -> (String, Digest) {
    let leaf = merkle::leaf(json.as_bytes());
    (format!("{FRONT}{json}{MIDDLE}{}{BACK}\n", leaf.to_base64()), leaf)
}

/// The JSON and the leaf hash of a line without its end, when they agree; the cheap half of [`parse`].
pub(super) fn split(line: &[u8]) -> Result<(&str, Digest), EntryError> {
    let line = str::from_utf8(line).map_err(|_| EntryError::Form)?;
    let inner = line.strip_prefix(FRONT).and_then(|l| l.strip_suffix(BACK)).ok_or(EntryError::Form)?;
    let at = inner.len().checked_sub(LEAF).ok_or(EntryError::Form)?;
    let (json, leaf) = inner.split_at_checked(at).ok_or(EntryError::Form)?;
    let json = json.strip_suffix(MIDDLE).ok_or(EntryError::Form)?;
    let stored = Digest::from_base64(leaf).ok_or(EntryError::Leaf)?;
    if merkle::leaf(json.as_bytes()) != stored {
        return Err(EntryError::Leaf);
    }
    Ok((json, stored))
}

/// The entry in `line` (without its end), which begins at `offset`; number `seq`, where that is known.
pub(super) fn parse(line: &[u8], seq: Option<u64>, offset: u64) -> Result<Entry, EntryError> {
    let (json, leaf) = split(line)?;
    let place: Place = serde_json::from_str(json).map_err(|_| EntryError::Canonical)?;
    if seq.is_some_and(|seq| seq != place.seq) {
        return Err(EntryError::Sequence(place.seq));
    }
    let event: Event = serde_json::from_str(json).map_err(|_| EntryError::Canonical)?;
    Ok(Entry { seq: place.seq, offset, leaf, event, json: json.to_owned() })
}

/// [`parse`], and the text must be canonical: what verifying asks. Members that are not known here are let pass, so that a
/// newer writer's log can be verified.
pub(super) fn strict(line: &[u8], seq: u64, offset: u64) -> Result<Entry, EntryError> {
    let entry = parse(line, Some(seq), offset)?;
    let value: serde_json::Value = serde_json::from_str(&entry.json).map_err(|_| EntryError::Canonical)?;
    if canonical::text(&value).as_ref() != Ok(&entry.json) {
        return Err(EntryError::Canonical);
    }
    Ok(entry)
}

/// The leaf hash of `line` (without its end), which must be number `seq`; what opening a log needs of it.
pub(super) fn leaf(line: &[u8], seq: u64) -> Result<Digest, EntryError> {
    let (json, leaf) = split(line)?;
    let place: Place = serde_json::from_str(json).map_err(|_| EntryError::Canonical)?;
    if place.seq != seq {
        return Err(EntryError::Sequence(place.seq));
    }
    Ok(leaf)
}
