//! The audit log's one writer: an entry is opened before the work and closed after it, and is on disk when the call returns.
//! Never drops an event and never answers for one that is not durable; when the log cannot be written, nothing goes on.

mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger::log::{Event, Log, Sign, Torn};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, oneshot, watch};

use crate::clock::Clock;
use writer::{Standing, Writer};

pub use writer::Progress;

/// Events that may wait for the disk together.
const WAITING: usize = 1024;

/// The log cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit log cannot be written: {why}; {remedy} {log}")]
pub struct AuditError {
    why: String,
    remedy: &'static str,
    log: String,
}

/// Whether the log takes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It does.
    Open,
    /// The disk is full: it is tried again until there is room.
    Full,
    /// It was opened again and is whole; it takes events once [`Audit::resume`] is called.
    Mended(Mended),
    /// It takes nothing until the server is started again.
    Broken,
}

/// How the log was found when it was opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mended {
    /// Entries that no checkpoint vouched for yet.
    pub unsigned: u64,
    /// Bytes of a half-written line that were set aside.
    pub torn: u64,
}

/// How the work of an opened entry ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was refused.
    Refused {
        /// The refusal's code.
        code: String,
        /// The full cause.
        reason: String,
    },
    /// It failed.
    Failed {
        /// The refusal's code, where there is one.
        code: Option<String>,
        /// The full cause.
        reason: String,
    },
}

/// The handle on the writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct Audit {
    to: SyncSender<Command>,
    clock: Arc<dyn Clock>,
    node: Arc<str>,
    dir: Arc<Path>,
    state: watch::Receiver<State>,
    progress: Arc<Progress>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What opening the log found.
#[derive(Debug)]
pub struct Found {
    /// There was no log.
    pub new: bool,
    /// Entries that no checkpoint vouched for: the last second before a crash.
    pub unsigned: u64,
    /// What was half-written, and set aside.
    pub torn: Vec<Torn>,
}

enum Command {
    Append { event: Box<Event>, done: Option<Done> },
    Resume,
    Stop,
}

/// Who waits for an event to be on disk.
type Done = oneshot::Sender<Result<u64, AuditError>>;

