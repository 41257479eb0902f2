//! How the audit log speaks of recordings, and how a recording is held against it.
//!
//! Never believes the log further than it was verified by the caller, and keeps one small record of each recording, however long
//! the log.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::log::Event;
use crate::recording::{Head, ReadError, State, Verified, file_name, verify};

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
    /// A place where the log contradicts itself: two ends, two heads at one frame, or frames after the end.
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

/// Why a recording is not what the log says.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// It cannot be read, or it is broken; the position is inside.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file bears the name of another recording.
    #[error("the file holds the recording {found}: files were swapped or renamed")]
    Name {
        /// The id in its header.
        found: String,
    },
    /// The log does not know it.
    #[error(
        "the log does not know this recording: it was put here by another hand, or the log is not the one beside it"
    )]
    Unlogged,
    /// The log speaks of it in two ways.
    #[error("the log contradicts itself about this recording at entry {seq}")]
    Contradiction {
        /// The place in the log.
        seq: u64,
    },
    /// Other bytes follow the recovered end than did at recovery.
    #[error(
        "{found} bytes follow the recovered end, the log took down {said}: bytes were added or cut off after recovery"
    )]
    Ignored {
        /// How many the log took down.
        said: u64,
        /// How many there are.
        found: u64,
    },
    /// The log says it was sealed, but it has no end.
    #[error("the log says that the recording was sealed, but its last frame is not an end")]
    NotEnded,
}

/// Holds the recording at `path` against what the log says of it, and against its `key` if that is given.
pub fn hold(path: &Path, key: Option<&[u8; 32]>, evidence: &Evidence) -> Result<Verified, HoldError> {
    let name = path.file_name().unwrap_or_default();
    let said = path.file_stem().and_then(|id| id.to_str()).and_then(|id| evidence.of(id));
    let end = said.and_then(|said| said.end);
    let committed = said.and_then(|said| said.committed);
    let verified = verify(path, key, end.as_ref().map(End::head), committed.as_slice())?;
    if Path::new(name) != file_name(&verified.header.recording) {
        return Err(HoldError::Name { found: verified.header.recording });
    }
    let said = said.ok_or(HoldError::Unlogged)?;
    if let Some(seq) = said.contradiction {
        return Err(HoldError::Contradiction { seq });
    }
    match end {
        Some(End::Recovered(_, said)) if said != verified.ignored => {
            Err(HoldError::Ignored { said, found: verified.ignored })
        }
        Some(End::Sealed(_)) if verified.state != State::Sealed => Err(HoldError::NotEnded),
        _ => Ok(verified),
    }
}

impl Said {
    /// Takes a committed head in. One that is behind what is known says nothing new: heads are collected and logged by different
    /// hands, so a commit may land after a later one or after the seal.
    fn commit(&mut self, seq: u64, head: Head) {
        self.seq = seq;
        let (end, before) = (self.end.as_ref().map(End::head), self.committed.as_ref());
        let differs = |known: &Head| known.frames == head.frames && *known != head;
        if end.is_some_and(|end| end.frames < head.frames || differs(end)) || before.is_some_and(differs) {
            self.contradiction.get_or_insert(seq);
        } else if before.is_none_or(|before| before.frames < head.frames) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use crate::recording::{Header, Stamp, Stream, Writer, recover};

    fn event(kind: &str, detail: Map<String, Value>) -> Event {
        let mut event = Event::new(jiff::Timestamp::UNIX_EPOCH, kind, "node-1");
        event.detail = detail;
        event
    }

    fn begin(dir: &Path, id: char) -> (Writer, String) {
        let recording = format!("r-{}", id.to_string().repeat(26));
        let header = Header {
            recording: recording.clone(),
            session: "s-".into(),
            channel: 0,
            node: "node-1".into(),
            operator: "alice".into(),
            device: None,
            target: "web-1".into(),
            account: "deploy".into(),
            kind: "exec".into(),
            started: jiff::Timestamp::UNIX_EPOCH,
            envelope: vec![],
        };
        let mut writer = Writer::create(dir, &header, &[7; 32]).unwrap();
        writer.append(Stream::Output, Stamp::default(), b"shown").unwrap();
        (writer, recording)
    }

    #[test]
    fn a_sealed_a_recovered_and_a_running_recording_hold_against_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut evidence = Evidence::new();
        let (writer, id) = begin(dir.path(), 'A');
        let path = writer.path().to_owned();
        assert!(matches!(hold(&path, None, &evidence), Err(HoldError::Unlogged)));
        evidence.take(0, &event(STARTED, started(&id)));
        evidence.take(1, &event(COMMITTED, committed([(id.as_str(), writer.head())])));
        let running = hold(&path, None, &evidence).unwrap();
        assert_eq!((running.state, running.proven), (State::Unfinished, 1));
        evidence.take(2, &event(SEALED, sealed(&id, &writer.seal().unwrap())));
        assert_eq!(hold(&path, None, &evidence).unwrap().state, State::Sealed);

        let (writer, id) = begin(dir.path(), 'B');
        let path = writer.path().to_owned();
        drop(writer);
        let found = recover(&path).unwrap();
        evidence.take(3, &event(RECOVERED, recovered(&id, &found.head, found.ignored)));
        assert_eq!(hold(&path, None, &evidence).unwrap().state, State::Recovered);
        std::fs::write(&path, [std::fs::read(&path).unwrap(), b"more".to_vec()].concat()).unwrap();
        assert!(matches!(hold(&path, None, &evidence), Err(HoldError::Ignored { said: 0, found: 4 })));
    }

