//! The audit log's one writer: an entry is opened before the work and closed after it, and is on disk when the call returns.
//! Never drops an event and never answers for one that is not durable; when the log cannot be written, nothing goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use ledger::log::{Event, Log, Sign, Torn};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Events that may wait for the disk together.
const WAITING: usize = 1024;
/// Entries that are written before one fsync.
const TOGETHER: usize = 256;

/// The log cannot be written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit log cannot be written: {why}; free or mend the disk under {log}, then restart")]
pub struct AuditError {
    why: String,
    log: String,
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
    broken: CancellationToken,
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
    Append { event: Box<Event>, done: Option<oneshot::Sender<Result<u64, AuditError>>> },
    Stop,
}

impl Audit {
    /// Opens the log in `dir`, recomputes it, and starts its writer. What a crash left half-written was set aside, and is
    /// named for the caller to log.
    ///
    /// # Errors
    /// The log cannot be read, or is not the one that was signed.
    pub fn start(
        dir: PathBuf,
        node: &str,
        signer: Box<dyn Sign>,
        clock: Arc<dyn Clock>,
        checkpoint: Duration,
    ) -> Result<(Self, Found), ledger::log::OpenError> {
        let log = Log::open(&dir, signer)?;
        let found = Found { new: log.is_new(), unsigned: log.unsigned_at_open(), torn: log.torn().to_vec() };
        let (to, from) = sync_channel(WAITING);
        let broken = CancellationToken::new();
        let where_to = dir.display().to_string();
        let writer = Writer { log, clock: clock.clone(), checkpoint, dir: where_to, broken: broken.clone() };
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || writer.run(&from))
            .map_err(|source| ledger::log::OpenError::Io { path: dir.clone(), source })?;
        let thread = Arc::new(Mutex::new(Some(thread)));
        Ok((Self { to, clock, node: node.into(), dir: dir.into(), broken, thread }, found))
    }

    /// An event of `kind` now, with nothing else said.
    pub fn event(&self, kind: &str) -> Event {
        Event::new(self.clock.now(), kind, self.node.as_ref())
    }

    /// The folder the log lies in.
    pub fn log_dir(&self) -> &Path {
        &self.dir
    }

    /// Cancelled once the log could not be written: from then on it is closed until the server is started again.
    pub fn broken(&self) -> &CancellationToken {
        &self.broken
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
        AuditError { why: "its writer has ended".into(), log: self.dir.display().to_string() }
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

struct Writer {
    log: Log,
    clock: Arc<dyn Clock>,
    checkpoint: Duration,
    dir: String,
    broken: CancellationToken,
}

impl Writer {
    /// Appends what comes, many at a time under one fsync, and signs a checkpoint when the time has come.
    fn run(mut self, from: &Receiver<Command>) {
        let mut due = None;
        loop {
            let first = match due {
                None => from.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => {
                    let left = self.checkpoint.saturating_sub(self.clock.monotonic().saturating_sub(due));
                    from.recv_timeout(left)
                }
            };
            match first {
                Ok(Command::Append { event, done }) => {
                    due.get_or_insert_with(|| self.clock.monotonic());
                    if !self.together(event, done, from) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    due = None;
                    self.sign();
                }
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if due.is_some_and(|due| self.clock.monotonic().saturating_sub(due) >= self.checkpoint) {
                due = None;
                self.sign();
            }
        }
        self.sign();
    }

    /// One group: append, fsync, answer. `false` when the order to stop was among them.
    fn together(
        &mut self,
        event: Box<Event>,
        done: Option<oneshot::Sender<Result<u64, AuditError>>>,
        from: &Receiver<Command>,
    ) -> bool {
        let mut waiting = vec![(self.append(&event), done)];
        let mut go_on = true;
        while waiting.len() < TOGETHER {
            match from.try_recv() {
                Ok(Command::Append { event, done }) => waiting.push((self.append(&event), done)),
                Ok(Command::Stop) => {
                    go_on = false;
                    break;
                }
                Err(_) => break,
            }
        }
        let synced = self.log.sync().map_err(|why| self.error(&why));
        if synced.is_err() {
            self.broken.cancel();
        }
        for (appended, done) in waiting {
            if let Some(done) = done {
                let _ = done.send(synced.clone().and(appended));
            }
        }
        go_on
    }

    fn append(&mut self, event: &Event) -> Result<u64, AuditError> {
        self.log.append(event).map_err(|why| AuditError { why: why.to_string(), log: self.dir.clone() })
    }

    fn sign(&mut self) {
        if let Err(why) = self.log.checkpoint() {
            tracing::error!(%why, "no checkpoint of the audit log was signed");
        }
    }

    fn error(&self, why: &dyn std::fmt::Display) -> AuditError {
        AuditError { why: why.to_string(), log: self.dir.clone() }
    }
}