impl Audit {
    /// Opens the log in `dir`, recomputes it, and starts its writer. What a crash left half-written was set aside, and is
    /// named for the caller to log.
    ///
    /// # Errors
    /// The log cannot be read, or is not the one that was signed.
    pub fn start(
        dir: PathBuf,
        node: &str,
        signer: Arc<dyn Sign>,
        clock: Arc<dyn Clock>,
        checkpoint: Duration,
    ) -> Result<(Self, Found), ledger::log::OpenError> {
        let log = Log::open(&dir, Box::new(signer.clone()))?;
        let found = Found { new: log.is_new(), unsigned: log.unsigned_at_open(), torn: log.torn().to_vec() };
        let (to, from) = sync_channel(WAITING);
        let (told, state) = watch::channel(State::Open);
        let progress = Arc::new(Progress::of(&log, clock.as_ref()));
        let writer = Writer {
            standing: Standing::Open(Box::new(log)),
            signer,
            clock: clock.clone(),
            checkpoint,
            dir: dir.clone(),
            told,
            progress: progress.clone(),
            next_try: Duration::ZERO,
        };
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run(&from))
            .map_err(|source| ledger::log::OpenError::Io { path: dir.clone(), source })?;
        let thread = Arc::new(Mutex::new(Some(thread)));
        Ok((Self { to, clock, node: node.into(), dir: dir.into(), state, progress, thread }, found))
    }

    /// An event of `kind` now, with nothing else said.
    pub fn event(&self, kind: &str) -> Event {
        Event::new(self.clock.now(), kind, self.node.as_ref())
    }

    /// The folder the log lies in.
    pub fn log_dir(&self) -> &Path {
        &self.dir
    }

    /// Whether the log takes events, now and from now on.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// How far the log and its checkpoints have come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Takes events again after [`State::Mended`]: to be called once nothing of the time before goes on.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn resume(&self) -> Result<(), AuditError> {
        self.send(Command::Resume).await
    }

    /// The node's name in every entry.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Writes one event; it is on disk when this returns. Answers its place in the log.
    ///
    /// # Errors
    /// The log cannot be written: whatever rests on the event must not happen.
    pub async fn note(&self, event: Event) -> Result<u64, AuditError> {
        let (done, answer) = oneshot::channel();
        self.send(Command::Append { event: Box::new(event), done: Some(done) }).await?;
        answer.await.map_err(|_| self.stopped())?
    }

    /// Opens an entry before the work; no entry, no work.
    ///
    /// # Errors
    /// As [`Audit::note`].
    pub async fn open(&self, mut event: Event) -> Result<Opened, AuditError> {
        event.outcome = Some("opened".into());
        let seq = self.note(event.clone()).await?;
        Ok(Opened { audit: self.clone(), event: Some(event), seq })
    }

    /// Writes the last checkpoint and ends the writer. Later events are refused.
    pub async fn stop(&self) {
        let _ = self.send(Command::Stop).await;
        if let Some(thread) = self.thread.lock().await.take() {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }

    async fn send(&self, command: Command) -> Result<(), AuditError> {
        use std::sync::mpsc::TrySendError;
        let mut command = command;
        loop {
            match self.to.try_send(command) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return Err(self.stopped()),
                // The disk is slow: whoever wants to be logged waits for it.
                Err(TrySendError::Full(back)) => {
                    command = back;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    fn stopped(&self) -> AuditError {
        AuditError::lasting("its writer has ended", &self.dir)
    }
}

impl AuditError {
    /// Nothing but a restart helps.
    fn lasting(why: impl std::fmt::Display, log: &Path) -> Self {
        let remedy = "mend the disk, then restart the server on";
        Self { why: why.to_string(), remedy, log: log.display().to_string() }
    }

    /// Goes on by itself.
    fn passing(why: impl std::fmt::Display, log: &Path) -> Self {
        let remedy = "it goes on by itself once there is room under";
        Self { why: why.to_string(), remedy, log: log.display().to_string() }
    }
}

/// An entry whose work is under way.
#[derive(Debug)]
#[must_use = "an entry that is opened must be closed with the outcome of its work"]
pub struct Opened {
    audit: Audit,
    event: Option<Event>,
    seq: u64,
}

impl Opened {
    /// Says how the work ended, in an entry of the same type that names the opening one; `detail` is added to it.
    ///
    /// # Errors
    /// As [`Audit::note`].
    pub async fn close(mut self, outcome: Outcome, detail: Map<String, Value>) -> Result<u64, AuditError> {
        let Some(event) = self.event.take() else { return Ok(self.seq) };
        let closing = closing(&self.audit, event, self.seq, outcome, detail);
        self.audit.note(closing).await
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(event) = self.event.take() {
            let mut event = closing(&self.audit, event, self.seq, Outcome::Ok, Map::new());
            event.outcome = Some("abandoned".into());
            // Nobody waits here; what does not fit is closed by upkeep at the next start.
            let _ = self.audit.to.try_send(Command::Append { event: Box::new(event), done: None });
        }
    }
}

fn closing(audit: &Audit, mut event: Event, seq: u64, outcome: Outcome, detail: Map<String, Value>) -> Event {
    event.time = audit.clock.now();
    let (word, code, reason) = match outcome {
        Outcome::Ok => ("ok", None, None),
        Outcome::Refused { code, reason } => ("refused", Some(code), Some(reason)),
        Outcome::Failed { code, reason } => ("failed", code, Some(reason)),
    };
    event.outcome = Some(word.into());
    event.code = code;
    event.reason = reason;
    event.detail.extend(detail);
    event.detail.insert("opened".into(), seq.into());
    event
}
