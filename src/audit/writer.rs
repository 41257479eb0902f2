//! The thread that writes the log: many events under one fsync, a checkpoint when its time has come, and the log opened again
//! when a full disk has room.
//! Never tries a failed sync again: what it has lost cannot be known, so only a restart helps then.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use ledger::log::{AppendError, Event, Log, Sign};
use tokio::sync::watch;

use super::{AuditError, Command, Done, Mended, State};
use crate::clock::Clock;
use crate::meters;

/// Entries that are written before one fsync.
const TOGETHER: usize = 256;
/// Between two tries to go on after the disk was full.
const RETRY: Duration = Duration::from_secs(1);
/// How often the last checkpoint is tried, and how long after one another.
const LAST_TRIES: u32 = 20;
const BETWEEN_LAST: Duration = Duration::from_millis(100);
/// Room there must be before the log is opened again, in bytes.
const ROOM: usize = 256 << 10;

/// How far the log has come, for whoever watches it.
#[derive(Debug)]
pub struct Progress {
    entries: AtomicU64,
    signed: AtomicU64,
    /// Milliseconds since 1970 of the newest checkpoint that this process signed; 0 for none.
    signed_at: AtomicI64,
    /// Milliseconds since 1970 of the first entry after the newest checkpoint; 0 for none.
    waits_since: AtomicI64,
}

impl Progress {
    pub(super) fn of(log: &Log, clock: &dyn Clock) -> Self {
        let signed = log.signed().map_or(0, |signed| signed.size);
        let since = if log.size() > signed { clock.unix_ms() } else { 0 };
        Self {
            entries: AtomicU64::new(log.size()),
            signed: AtomicU64::new(signed),
            signed_at: AtomicI64::new(0),
            waits_since: AtomicI64::new(since),
        }
    }

    /// Entries in the log.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// Entries that no checkpoint vouches for yet.
    pub fn unsigned(&self) -> u64 {
        self.entries().saturating_sub(self.signed.load(Ordering::Relaxed))
    }

    /// When the newest checkpoint of this run was signed, in milliseconds since 1970.
    pub fn signed_at(&self) -> Option<i64> {
        Some(self.signed_at.load(Ordering::Relaxed)).filter(|&at| at > 0)
    }

    /// How long the oldest entry without a checkpoint has waited, in milliseconds.
    pub fn waits(&self, now: i64) -> i64 {
        match self.waits_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since).max(0),
        }
    }

    fn grown(&self, entries: u64, now: i64) {
        self.entries.store(entries, Ordering::Relaxed);
        if self.unsigned() > 0 {
            let _ = self.waits_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    fn signed(&self, size: u64, now: i64) {
        self.signed.store(size, Ordering::Relaxed);
        self.signed_at.store(now, Ordering::Relaxed);
        self.waits_since.store(0, Ordering::Relaxed);
    }
}

/// Whether there is a log to write to.
pub(super) enum Standing {
    Open(Box<Log>),
    /// Opened again; nothing is taken until the order to resume.
    Mended(Box<Log>),
    Closed {
        why: AuditError,
        mends: bool,
    },
}

pub(super) struct Writer {
    pub(super) standing: Standing,
    pub(super) signer: Arc<dyn Sign>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) checkpoint: Duration,
    pub(super) dir: PathBuf,
    pub(super) told: watch::Sender<State>,
    pub(super) progress: Arc<Progress>,
    /// When to try to go on, on the monotonic side of the clock.
    pub(super) next_try: Duration,
}

impl Drop for Writer {
    /// Whatever ends the thread: nobody goes on believing that the log is written.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.told.send_replace(State::Broken);
        }
    }
}

impl Writer {
    /// Appends what comes, many at a time under one fsync, and signs a checkpoint when the time has come.
    pub(super) fn run(mut self, from: &Receiver<Command>) {
        // Since when an entry waits for its checkpoint.
        let mut since = None;
        loop {
            let first = match self.patience(since) {
                None => from.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(left) => from.recv_timeout(left),
            };
            match first {
                Ok(Command::Append { event, done }) => {
                    since.get_or_insert_with(|| self.clock.monotonic());
                    if !self.together(event, done, from) {
                        break;
                    }
                }
                Ok(Command::Resume) => self.resume(),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break,
            }
            self.mend();
            if since.is_some_and(|since| self.passed(since) >= self.checkpoint) {
                since = (!self.sign()).then(|| self.clock.monotonic());
            }
        }
        self.sign_last();
    }

    /// For the last one there is no later: descriptors come free while everything is being closed.
    fn sign_last(&mut self) {
        for _ in 0..LAST_TRIES {
            if self.sign() {
                return;
            }
            std::thread::sleep(BETWEEN_LAST);
        }
        tracing::error!(
            "the last checkpoint of the audit log could not be published; the next start does that"
        );
    }

    fn passed(&self, since: Duration) -> Duration {
        self.clock.monotonic().saturating_sub(since)
    }

    /// How long to wait for the next event; `None` is for ever.
    fn patience(&self, since: Option<Duration>) -> Option<Duration> {
        if matches!(self.standing, Standing::Closed { mends: true, .. }) {
            return Some(RETRY);
        }
        since.map(|since| self.checkpoint.saturating_sub(self.passed(since)))
    }

