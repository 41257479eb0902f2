//! A recording on a screen, at one moment of it: runs on, goes elsewhere, finds text. It blocks; whoever uses it lends it a thread.
//! It never does more than one bite at once, so that whoever waits for it can be listened to in between.

use std::sync::Arc;
use std::time::Duration;

use ledger::recording::{Frame, Head, ReadError, Reader, Stream};

use super::Material;
use super::find::Finder;
use super::index::{FRAME_COST, Glimpse, Index};
use super::reel::size_of;
use super::screen::Screen;
use crate::control::reply::Trouble;

/// What is done at once, in characters written: some twenty milliseconds.
const BITE: u64 = 400_000;

/// A recording being replayed.
pub(super) struct Deck {
    reader: Reader,
    screen: Screen,
    index: Arc<Index>,
    /// Where the frames begin.
    start: Head,
    /// The monotonic time of the first frame.
    origin: u64,
    /// Read, and not on the screen yet.
    ahead: Option<Frame>,
    /// The monotonic time of the last frame on the screen.
    last: u64,
    /// Frames read so far, for whoever counts work.
    pub(super) read: u64,
}

/// Works with a deck where others do not wait for it: a few hostile bytes can be much work. `broken` is said where it is gone.
pub(super) async fn lent<T: Send + 'static>(
    place: &mut Option<Deck>,
    broken: &str,
    work: impl FnOnce(&mut Deck) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Trouble> {
    let mut deck = place.take().ok_or_else(|| Trouble::said(broken))?;
    let (deck, done) = tokio::task::spawn_blocking(move || {
        let done = work(&mut deck);
        (deck, done)
    })
    .await?;
    *place = Some(deck);
    Ok(done?)
}

/// How a bite ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bite {
    /// There is more to do.
    More,
    /// Done: as far as was asked for, or the text was found.
    There,
    /// The recording has no more frames, for now where it is being written.
    Over,
}

impl Deck {
    /// At the beginning of this recording.
    pub(super) fn open(material: &Material, index: Arc<Index>) -> Result<Option<Self>, ReadError> {
        let mut reader = Reader::open(&material.path, Some(&material.key))?;
        let start = reader.head();
        let Some(screen) = Screen::new() else { return Ok(None) };
        let ahead = reader.next().transpose()?;
        let origin = ahead.as_ref().map_or(0, |frame| frame.stamp.monotonic_ns);
        Ok(Some(Self { reader, screen, index, start, origin, ahead, last: origin, read: 0 }))
    }

    /// The screen.
    pub(super) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// The moment of what is on the screen.
    pub(super) fn at(&self) -> Duration {
        self.since(self.last)
    }

    /// When the next frame is due; `None` when there is none.
    pub(super) fn due(&self) -> Option<Duration> {
        self.ahead.as_ref().map(|frame| self.since(frame.stamp.monotonic_ns))
    }

    /// Whether all that was read is on the screen.
    pub(super) fn is_done(&self) -> bool {
        self.screen.is_done()
    }

    /// Whether the screen is what the operator saw, and not what can be told of it without all that was before.
    pub(super) fn is_exact(&self) -> bool {
        self.reader.chained()
    }

    /// Whether an exact screen of this moment can be had now.
    pub(super) fn can_be_exact(&self) -> bool {
        !self.is_exact() && self.index.covers(self.last)
    }

    /// How long the recording is, when that is known already.
    pub(super) fn length(&self) -> Option<Duration> {
        let sealed = || self.reader.end().ok().flatten().map(|stamp| stamp.monotonic_ns);
        self.index.last().or_else(sealed).map(|last| self.since(last))
    }

    /// Whether the recording has its end, and reading has come to it.
    pub(super) fn has_ended(&self) -> bool {
        self.ahead.is_none() && self.reader.rest().is_ok_and(|rest| rest.ended)
    }

