//! Where a long recording can be taken up without being replayed from its beginning: kept screens, each with the head it stands at.
//! It never vouches for anything: the screens are made from frames that the chain holds, and a seek goes on holding it from there.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keys::RecordingKey;
use ledger::recording::{Head, Mark, ReadError, Reader, Spot, Stream, outline, read_index, write_index};
use serde::{Deserialize, Serialize};

use super::Material;
use super::reel::size_of;
use super::screen::{Screen, Still};

/// Recordings shorter than this, in bytes, are replayed from their beginning.
const SHORT: u64 = 1 << 20;
/// What is replayed between two kept screens, in characters written: some fifty milliseconds.
pub(super) const STRIDE: u64 = 1 << 20;
/// What a frame costs besides.
pub(super) const FRAME_COST: u64 = 64;
/// All kept screens together, in bytes; when there are more every other one is let go.
const HELD: usize = 8 << 20;
/// What is further away from a kept screen than this, in bytes, is guessed at first.
const FAR: u64 = 1 << 20;
/// Bytes of the file between two marks, at least.
const MARKS: u64 = 64 << 10;
/// So many marks back a glimpse begins.
const GLIMPSE: usize = 3;
/// The form of what is kept; another one is made anew.
const FORM: u32 = 1;
/// How long a seek waits for its marks before the reader's keys are looked at.
const PATIENCE: Duration = Duration::from_millis(50);
/// Indexes made at once by this process.
const AT_ONCE: usize = 2;

static MAKING: AtomicUsize = AtomicUsize::new(0);

/// A screen as it stood at a head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Key {
    /// Where reading goes on.
    pub(super) head: Head,
    /// The monotonic time of the last frame before it.
    pub(super) at: u64,
    pub(super) still: Still,
}

/// What is kept on disk.
#[derive(Serialize, Deserialize)]
struct Kept {
    form: u32,
    keys: Vec<Key>,
    /// How far it reaches.
    reached: u64,
    whole: bool,
}

/// Where a screen without the help of all that was before can be taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glimpse {
    /// The frame that tells the size.
    pub(super) size: Option<Mark>,
    /// Where output is read from.
    pub(super) from: Mark,
}

/// The index of one recording; it grows while the recording is looked at.
#[derive(Debug, Default)]
pub(super) struct Index {
    inner: Mutex<Inner>,
    marked: Condvar,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    keys: Vec<Key>,
    stride: u64,
    held: usize,
    marks: Vec<Mark>,
    sizes: Vec<Mark>,
    /// Whether more marks come.
    marking: bool,
    /// The time of the last frame, once it is known.
    last: Option<u64>,
    reached: u64,
    whole: bool,
    /// Whether nobody makes more of it.
    done: bool,
}

/// Makes an index for as long as somebody holds this.
pub(super) struct Making(Arc<Index>);

impl Drop for Making {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}

impl Index {
    /// The index of this recording: as it was kept in `dir`, and made on a thread of its own where it is not whole.
    pub(super) fn open(material: &Material, dir: &Path) -> (Arc<Self>, Making) {
        let index = Arc::new(Self::default());
        let making = Making(index.clone());
        if std::fs::metadata(&material.path).is_ok_and(|about| about.len() >= SHORT) {
            let work = Work {
                path: material.path.clone(),
                key: material.key.clone(),
                dir: dir.to_owned(),
                index: index.clone(),
            };
            index.take_up(&work);
            // Without a thread seeks take longer, and nothing else.
            index.lock().marking = true;
            let thread = std::thread::Builder::new().name("replay index".into());
            if thread.spawn(move || work.run()).is_err() {
                index.lock().marking = false;
            }
        }
        (index, making)
    }

    fn take_up(&self, work: &Work) {
        let kept = read_index(&work.dir, &work.path, &work.key)
            .and_then(|content| serde_json::from_slice::<Kept>(&content).ok())
            .filter(|kept| kept.form == FORM);
        let Some(kept) = kept else { return };
        let mut inner = self.lock();
        inner.held = kept.keys.iter().map(|key| key.still.size()).sum();
        (inner.keys, inner.reached, inner.whole) = (kept.keys, kept.reached, kept.whole);
    }

    /// The last kept screen that stands at `at` or before.
    pub(super) fn before(&self, at: u64) -> Option<Key> {
        let inner = self.lock();
        let after = inner.keys.partition_point(|key| key.at <= at);
        inner.keys.get(after.checked_sub(1)?).cloned()
    }

    /// Whether every moment up to `at` is reached from a kept screen near it.
    pub(super) fn covers(&self, at: u64) -> bool {
        let inner = self.lock();
        inner.whole || inner.done || inner.reached >= at
    }