    /// One group: append, fsync, answer. `false` when the order to stop was among them.
    fn together(&mut self, event: Box<Event>, done: Option<Done>, from: &Receiver<Command>) -> bool {
        let mut waiting = vec![(self.append(&event), done)];
        let (mut go_on, mut resume) = (true, false);
        while waiting.len() < TOGETHER {
            match from.try_recv() {
                Ok(Command::Append { event, done }) => waiting.push((self.append(&event), done)),
                Ok(Command::Resume) => resume = true,
                Ok(Command::Stop) => {
                    go_on = false;
                    break;
                }
                Err(_) => break,
            }
        }
        let synced = self.sync();
        for (appended, done) in waiting {
            if let Some(done) = done {
                let _ = done.send(synced.clone().and(appended));
            }
        }
        if resume {
            self.resume();
        }
        go_on
    }

    fn append(&mut self, event: &Event) -> Result<u64, AuditError> {
        let failed = match &mut self.standing {
            Standing::Open(log) => match log.append(event) {
                Ok(seq) => return Ok(seq),
                Err(AppendError::Event(why)) => return Err(AuditError::lasting(why, &self.dir)),
                Err(why) => (why.to_string(), why.is_full()),
            },
            Standing::Mended(_) => {
                let why = "it was opened again after the disk was full, and is being brought in order";
                return Err(AuditError::passing(why, &self.dir));
            }
            Standing::Closed { why, .. } => return Err(why.clone()),
        };
        Err(self.close(&failed.0, failed.1))
    }

    fn sync(&mut self) -> Result<(), AuditError> {
        let failed = match &mut self.standing {
            Standing::Open(log) => {
                let begun = self.clock.monotonic();
                match log.sync() {
                    Ok(()) => {
                        meters::log_synced(self.clock.monotonic().saturating_sub(begun));
                        self.progress.grown(log.size(), self.clock.unix_ms());
                        return Ok(());
                    }
                    Err(why) => (why.to_string(), why.is_full()),
                }
            }
            Standing::Mended(_) => return Ok(()),
            Standing::Closed { why, .. } => return Err(why.clone()),
        };
        Err(self.close(&failed.0, failed.1))
    }

    /// Signs how far the log has come. `false` when that has to be tried again.
    fn sign(&mut self) -> bool {
        let Standing::Open(log) = &mut self.standing else { return true };
        match log.checkpoint() {
            Ok(checkpoint) => self.progress.signed(checkpoint.size, self.clock.unix_ms()),
            Err(why) if why.is_for_later() => {
                tracing::warn!(%why, "a checkpoint of the audit log has to wait");
                return false;
            }
            Err(why) => {
                tracing::error!(%why, "no checkpoint of the audit log was signed");
                let full = why.is_full();
                self.close(&why.to_string(), full);
            }
        }
        true
    }

    /// Gives the log up, for a while when the disk was full, else until the next start.
    fn close(&mut self, why: &str, full: bool) -> AuditError {
        let why =
            if full { AuditError::passing(why, &self.dir) } else { AuditError::lasting(why, &self.dir) };
        self.standing = Standing::Closed { why: why.clone(), mends: full };
        self.told.send_replace(if full { State::Full } else { State::Broken });
        self.next_try = self.clock.monotonic() + RETRY;
        why
    }

    /// Opens the log again once there is room: all of it is reread and held against what was signed.
    fn mend(&mut self) {
        let now = self.clock.monotonic();
        if !matches!(self.standing, Standing::Closed { mends: true, .. }) || now < self.next_try {
            return;
        }
        self.next_try = now + RETRY;
        if !has_room(&self.dir) {
            return;
        }
        match Log::open(&self.dir, Box::new(self.signer.clone())) {
            Ok(log) => {
                let torn = log.torn().iter().map(|torn| torn.bytes).sum();
                let mended = Mended { unsigned: log.unsigned_at_open(), torn };
                self.progress.grown(log.size(), self.clock.unix_ms());
                self.standing = Standing::Mended(Box::new(log));
                self.told.send_replace(State::Mended(mended));
            }
            Err(ledger::log::OpenError::Io { .. } | ledger::log::OpenError::Checkpoint(_)) => {}
            Err(why) => {
                tracing::error!(%why, "the audit log cannot be opened again");
                self.close(&why.to_string(), false);
            }
        }
    }

    fn resume(&mut self) {
        let closed = AuditError::lasting("it is being opened", &self.dir);
        let before = std::mem::replace(&mut self.standing, Standing::Closed { why: closed, mends: false });
        self.standing = match before {
            Standing::Mended(log) => {
                self.told.send_replace(State::Open);
                Standing::Open(log)
            }
            other => other,
        };
    }
}

/// Whether the folder takes a file of some size. A log that is opened into the last free page would close again at once.
fn has_room(dir: &Path) -> bool {
    let probe = dir.join(".room");
    let tried =
        OpenOptions::new().write(true).create(true).truncate(true).open(&probe).and_then(|mut file| {
            file.write_all(&vec![0; ROOM])?;
            file.sync_all()
        });
    let _ = std::fs::remove_file(&probe);
    tried.is_ok()
}
