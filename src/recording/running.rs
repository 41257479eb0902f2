//! The recordings being written: puts them on disk together, and says in the log how far they have come.
//! Never writes a frame, and never seals.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
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

    pub(super) fn open(&self, id: RecordingId) -> Unsealed {
        Unsealed { id, all: self.unsealed.clone(), sealed: false }
    }

    pub(super) fn add(&self, tape: &Arc<Tape>) {
        lock(&self.running.tapes).push(Arc::downgrade(tape));
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
