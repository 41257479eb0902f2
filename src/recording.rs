//! Permitted -> Recorded: a recording whose header is durable and whose start is in the log, before anything is dialled.
//! Never lets a byte be shown that it has not taken, and never calls a recording sealed that the log does not.

pub mod files;
mod reached;
mod running;
mod tape;

use std::path::PathBuf;
use std::sync::Arc;

use ledger::evidence;
use ledger::log::{Event, has_reserve};
use ledger::recording::{Header, Writer};
use policy::DeviceName;
use serde_json::{Map, Value};

use crate::access::Permitted;
use crate::audit::{AuditError, Opened, Outcome};
use crate::bastion::Bastion;
use crate::channel::Asked;
use crate::ids::{RecordingId, SessionId};
use crate::meters;
use crate::store::{NewRecording, RecordingEnd, RecordingState, StoreError};

use files::Files;
pub use reached::{Reached, Through};
use running::Unsealed;
pub use running::{Behind, Recordings};
pub use tape::{Keep, Tape, Unrecorded};

/// Why nothing could be recorded. The channel does not begin.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// No key.
    #[error("the recording's key cannot be made: {0}")]
    Key(#[from] keys::RecordingKeyError),
    /// No file.
    #[error(transparent)]
    Create(#[from] ledger::recording::CreateError),
    /// Nothing can be written to it.
    #[error("the recording cannot be written: {0}")]
    Write(String),
    /// No entry.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// No row.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What room there is belongs to the log's last words.
    #[error("the disk under {} is full, or nearly: the log has no reserve; free some room", .0.display())]
    Full(PathBuf),
}

/// Which channel of which session is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The session.
    pub session: SessionId,
    /// Its channels are counted from 0.
    pub channel: u32,
}

/// A permitted channel with its recording.
pub struct Recorded {
    permitted: Permitted,
    place: Place,
    id: RecordingId,
    tape: Arc<Tape>,
    entry: Opened,
    /// How the target was reached.
    reached: Option<Reached>,
    unsealed: Unsealed,
}

/// The file of a recording, its key and its header, durable and not yet told of.
pub struct Made {
    tape: Arc<Tape>,
    at: jiff::Timestamp,
    unsealed: Unsealed,
}

/// Makes the file of a permitted channel's recording. From then on it is evidence, whatever becomes of the channel.
///
/// # Errors
/// Whatever cannot be written: then the channel does not begin.
pub async fn make(bastion: &Arc<Bastion>, permitted: &Permitted, place: &Place) -> Result<Made, RecordError> {
    let log = bastion.audit.log_dir();
    if !has_reserve(log) {
        return Err(RecordError::Full(log.to_owned()));
    }
    let now = bastion.clock.now();
    let id = bastion.ids.recording(now);
    let header = header(bastion, permitted, place, &id, now);
    let making = bastion.clone();
    // Key and header cost four fsyncs: not on a thread that others wait for.
    let writer = tokio::task::spawn_blocking(move || write_header(&making, header))
        .await
        .map_err(|why| RecordError::Write(why.to_string()))??;
    let files = Files::of(permitted.kind(), permitted.asked());
    let unsealed = bastion.recordings.open(id.clone());
    let tape = Tape::new(
        id,
        writer,
        keep(bastion, permitted),
        files,
        bastion.clock.clone(),
        bastion.recordings.bell(),
    );
    Ok(Made { tape: Arc::new(tape), at: now, unsealed })
}

/// Begins the recording of a permitted channel whose session is open.
///
/// # Errors
/// Whatever cannot be written: then the channel does not begin, and nothing is dialled.
pub async fn start(
    bastion: &Bastion,
    permitted: Permitted,
    place: Place,
    made: Made,
) -> Result<Recorded, RecordError> {
    let Made { tape, at, unsealed } = made;
    let id = tape.id().clone();
    let entry = begin(bastion, &permitted, &place, &id, &tape, at.as_millisecond()).await?;
    Ok(Recorded { permitted, place, id, tape, entry, reached: None, unsealed })
}

/// The first frame, the entries in the log, the row.
async fn begin(
    bastion: &Bastion,
    permitted: &Permitted,
    place: &Place,
    id: &RecordingId,
    tape: &Arc<Tape>,
    started: i64,
) -> Result<Opened, RecordError> {
    bastion.recordings.add(tape);
    tape.begin(permitted.asked()).map_err(|why| RecordError::Write(why.to_string()))?;
    let kind = if permitted.asked().start.is_session() { "channel.session" } else { "channel.stream" };
    let mut event = event(bastion, kind, permitted, place);
    event.detail.insert("recording".into(), id.as_str().into());
    permitted.describe(&mut event);
    // The entries in one fsync, and the row beside it: all know the recording before anything is dialled.
    let mut noted = self::event(bastion, evidence::STARTED, permitted, place);
    noted.detail = evidence::started(id.as_str());
    let (entry, noted, row) = tokio::join!(
        bastion.audit.open(event),
        bastion.audit.note(noted),
        insert(bastion, permitted, place, id, started)
    );
    let (entry, _, ()) = (entry?, noted?, row?);
    Ok(entry)
}