    /// One bite of the way to `to`: all frames up to that moment.
    pub(super) fn run(&mut self, to: Duration) -> Result<Bite, ReadError> {
        let mut room = BITE;
        loop {
            if !self.screen.work(&mut room, &mut ()) {
                return Ok(Bite::More);
            }
            let Some(due) = self.peek()? else { return Ok(Bite::Over) };
            if due > to {
                return Ok(Bite::There);
            }
            if room < FRAME_COST {
                return Ok(Bite::More);
            }
            room -= FRAME_COST;
            self.take();
        }
    }

    /// One bite of the way to the next place where more of the text is on the screen, but not past `until`.
    pub(super) fn find(&mut self, finder: &mut Finder, until: Option<Duration>) -> Result<Bite, ReadError> {
        let mut room = BITE;
        loop {
            if !self.screen.work(&mut room, finder) {
                return Ok(Bite::More);
            }
            let due = self.peek()?.filter(|due| until.is_none_or(|until| *due < until));
            if due.is_none_or(|due| finder.is_time(due)) && finder.looks(&self.screen) {
                return Ok(Bite::There);
            }
            let Some(due) = due else { return Ok(Bite::Over) };
            if room < FRAME_COST {
                return Ok(Bite::More);
            }
            room -= FRAME_COST;
            finder.waits_from(due);
            self.take();
        }
    }

    /// Goes near `to`, so that a few bites of [`Self::run`] are left. Where no screen is kept near it the one that comes is a guess.
    pub(super) fn seek(&mut self, to: Duration) -> Result<(), ReadError> {
        let at = self.origin.saturating_add(u64::try_from(to.as_nanos()).unwrap_or(u64::MAX));
        let key = self.index.before(at);
        let known = key.as_ref().map_or(self.start.bytes, |key| key.head.bytes);
        let here = self.reader.head().bytes;
        let onward = self.is_exact() && self.last <= at && here >= known;
        let known = if onward { here } else { known };
        if !self.index.covers(at)
            && let Some(glimpse) = self.index.glimpse(at, known)
        {
            return self.glimpse(glimpse);
        }
        if onward { Ok(()) } else { self.restore(key) }
    }

    /// Goes to the kept screen before `before`, or to the beginning; the moment it stands at.
    pub(super) fn back_before(&mut self, before: Duration) -> Result<Duration, ReadError> {
        let at = self.origin.saturating_add(u64::try_from(before.as_nanos()).unwrap_or(u64::MAX));
        let key = at.checked_sub(1).and_then(|at| self.index.before(at));
        self.restore(key)?;
        Ok(self.at())
    }

    fn restore(&mut self, key: Option<super::index::Key>) -> Result<(), ReadError> {
        let kept = key.and_then(|key| Some((key.head, key.at, Screen::of(&key.still)?)));
        let (head, at, screen) = match kept {
            Some((head, at, screen)) => (head, at, Some(screen)),
            None => (self.start, self.origin, Screen::new()),
        };
        self.reader.go_to(&head)?;
        (self.ahead, self.last) = (None, at);
        if let Some(screen) = screen {
            self.screen = screen;
        }
        Ok(())
    }

    fn glimpse(&mut self, Glimpse { size, from }: Glimpse) -> Result<(), ReadError> {
        if let Some(screen) = Screen::new() {
            self.screen = screen;
        }
        if let Some(size) = size {
            self.reader.glimpse(&size)?;
            self.ahead = self.reader.next().transpose()?;
            self.take();
        }
        self.reader.glimpse(&from)?;
        (self.ahead, self.last) = (None, from.at);
        Ok(())
    }

    fn since(&self, at: u64) -> Duration {
        Duration::from_nanos(at.saturating_sub(self.origin))
    }

    fn peek(&mut self) -> Result<Option<Duration>, ReadError> {
        if self.ahead.is_none() {
            self.ahead = self.reader.next().transpose()?;
            self.read += u64::from(self.ahead.is_some());
        }
        Ok(self.due())
    }

    fn take(&mut self) {
        let Some(frame) = self.ahead.take() else { return };
        self.last = frame.stamp.monotonic_ns;
        if let Some(size) = size_of(&frame) {
            self.screen.resize(size);
        } else if matches!(frame.stream, Stream::Output | Stream::Stderr) {
            self.screen.take(frame.stream, &frame.payload);
        }
    }
}
