//! What a client has sent on one channel and the program has not taken yet: data in order, size and signals beside it.
//! It never grows past its budget plus the window that was already given.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use rustix::process::Signal;
use tokio::sync::Notify;

use crate::WINDOW;

/// Bytes kept before the client's window is closed to a trickle.
const BUDGET: usize = 1 << 20;
/// What an honest client can reach: the budget, the window that was given before it was met, and one more in flight.
const LIMIT: usize = BUDGET + 2 * WINDOW as usize;
/// Packets smaller than this are put together.
const SMALL: usize = 4 << 10;
const CHUNK: usize = 32 << 10;
/// Signals a program has not received yet; more are dropped.
const MAX_SIGNALS: usize = 32;
/// The window of a channel over its budget. One would be irreversible in russh: half of it is nothing.
pub(crate) const TRICKLE: u32 = 2;

/// A message for the program that overtakes its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Control {
    Resize(Size),
    Signal(Signal),
}

/// Columns, rows and their pixels (RFC 4254 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: u32,
    pub(crate) rows: u32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

#[derive(Default)]
struct Waiting {
    data: VecDeque<BytesMut>,
    queued: usize,
    ended: bool,
    resize: Option<Size>,
    signals: VecDeque<Signal>,
}

/// Filled by the protocol's callbacks, emptied by the channel's task.
#[derive(Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    data_came: Notify,
    control_came: Notify,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps input for the program; input after the end is dropped (RFC 4254 section 5.3). False when the client has
    /// sent far more than it was given room for: russh delivers that all the same.
    #[must_use]
    pub(crate) fn data(&self, bytes: &[u8]) -> bool {
        let mut waiting = self.lock();
        if waiting.ended || bytes.is_empty() {
            return true;
        }
        if waiting.queued + bytes.len() > LIMIT {
            return false;
        }
        waiting.queued += bytes.len();
        match waiting.data.back_mut() {
            Some(last) if bytes.len() < SMALL && last.len() + bytes.len() <= CHUNK => {
                last.extend_from_slice(bytes);
            }
            _ => waiting.data.push_back(BytesMut::from(bytes)),
        }
        self.data_came.notify_one();
        true
    }

    /// No more input will come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.data_came.notify_one();
    }

    /// Only the latest size matters.
    pub(crate) fn resize(&self, size: Size) {
        self.lock().resize = Some(size);
        self.control_came.notify_one();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let mut waiting = self.lock();
        if waiting.signals.len() < MAX_SIGNALS {
            waiting.signals.push_back(signal);
        }
        self.control_came.notify_one();
    }

    /// The window to give next, so that what is kept stays near the budget.
    pub(crate) fn window(&self) -> u32 {
        let queued = self.lock().queued;
        if queued >= BUDGET { TRICKLE } else { WINDOW }
    }

    /// The next input, `None` at its end. Cancel safe; one caller.
    pub(crate) async fn next(&self) -> Option<BytesMut> {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(bytes) = waiting.data.pop_front() {
                    waiting.queued -= bytes.len();
                    return Some(bytes);
                }
                if waiting.ended {
                    return None;
                }
            }
            self.data_came.notified().await;
        }
    }

    /// The next size or signal. Cancel safe; one caller.
    pub(crate) async fn control(&self) -> Control {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(signal) = waiting.signals.pop_front() {
                    return Control::Signal(signal);
                }
                if let Some(size) = waiting.resize.take() {
                    return Control::Resize(size);
                }
            }
            self.control_came.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn input_arrives_whole_and_in_order_and_then_ends() {
        let inbox = Inbox::default();
        for part in [&b"one "[..], b"two ", &[b'x'; SMALL], b"!"] {
            assert!(inbox.data(part));
        }
        inbox.end();
        assert!(inbox.data(b"too late"));
        let mut got = Vec::new();
        while let Some(bytes) = inbox.next().await {
            got.extend_from_slice(&bytes);
        }
        assert_eq!(got, [&b"one two "[..], &[b'x'; SMALL], b"!"].concat());
    }

    #[tokio::test]
    async fn the_window_closes_to_a_trickle_over_the_budget_and_opens_again() {
        let inbox = Inbox::default();
        assert!(inbox.data(&vec![0; BUDGET]));
        assert_eq!(inbox.window(), TRICKLE);
        inbox.next().await;
        assert_eq!(inbox.window(), WINDOW);
    }

    #[test]
    fn a_client_that_ignores_its_window_is_noticed() {
        let inbox = Inbox::default();
        assert!(inbox.data(&vec![0; LIMIT]));
        assert!(!inbox.data(b"x"));
    }

    #[tokio::test]
    async fn signals_overtake_input_and_are_bounded() {
        let inbox = Inbox::default();
        assert!(inbox.data(b"unread"));
        for _ in 0..1000 {
            inbox.signal(Signal::INT);
        }
        assert_eq!(inbox.control().await, Control::Signal(Signal::INT));
        assert!(inbox.lock().signals.len() < MAX_SIGNALS);
    }
}