    #[test]
    fn swapped_files_and_a_log_that_contradicts_itself_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut evidence = Evidence::new();
        let paths: Vec<_> = ['A', 'B']
            .into_iter()
            .map(|id| {
                let (writer, id) = begin(dir.path(), id);
                let path = writer.path().to_owned();
                evidence.take(0, &event(SEALED, sealed(&id, &writer.seal().unwrap())));
                path
            })
            .collect();
        let between = dir.path().join("between");
        std::fs::rename(&paths[0], &between).unwrap();
        std::fs::rename(&paths[1], &paths[0]).unwrap();
        std::fs::rename(&between, &paths[1]).unwrap();
        assert!(hold(&paths[0], None, &evidence).is_err());
        std::fs::rename(&paths[0], &between).unwrap();
        std::fs::rename(&paths[1], &paths[0]).unwrap();
        hold(&paths[0], None, &evidence).unwrap();
        let other = Head { frames: 1, bytes: 1, digest: Digest::new([0; 32]) };
        let id = paths[0].file_stem().unwrap().to_str().unwrap();
        evidence.take(5, &event(RECOVERED, recovered(id, &other, 0)));
        assert!(matches!(hold(&paths[0], None, &evidence), Err(HoldError::Contradiction { seq: 5 })));
    }

    #[test]
    fn a_commit_that_lands_late_is_no_contradiction_and_a_different_one_is() {
        let head = |frames, byte| Head { frames, bytes: frames * 100, digest: Digest::new([byte; 32]) };
        let mut evidence = Evidence::new();
        evidence.take(0, &event(COMMITTED, committed([("r-1", head(5, 5))])));
        evidence.take(1, &event(COMMITTED, committed([("r-1", head(3, 3))])));
        evidence.take(2, &event(SEALED, sealed("r-1", &head(9, 9))));
        evidence.take(3, &event(COMMITTED, committed([("r-1", head(7, 7))])));
        evidence.take(4, &event(SEALED, sealed("r-1", &head(9, 9))));
        let said = evidence.of("r-1").unwrap();
        assert_eq!((said.committed, said.contradiction), (Some(head(7, 7)), None));
        evidence.take(5, &event(COMMITTED, committed([("r-1", head(10, 1))])));
        assert_eq!(evidence.of("r-1").unwrap().contradiction, Some(5));
        for odd in [committed([("r-2", head(7, 1))]), sealed("r-2", &head(9, 1))] {
            let kind = if odd.contains_key("heads") { COMMITTED } else { SEALED };
            let mut evidence = Evidence::new();
            evidence.take(0, &event(COMMITTED, committed([("r-2", head(7, 7))])));
            evidence.take(1, &event(SEALED, sealed("r-2", &head(9, 9))));
            evidence.take(2, &event(kind, odd));
            assert_eq!(evidence.of("r-2").unwrap().contradiction, Some(2));
        }
    }

    #[test]
    fn the_most_heads_committed_at_once_fit_into_an_event() {
        let ids: Vec<String> = (0..COMMITTED_AT_ONCE).map(|n| format!("r-{n:026}")).collect();
        let head = Head {
            frames: 9_007_199_254_740_991,
            bytes: 9_007_199_254_740_991,
            digest: Digest::new([255; 32]),
        };
        let detail = committed(ids.iter().map(|id| (id.as_str(), head)));
        assert!(
            event(COMMITTED, detail).canonical(9_007_199_254_740_991).unwrap().len() < crate::log::MAX_EVENT
        );
    }
}