    /// Where the screen of the moment `at` can be guessed from, when that is far beyond byte `known`. Waits a moment for the marks to
    /// come that far: from an earlier one the way would be long.
    pub(super) fn glimpse(&self, at: u64, known: u64) -> Option<Glimpse> {
        let waiting = self.marked.wait_timeout_while(self.lock(), PATIENCE, |inner| !inner.marked(at));
        let (inner, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        if !inner.marked(at) {
            return None;
        }
        let near = inner.marks.partition_point(|mark| mark.at <= at).checked_sub(GLIMPSE)?;
        let from = *inner.marks.get(near)?;
        let size = inner.sizes.partition_point(|mark| mark.offset < from.offset).checked_sub(1);
        let size = size.and_then(|size| inner.sizes.get(size)).copied();
        (from.offset > known.saturating_add(FAR)).then_some(Glimpse { size, from })
    }

    /// The monotonic time of the last frame, once somebody has seen it.
    pub(super) fn last(&self) -> Option<u64> {
        self.lock().last
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// Whether all marks up to the moment `at` are there.
    fn marked(&self, at: u64) -> bool {
        !self.marking || self.marks.last().is_some_and(|mark| mark.at > at)
    }

    fn keep(&mut self, key: Key) {
        self.held += key.still.size();
        self.keys.push(key);
        while self.held > HELD && self.keys.len() > 1 {
            let mut nth = 0;
            self.keys.retain(|_| {
                nth += 1;
                nth % 2 == 0
            });
            self.held = self.keys.iter().map(|key| key.still.size()).sum();
            self.stride = self.stride.saturating_mul(2);
        }
    }
}

/// The making of an index.
struct Work {
    path: PathBuf,
    key: RecordingKey,
    dir: PathBuf,
    index: Arc<Index>,
}

/// One of the places for makers.
struct Turn;

impl Turn {
    fn take(index: &Index) -> Option<Self> {
        while !index.stopped() {
            let taken = MAKING.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |making| {
                (making < AT_ONCE).then_some(making + 1)
            });
            if taken.is_ok() {
                return Some(Self);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        MAKING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// While this lives, more marks may come.
struct Marking<'a>(&'a Index);

impl Drop for Marking<'_> {
    fn drop(&mut self) {
        self.0.lock().marking = false;
        self.0.marked.notify_all();
    }
}

impl Work {
    fn run(self) {
        // What is here is in no hurry: it must not slow a session.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 15);
        let marking = Marking(&self.index);
        let outlined = self.outlined();
        drop(marking);
        if outlined.is_err() || self.index.lock().whole {
            self.index.lock().done = true;
            return;
        }
        let Some(_turn) = Turn::take(&self.index) else { return };
        // A recording that does not read on is told to whoever reads it; here it only ends the index.
        let _ = self.replayed();
        self.index.lock().done = !self.index.stopped();
        self.kept();
    }

    fn outlined(&self) -> Result<(), ReadError> {
        let length = std::fs::metadata(&self.path).map_or(0, |about| about.len());
        let every = MARKS.max(length / 65_536);
        let last = outline(&self.path, every, |spot, mark| {
            let mut inner = self.index.lock();
            match spot {
                Spot::Any => {
                    inner.marks.push(mark);
                    self.index.marked.notify_all();
                }
                Spot::Size => {
                    // Of many in one place the last one counts.
                    if inner.sizes.last().is_some_and(|last| last.offset / every == mark.offset / every) {
                        inner.sizes.pop();
                    }
                    inner.sizes.push(mark);
                }
            }
            !self.index.stopped()
        })?;
        self.index.lock().last = last;
        Ok(())
    }

    fn replayed(&self) -> Result<(), ReadError> {
        let mut reader = Reader::open(&self.path, Some(&self.key))?;
        let from = self.index.lock().keys.last().cloned();
        let kept = from.as_ref().and_then(|key| Some((key.head, Screen::of(&key.still)?)));
        let Some(mut screen) = (match kept {
            Some((head, screen)) => {
                reader.go_to(&head)?;
                Some(screen)
            }
            None => Screen::new(),
        }) else {
            return Ok(());
        };
        self.index.lock().stride = STRIDE;
        let mut cost = 0;
        while let Some(frame) = reader.next() {
            let frame = frame?;
            cost += FRAME_COST;
            match frame.stream {
                Stream::Output | Stream::Stderr => screen.take(frame.stream, &frame.payload),
                _ => {
                    if let Some(size) = size_of(&frame) {
                        screen.resize(size);
                    }
                }
            }
            loop {
                let mut room = STRIDE;
                let done = screen.work(&mut room, &mut ());
                cost += STRIDE - room;
                if self.index.stopped() {
                    return Ok(());
                }
                if done {
                    break;
                }
            }
            let at = frame.stamp.monotonic_ns;
            let mut inner = self.index.lock();
            if cost >= inner.stride
                && let Some(still) = screen.still()
            {
                inner.keep(Key { head: reader.head(), at, still });
                cost = 0;
            }
            inner.reached = at;
        }
        let ended = reader.rest()?.ended;
        self.index.lock().whole = ended;
        Ok(())
    }

    /// Kept for the next one who looks; a failure costs them time and nothing else.
    fn kept(&self) {
        let content = {
            let inner = self.index.lock();
            let kept =
                Kept { form: FORM, keys: inner.keys.clone(), reached: inner.reached, whole: inner.whole };
            serde_json::to_vec(&kept)
        };
        let Ok(content) = content else { return };
        let _ = std::fs::DirBuilder::new().mode(0o700).create(&self.dir);
        if let Err(why) = write_index(&self.dir, &self.path, &self.key, &content) {
            tracing::debug!(%why, "the index of a recording was not kept");
        }
    }
}

#[cfg(test)]
mod tests;
