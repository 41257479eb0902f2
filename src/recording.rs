//! Permitted -> Recorded: a recording whose header is durable and whose start is in the log, before anything is dialled.
//! Never lets a byte be shown that it has not taken, and never calls a recording sealed that the log does not.

mod tape;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ledger::evidence;
use ledger::log::{Event, has_reserve};
use ledger::recording::{Header, Writer};
use policy::DeviceName;
use serde_json::{Map, Value};

use crate::access::Permitted;
use crate::audit::{Audit, AuditError, Opened, Outcome};
use crate::bastion::Bastion;
use crate::channel::Asked;
use crate::clock::Clock;
use crate::ids::{RecordingId, SessionId};
use crate::meters;
use crate::store::{NewRecording, RecordingEnd, RecordingState, StoreError};

pub use tape::{Keep, Tape, Unrecorded};

/// Between two entries of the log that say how far the running recordings have come.
const COMMIT: Duration = Duration::from_secs(5);

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

/// All recordings being written: syncs them together and commits how far they have come.
#[derive(Debug)]
pub struct Recordings {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    running: Arc<Running>,
    /// Those that could not be sealed.
    unsealed: Arc<Mutex<BTreeSet<RecordingId>>>,
}

/// A recording that is not sealed: unless it is when this is dropped, upkeep closes it.
struct Unsealed {
    id: RecordingId,
    all: Arc<Mutex<BTreeSet<RecordingId>>>,
    sealed: bool,
}

impl Drop for Unsealed {
    fn drop(&mut self) {
        if !self.sealed {
            lock(&self.all).insert(self.id.clone());
        }
    }
}

/// The tapes that are synced together.
#[derive(Debug, Default)]
struct Running {
    tapes: Mutex<Vec<Weak<Tape>>>,
    /// When a whole round of syncs was last done, in milliseconds of the monotonic clock.
    synced_at: AtomicU64,
}

/// How far the running recordings are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// Recordings being written.
    pub running: usize,
    /// Bytes handed to them that are not on disk yet.
    pub bytes: u64,
    /// Since a whole round of syncs was last done.
    pub since: Duration,
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
    /// Where the target was reached.
    address: Option<SocketAddr>,
    unsealed: Unsealed,
}

impl Recordings {
    /// Starts the syncer, every `flush`, and the committer. Both end with the runtime.
    pub fn start(
        dir: PathBuf,
        flush: Duration,
        audit: Audit,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let running: Arc<Running> = Arc::default();
        let (synced, its_clock) = (running.clone(), clock.clone());
        let log = audit.log_dir().to_owned();
        std::thread::Builder::new()
            .name("recordings".into())
            .spawn(move || sync_all(&synced, flush, &log, its_clock.as_ref()))?;
        tokio::spawn(commit_all(Arc::downgrade(&running), audit));
        Ok(Self { dir, clock, running, unsealed: Arc::default() })
    }

    /// The folder the recordings lie in.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// How far the running recordings are behind.
    pub fn behind(&self) -> Behind {
        let tapes = self.running.alive();
        let since = Duration::from_millis(self.running.synced_at.load(Ordering::Relaxed));
        Behind {
            running: tapes.len(),
            bytes: tapes.iter().map(|tape| tape.behind()).sum(),
            since: self.clock.monotonic().saturating_sub(since),
        }
    }

    /// The recordings that could not be sealed; nobody writes them any more.
    pub fn unsealed(&self) -> Vec<RecordingId> {
        lock(&self.unsealed).iter().cloned().collect()
    }

    /// One of them was closed.
    pub fn closed(&self, id: &RecordingId) {
        lock(&self.unsealed).remove(id);
    }

    fn open(&self, id: RecordingId) -> Unsealed {
        Unsealed { id, all: self.unsealed.clone(), sealed: false }
    }

    fn add(&self, tape: &Arc<Tape>) {
        let mut tapes = lock(&self.running.tapes);
        tapes.retain(|tape| tape.strong_count() > 0);
        tapes.push(Arc::downgrade(tape));
    }
}

impl Running {
    fn alive(&self) -> Vec<Arc<Tape>> {
        lock(&self.tapes).iter().filter_map(Weak::upgrade).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts what was recorded on disk, all recordings one after the other; a failing one is poisoned and ends its channel. Once the
/// log had to give up its reserve, all are failing: what room there is belongs to the log's last words.
fn sync_all(running: &Arc<Running>, flush: Duration, log: &Path, clock: &dyn Clock) {
    // Ends when the `Recordings` is gone: then this is the only owner left.
    while Arc::strong_count(running) > 1 {
        std::thread::sleep(flush);
        let begun = clock.monotonic();
        let tapes = running.alive();
        let full = !tapes.is_empty() && !has_reserve(log);
        for tape in &tapes {
            // One that cannot be synced in whatever way fails by itself: the others go on being synced.
            if catch_unwind(AssertUnwindSafe(|| tape.sync())).is_err() {
                tape.give_up("its sync panicked");
            }
            if full {
                tape.give_up("the disk is full");
            }
        }
        let done = clock.monotonic();
        if !tapes.is_empty() {
            meters::recordings_synced(done.saturating_sub(begun));
        }
        running.synced_at.store(u64::try_from(done.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Says in the log how far the recordings have come, so that a later cut is named also after a crash.
async fn commit_all(running: Weak<Running>, audit: Audit) {
    loop {
        tokio::time::sleep(COMMIT).await;
        let Some(running) = running.upgrade() else { return };
        let grown = tokio::task::spawn_blocking(move || {
            running
                .alive()
                .iter()
                .filter_map(|tape| Some((tape.id().clone(), tape.grown()?)))
                .collect::<Vec<_>>()
        });
        let Ok(heads) = grown.await else { continue };
        for some in heads.chunks(evidence::COMMITTED_AT_ONCE) {
            let mut event = audit.event(evidence::COMMITTED);
            event.detail = evidence::committed(some.iter().map(|(id, head)| (id.as_str(), *head)));
            if let Err(why) = audit.note(event).await {
                tracing::error!(%why, "how far the recordings have come was not logged");
            }
        }
    }
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
    let unsealed = bastion.recordings.open(id.clone());
    let tape = Tape::new(id, writer, keep(bastion, permitted), bastion.clock.clone());
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
    Ok(Recorded { permitted, place, id, tape, entry, address: None, unsealed })
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
    tape.begin(permitted.asked()).map_err(|why| RecordError::Write(why.to_string()))?;
    bastion.recordings.add(tape);
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
    Ok(Writer::create(&bastion.recordings.dir, &header, &key)?)
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

    /// The target was reached at `address`: the entry's end names it.
    pub fn reached(self, address: SocketAddr) -> Self {
        Self { address: Some(address), ..self }
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
        let Self { permitted, place, id, tape, entry, address, mut unsealed } = self;
        let word = match &outcome {
            Outcome::Ok => "ok",
            Outcome::Refused { .. } => "refused",
            Outcome::Failed { .. } => "failed",
        };
        meters::channel(permitted.kind(), word);
        detail.insert("address".into(), address.map(|address| address.to_string()).into());
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
        unsealed.sealed = true;
        Ok(())
    }
}
