//! The recordings being written: puts them on disk together, and says in the log how far they have come.
//! Never writes a frame, and never seals.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{Thread, park};
use std::time::Duration;

use ledger::evidence;
use ledger::log::has_reserve;

use super::Tape;
use crate::audit::Audit;
use crate::clock::Clock;
use crate::ids::RecordingId;
use crate::meters;

/// Between two entries of the log that say how far the running recordings have come.
const COMMIT: Duration = Duration::from_secs(5);
/// Nothing waits for the disk.
const NOTHING: u64 = u64::MAX;

/// All recordings being written: syncs them together and commits how far they have come.
#[derive(Debug)]
pub struct Recordings {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    running: Arc<Running>,
    bell: Arc<Bell>,
    /// Those that could not be sealed.
    unsealed: Arc<Mutex<BTreeSet<RecordingId>>>,
}

/// A recording that is not sealed: unless it is when this is dropped, upkeep closes it.
pub(super) struct Unsealed {
    id: RecordingId,
    all: Arc<Mutex<BTreeSet<RecordingId>>>,
    sealed: bool,
}

impl Unsealed {
    /// It is sealed.
    pub(super) fn sealed(mut self) {
        self.sealed = true;
    }
}

impl Drop for Unsealed {
    fn drop(&mut self) {
        if !self.sealed {
            lock(&self.all).insert(self.id.clone());
        }
    }
}

/// The tapes that are synced together.
#[derive(Debug)]
struct Running {
    tapes: Mutex<Vec<Weak<Tape>>>,
    /// When what is being put on disk was written, in milliseconds of the monotonic clock, or [`NOTHING`].
    waits: AtomicU64,
}

/// Rung by who writes; heard by the thread that syncs, which sleeps while nobody does.
#[derive(Debug)]
pub(super) struct Bell {
    /// When it was rung, in milliseconds of the monotonic clock, or [`NOTHING`].
    rung: AtomicU64,
    over: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Default for Bell {
    fn default() -> Self {
        Self { rung: AtomicU64::new(NOTHING), over: AtomicBool::new(false), thread: OnceLock::new() }
    }
}

impl Bell {
    /// Something was written, at this time of the monotonic clock. The thread is woken once for all that is written until it looks.
    pub(super) fn ring(&self, now: Duration) {
        // What was written is seen by who stills it after this, or it is found rung.
        fence(Ordering::SeqCst);
        if self.rung.load(Ordering::Relaxed) != NOTHING {
            return;
        }
        let first = milliseconds(now);
        if self.rung.compare_exchange(NOTHING, first, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
            self.wake();
        }
    }

    fn wake(&self) {
        self.thread.get().inspect(|thread| thread.unpark());
    }

    /// Whether it was rung, and not for the last time.
    fn wait(&self) -> bool {
        while self.rung.load(Ordering::Acquire) == NOTHING && !self.over.load(Ordering::Acquire) {
            park();
        }
        !self.over.load(Ordering::Acquire)
    }

    /// What is written from here on rings anew. Answers when it was rung.
    fn still(&self) -> u64 {
        let rung = self.rung.swap(NOTHING, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        rung
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(NOTHING - 1)
}

/// How far the running recordings are behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// Recordings being written.
    pub running: usize,
    /// Bytes handed to them that are not on disk yet.
    pub bytes: u64,
    /// How long the oldest of them have waited.
    pub since: Duration,
}

impl Recordings {
    /// Starts the syncer, which lets what was written wait for `flush`, and the committer. Both end when this value has.
    pub fn start(
        dir: PathBuf,
        flush: Duration,
        audit: Audit,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let running = Arc::new(Running { tapes: Mutex::default(), waits: AtomicU64::new(NOTHING) });
        let (bell, log): (Arc<Bell>, _) = (Arc::default(), audit.log_dir().to_owned());
        let (synced, rung, its_clock) = (running.clone(), bell.clone(), clock.clone());
        let syncer = std::thread::Builder::new()
            .name("recordings".into())
            .spawn(move || sync_all(&synced, &rung, flush, &log, its_clock.as_ref()))?;
        let _ = bell.thread.set(syncer.thread().clone());
        tokio::spawn(commit_all(Arc::downgrade(&running), audit));
        Ok(Self { dir, clock, running, bell, unsealed: Arc::default() })
    }

