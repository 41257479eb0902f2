//! Flow control of the operator's leg: how much window each channel is given, so that memory stays bounded and one
//! stalled channel never freezes another. Never holds data: it only counts what the inlets hold.
//!
//! russh grants window when data arrives and asks here for the target of the *next* grant of *any* channel. So a
//! stalled channel is kept at two bytes at a time ([`TRICKLE`]: control messages still flow, and the next tiny packet
//! restores the window), and while its last tiny grant lies unsent in the stream ([`super::stream`] holds it back) it
//! cannot speak, so the next grant must be a sibling's: [`AIMED`] bytes are set for it, then two again. A channel that was
//! only faster than its target is let go as soon as its inlet has drained to [`DRAINED`], before it runs dry.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;
use russh::ChannelId;

use super::inlet::Inlet;

/// A channel's full window, in bytes: 2 MiB cost 1.7 times on a 40 ms link.
pub(super) const WINDOW: u32 = 4 << 20;
/// Bytes a channel may have queued before it is slowed.
const BUDGET: usize = 2 << 20;
/// What a slowed channel has left when its grant need not be held back any more: enough for the two round trips until data comes.
pub(super) const DRAINED: usize = BUDGET / 2;
/// Less room than this is not worth a grant.
const WORTHWHILE: usize = 4096;
/// The window of a stalled channel. One would be irreversible, zero is ignored by russh.
const TRICKLE: u32 = 2;
/// The window aimed at a sibling of a stalled channel. It takes two round trips to aim: with less, an upload beside a stalled one
/// falls to a fifth of its speed on a 40 ms link.
const AIMED: u32 = 2 << 20;
/// What a stalled channel may be given by mistakes of aim, beyond its budget.
const MISTAKES: i64 = 8 << 20;
/// Unanswered requests of a sibling for window after which aiming is tried though the moment is not sure.
const PATIENCE: u32 = 4;

/// The last grant, as the stream needs to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    Nothing,
    /// To a stalled channel: the write that bears it is to be held back a little.
    ToStalled,
    ToHealthy,
}

/// What the stream and the window share about one connection.
#[derive(Debug, Default)]
pub(super) struct Pace {
    granted: AtomicU8,
    aimed: AtomicBool,
    /// Counts the moments at which everything held back has gone out.
    epoch: AtomicU64,
    /// A channel whose grant was held back has drained.
    drained: AtomicBool,
    /// Who holds grants back.
    holder: AtomicWaker,
}

impl Pace {
    /// What was granted since the last call.
    pub(super) fn take_granted(&self) -> Granted {
        match self.granted.swap(0, Ordering::Relaxed) {
            1 => Granted::ToStalled,
            2 => Granted::ToHealthy,
            _ => Granted::Nothing,
        }
    }

    /// Whether the next grant is aimed at a sibling of a stalled channel.
    pub(super) fn aimed(&self) -> bool {
        self.aimed.load(Ordering::Relaxed)
    }

    /// Everything that was granted has gone out.
    pub(super) fn sent(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Something is held back: `waker` is called once it need not be.
    pub(super) fn holds(&self, waker: &Waker) {
        self.holder.register(waker);
    }

    /// A channel whose grant was held back has drained.
    pub(super) fn drained(&self) {
        self.drained.store(true, Ordering::Release);
        self.holder.wake();
    }

    /// Whether what is held back may go; once.
    pub(super) fn take_drained(&self) -> bool {
        self.drained.swap(false, Ordering::AcqRel)
    }
}

/// What is known of one channel's window.
#[derive(Debug)]
struct Window {
    inlet: Arc<Inlet>,
    /// Bytes the operator may still send, as russh counts them.
    open: i64,
    /// A grant that russh made for the packet that is about to be delivered.
    regranted: Option<u32>,
    /// The epoch in which a tiny grant was made; it is unsent while the epoch lasts.
    held_in: Option<u64>,
    /// Times a healthy channel was given only a trickle.
    asks: u32,
}

/// The operator sent more than the window allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation;

/// The windows of all channels of one connection.
#[derive(Debug)]
pub(super) struct Windows {
    channels: HashMap<ChannelId, Window>,
    pace: Arc<Pace>,
}

impl Windows {
    pub(super) fn new(pace: Arc<Pace>) -> Self {
        Self { channels: HashMap::new(), pace }
    }

