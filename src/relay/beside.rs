//! Recorded first, then shown, and for much output beside what is carried: while one batch is recorded on a thread that helps, the
//! batch before it is shown and the one after it comes. What little comes is recorded on the spot: a person would feel the hand-over.
//! Never gives out what is not recorded, and never changes the order.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Tap;
use crate::channel::{FromTarget, Source};
use crate::recording::Unrecorded;

/// Output is much after so many pieces of at least this many bytes, one after the other.
const PIECE: usize = 16 << 10;
const PIECES: u32 = 8;
/// Bytes that may have come and wait to be recorded.
const AHEAD: usize = 256 << 10;

/// Threads that may help at once: one core is left to what is carried.
static HELPERS: LazyLock<Semaphore> = LazyLock::new(|| {
    Semaphore::new(std::thread::available_parallelism().map_or(0, |cores| cores.get().saturating_sub(1)))
});

/// What comes from the target, recorded.
pub(super) struct Recorded<'a, S, T> {
    from: &'a mut S,
    tap: &'a Arc<T>,
    /// What has come and is not recorded, and how large it is.
    waiting: Vec<FromTarget>,
    size: usize,
    /// What is being recorded.
    helper: Option<JoinHandle<Done>>,
    /// What is recorded.
    ready: VecDeque<FromTarget>,
    large: u32,
    over: bool,
}

type Done = (Vec<FromTarget>, Result<(), Unrecorded>);

impl<'a, S: Source<Item = FromTarget>, T: Tap + 'static> Recorded<'a, S, T> {
    pub(super) fn new(from: &'a mut S, tap: &'a Arc<T>) -> Self {
        let (waiting, ready) = (Vec::new(), VecDeque::new());
        Self { from, tap, waiting, size: 0, helper: None, ready, large: 0, over: false }
    }

    /// The next message, recorded; `None` when the target is gone. Cancel-safe.
    ///
    /// # Errors
    /// It could not be recorded, so it must not be shown, and nothing after it.
    pub(super) async fn next(&mut self) -> Result<Option<FromTarget>, Unrecorded> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(Some(message));
            }
            if self.over && self.helper.is_none() {
                return Ok(None);
            }
            tokio::select! {
                biased;
                done = recorded(&mut self.helper) => {
                    self.helper = None;
                    let (messages, recorded) = done?;
                    recorded?;
                    self.ready = messages.into();
                    self.hand_over()?;
                }
                message = self.from.next(), if !self.over && self.size < AHEAD => match message {
                    Some(message) => self.take(message)?,
                    None => self.over = true,
                }
            }
        }
    }

    /// Says that so many bytes were carried.
    pub(super) fn settle(&self, size: usize) {
        self.from.settle(size);
    }

    fn take(&mut self, message: FromTarget) -> Result<(), Unrecorded> {
        self.large = if message.size() < PIECE { 0 } else { self.large.saturating_add(1) };
        self.size += message.size();
        self.waiting.push(message);
        if self.helper.is_none() { self.hand_over() } else { Ok(()) }
    }

    /// Has recorded what waits: by a helper when it is much and one is free, else here.
    fn hand_over(&mut self) -> Result<(), Unrecorded> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (messages, tap) = (std::mem::take(&mut self.waiting), self.tap.clone());
        self.size = 0;
        if self.large >= PIECES
            && let Ok(turn) = HELPERS.try_acquire()
        {
            self.helper = Some(spawn_blocking(move || record(tap.as_ref(), messages, turn)));
            return Ok(());
        }
        messages.iter().try_for_each(|message| tap.shown(message))?;
        self.ready.extend(messages);
        Ok(())
    }
}

fn record(tap: &impl Tap, messages: Vec<FromTarget>, _turn: SemaphorePermit<'static>) -> Done {
    let recorded = messages.iter().try_for_each(|message| tap.shown(message));
    (messages, recorded)
}

/// What the helper has done; never, where there is none.
async fn recorded(helper: &mut Option<JoinHandle<Done>>) -> Result<Done, Unrecorded> {
    match helper {
        Some(helper) => helper.await.map_err(|why| Unrecorded::new(why.to_string())),
        None => std::future::pending().await,
    }
}