    /// The folder the recordings lie in.
    pub fn dir(&self) -> &std::path::Path {
        &self.dir
    }

    /// How far the running recordings are behind.
    pub fn behind(&self) -> Behind {
        let tapes = self.running.alive();
        let waits = self.running.waits.load(Ordering::Relaxed);
        let since = match waits.min(self.bell.rung.load(Ordering::Relaxed)) {
            NOTHING => Duration::ZERO,
            waits => self.clock.monotonic().saturating_sub(Duration::from_millis(waits)),
        };
        Behind { running: tapes.len(), bytes: tapes.iter().map(|tape| tape.behind()).sum(), since }
    }

    /// The recordings that could not be sealed; nobody writes them any more.
    pub fn unsealed(&self) -> Vec<RecordingId> {
        lock(&self.unsealed).iter().cloned().collect()
    }

    /// One of them was closed.
    pub fn closed(&self, id: &RecordingId) {
        lock(&self.unsealed).remove(id);
    }

    /// What a tape rings when it was written to.
    pub(super) fn bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    pub(super) fn open(&self, id: RecordingId) -> Unsealed {
        Unsealed { id, all: self.unsealed.clone(), sealed: false }
    }

    pub(super) fn add(&self, tape: &Arc<Tape>) {
        lock(&self.running.tapes).push(Arc::downgrade(tape));
    }
}

impl Drop for Recordings {
    fn drop(&mut self) {
        self.bell.over.store(true, Ordering::Release);
        self.bell.wake();
    }
}

impl Running {
    fn alive(&self) -> Vec<Arc<Tape>> {
        let mut tapes = lock(&self.tapes);
        tapes.retain(|tape| tape.strong_count() > 0);
        tapes.iter().filter_map(Weak::upgrade).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts what was recorded on disk, all recordings one after the other; a failing one is poisoned and ends its channel.
fn sync_all(running: &Running, bell: &Bell, flush: Duration, log: &Path, clock: &dyn Clock) {
    while bell.wait() {
        give_room(running, log);
        std::thread::sleep(flush);
        running.waits.store(bell.still(), Ordering::Relaxed);
        let (begun, tapes) = (clock.monotonic(), running.alive());
        for tape in &tapes {
            // One that cannot be synced in whatever way fails by itself: the others go on being synced.
            if catch_unwind(AssertUnwindSafe(|| tape.sync())).is_err() {
                tape.give_up("its sync panicked");
            }
        }
        give_room(running, log);
        if !tapes.is_empty() {
            meters::recordings_synced(clock.monotonic().saturating_sub(begun));
        }
        running.waits.store(NOTHING, Ordering::Relaxed);
    }
}

/// Once the log had to give up its reserve, no recording goes on: what room there is belongs to the log's last words.
fn give_room(running: &Running, log: &Path) {
    if !has_reserve(log) {
        for tape in running.alive() {
            tape.give_up("the disk is full");
        }
    }
}

/// Says in the log how far the recordings have come, so that a later cut is named also after a crash.
async fn commit_all(running: Weak<Running>, audit: Audit) {
    loop {
        tokio::time::sleep(COMMIT).await;
        let Some(running) = running.upgrade() else { return };
        let log = audit.log_dir().to_owned();
        let grown = tokio::task::spawn_blocking(move || {
            // Also of those that nobody writes to.
            give_room(&running, &log);
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn nothing_that_was_written_is_slept_over() {
        const WRITTEN: u64 = 200_000;
        let (bell, written) = (Arc::new(Bell::default()), Arc::new(AtomicU64::new(0)));
        let (heard, read) = (bell.clone(), written.clone());
        let (sender, all) = channel();
        let syncer = std::thread::spawn(move || {
            let mut seen = 0;
            while seen < WRITTEN && heard.wait() {
                heard.still();
                seen = read.load(Ordering::Acquire);
            }
            sender.send(seen).unwrap();
        });
        bell.thread.set(syncer.thread().clone()).unwrap();
        for now in 0..WRITTEN {
            written.fetch_add(1, Ordering::Release);
            bell.ring(Duration::from_millis(now));
        }
        assert_eq!(all.recv_timeout(Duration::from_secs(30)), Ok(WRITTEN));
    }
}