    pub(super) fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    pub(super) fn open(&mut self, channel: ChannelId, inlet: Arc<Inlet>) {
        let window = Window { inlet, open: i64::from(WINDOW), regranted: None, held_in: None, asks: 0 };
        self.channels.insert(channel, window);
    }

    pub(super) fn close(&mut self, channel: ChannelId) {
        self.channels.remove(&channel);
    }

    /// `bytes` have come on `channel`. Mirrors russh's own count, and names those who send more than they may.
    pub(super) fn arrived(&mut self, channel: ChannelId, bytes: usize) -> Result<(), Violation> {
        let Some(window) = self.channels.get_mut(&channel) else { return Ok(()) };
        let bytes = i64::try_from(bytes).map_err(|_| Violation)?;
        if bytes > window.open {
            return Err(Violation);
        }
        window.open -= bytes;
        if let Some(target) = window.regranted.take() {
            window.open = i64::from(target);
        }
        Ok(())
    }

    /// russh has just given `channel` a window of `given` bytes; answers the target of the next grant of any channel.
    pub(super) fn granted(&mut self, channel: ChannelId, given: u32) -> u32 {
        let epoch = self.pace.epoch.load(Ordering::Relaxed);
        let aimed = self.pace.aimed.swap(false, Ordering::Relaxed);
        let mut missed = false;
        let mut to_healthy = true;
        if let Some(window) = self.channels.get_mut(&channel) {
            let stalled = wanted(&window.inlet) == TRICKLE;
            missed = aimed && stalled && given > TRICKLE;
            window.regranted = Some(given);
            if stalled {
                window.inlet.slowed();
                window.held_in = Some(epoch);
                window.asks = 0;
            } else {
                window.asks = if given == TRICKLE { window.asks + 1 } else { 0 };
            }
            to_healthy = !stalled;
            self.pace.granted.store(if stalled { 1 } else { 2 }, Ordering::Relaxed);
        }
        self.next_target(epoch, missed, to_healthy)
    }

    fn next_target(&mut self, epoch: u64, missed: bool, to_healthy: bool) -> u32 {
        let (mut worst, mut asks, mut exhausted, mut silent) = (WINDOW, 0, false, true);
        for window in self.channels.values_mut() {
            if window.inlet.ended() || window.inlet.left() {
                continue;
            }
            let want = wanted(&window.inlet);
            worst = worst.min(want);
            let open = window.regranted.map_or(window.open, i64::from);
            if missed {
                window.asks = 0;
            }
            if want == TRICKLE {
                let queued = i64::try_from(window.inlet.queued()).unwrap_or(i64::MAX);
                exhausted |= queued.saturating_add(open) > BUDGET as i64 + MISTAKES;
                silent &= open > i64::from(TRICKLE) || window.held_in == Some(epoch);
            } else {
                asks = asks.max(window.asks);
            }
        }
        let sibling_starves = worst == TRICKLE && asks > 0 && !exhausted;
        if sibling_starves && ((silent && !to_healthy) || asks > PATIENCE) {
            self.pace.aimed.store(true, Ordering::Relaxed);
            return AIMED;
        }
        worst
    }
}

/// The window a channel should have, given what its inlet holds.
fn wanted(inlet: &Inlet) -> u32 {
    let queued = inlet.queued();
    if queued < BUDGET / 8 {
        return WINDOW;
    }
    let room = BUDGET.saturating_sub(queued);
    if room < WORTHWHILE { TRICKLE } else { u32::try_from(room).unwrap_or(WINDOW).min(WINDOW) }
}

#[cfg(test)]
mod tests {
    use ssh_key::encoding::Decode as _;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[test]
    fn who_sends_more_than_the_window_is_named_whatever_was_granted_before() {
        let channel = ChannelId::decode(&mut &[0, 0, 0, 1][..]).unwrap();
        let window = WINDOW as usize;
        for (first, granted, more, fits) in [
            (window, None, 1, false),
            (window - 1, None, 1, true),
            (window, Some(TRICKLE), 2, true),
            (window, Some(TRICKLE), 3, false),
            (window + 1, None, 0, false),
        ] {
            let mut windows = Windows::new(Arc::default());
            windows.open(channel, Arc::new(Inlet::new(&CancellationToken::new(), Arc::default())));
            if let Some(given) = granted {
                windows.granted(channel, given);
            }
            let all = windows.arrived(channel, first).and_then(|()| windows.arrived(channel, more));
            assert_eq!(all.is_ok(), fits, "{first} {granted:?} {more}");
        }
    }
}