fn event(bastion: &Bastion, kind: &str, permitted: &Permitted, place: &Place) -> Event {
    let mut event = permitted.event(bastion, kind);
    event.session = Some(place.session.to_string());
    event
}

fn write_header(bastion: &Bastion, mut header: Header) -> Result<Writer, RecordError> {
    let (key, envelope) = bastion.keys.recording_key(&header.recording)?;
    header.envelope = envelope;
    Ok(Writer::create(bastion.recordings.dir(), &header, &key)?)
}

fn header(
    bastion: &Bastion,
    permitted: &Permitted,
    place: &Place,
    id: &RecordingId,
    now: jiff::Timestamp,
) -> Header {
    Header {
        recording: id.to_string(),
        session: place.session.to_string(),
        channel: place.channel,
        node: bastion.audit.node().to_owned(),
        operator: permitted.operator().to_string(),
        device: permitted.device().map(ToString::to_string),
        target: permitted.target().to_string(),
        account: permitted.account().to_string(),
        kind: permitted.kind().word(),
        started: now,
        envelope: Vec::new(),
    }
}

/// What is kept: of a terminal everything, of files moved by sftp and of streams nothing but the totals, of the rest up to a
/// limit.
fn keep(bastion: &Bastion, permitted: &Permitted) -> Keep {
    let asked: &Asked = permitted.asked();
    let config = &bastion.config.recording;
    let stream = !asked.start.is_session();
    let output = match permitted.kind() {
        policy::ChannelKind::Sftp => 0,
        _ if stream => 0,
        _ if asked.terminal.is_some() => u64::MAX,
        _ => config.max,
    };
    Keep {
        output,
        input: config.input && !stream,
        totals: stream,
        facts: config.max,
        strict: permitted.strict(&bastion.access.bundle()),
    }
}

async fn insert(
    bastion: &Bastion,
    permitted: &Permitted,
    place: &Place,
    id: &RecordingId,
    started: i64,
) -> Result<(), StoreError> {
    let (kind, command) = (permitted.kind().word(), permitted.asked().start.command());
    bastion
        .store
        .start_recording(&NewRecording {
            id: id.as_str(),
            session: place.session.as_str(),
            operator: permitted.operator().as_str(),
            device: permitted.device().map(DeviceName::as_str),
            target: permitted.target().as_str(),
            account: permitted.account().as_str(),
            kind: &kind,
            command: command.as_deref(),
            started,
        })
        .await
}

impl Recorded {
    /// What was permitted.
    pub fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    /// The session it belongs to.
    pub fn session(&self) -> &SessionId {
        &self.place.session
    }

    /// The recording's name.
    pub fn id(&self) -> &RecordingId {
        &self.id
    }

    /// Where everything goes before it is shown.
    pub fn tape(&self) -> &Arc<Tape> {
        &self.tape
    }

    /// The target was reached: the entry's end says how.
    pub fn reached(self, reached: Reached) -> Self {
        Self { reached: Some(reached), ..self }
    }

    /// Seals: the last frame and an fsync, then the entry that makes it sealed, then the row that is found by.
    ///
    /// # Errors
    /// Whatever cannot be written; the recording then counts as unsealed, until upkeep has closed it.
    pub async fn seal(
        self,
        bastion: &Bastion,
        outcome: Outcome,
        mut detail: Map<String, Value>,
    ) -> Result<(), RecordError> {
        let Self { permitted, place, id, tape, entry, reached, unsealed } = self;
        let word = match &outcome {
            Outcome::Ok => "ok",
            Outcome::Refused { .. } => "refused",
            Outcome::Failed { .. } => "failed",
        };
        meters::channel(permitted.kind(), word);
        reached::describe(reached.as_ref(), &mut detail);
        detail.extend(tape.totals());
        let sealing = tokio::task::spawn_blocking(move || tape.seal()).await;
        let head = sealing
            .map_err(|why| RecordError::Write(why.to_string()))?
            .map_err(|why| RecordError::Write(why.to_string()));
        let head = match head {
            Ok(head) => head,
            Err(why) => {
                detail.insert("unsealed".into(), why.to_string().into());
                entry.close(outcome, detail).await?;
                return Err(why);
            }
        };
        let mut event = event(bastion, evidence::SEALED, &permitted, &place);
        event.outcome = Some("ok".into());
        event.detail = evidence::sealed(id.as_str(), &head);
        let (noted, closed) = tokio::join!(bastion.audit.note(event), entry.close(outcome, detail));
        noted.and(closed)?;
        let digest = *head.digest.bytes();
        bastion
            .store
            .end_recording(
                id.as_str(),
                &RecordingEnd {
                    state: RecordingState::Sealed,
                    ended: bastion.clock.unix_ms(),
                    outcome: word,
                    bytes: head.bytes,
                    frames: head.frames,
                    ignored: 0,
                    digest: Some(&digest),
                },
            )
            .await?;
        unsealed.sealed();
        Ok(())
    }
}
