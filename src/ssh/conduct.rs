//! What a connection may ask for, once nobody can see inside its packets but russh: budgets, and what happens beyond them.
//! Never looks at content: it counts packets that the stream hands on, and which of them the handler had a use for.
//!
//! russh shows the handler data, requests and channels. What it deals with by itself (ignore and debug messages, global
//! requests, pings, key exchanges, messages for channels that are closed) it shows to nobody. But each packet passes
//! through our stream. So a packet after which the handler has said that it was of use is free, and every other one is
//! taken from an allowance that fills up with time and with the bytes that are really carried.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::counts::Dropped;
use crate::clock::Clock;

/// Packets without use that may come at once, and in each second.
const NOISE: Allowance = Allowance { burst: 1024, each_second: 10 };
/// Carried bytes that earn one packet: a client that exchanges keys every mebibyte needs three.
const EARNS: u64 = 256 << 10;
/// What an opened channel earns: its requests, its end, and what is under way to it when it is closed.
const CHANNEL_EARNS: u64 = 128;
/// One packet that says that the client has read is of use for so many bytes written, and for how many at most.
const READS: u64 = 16 << 10;
const UNREAD: u64 = 64 << 20;
/// Channels that may be opened at once, and in each second.
const OPENS: Allowance = Allowance { burst: 512, each_second: 50 };
/// Channels of one connection, ever: each leaves some kilobytes in russh until the connection ends.
const CHANNELS: u32 = 10_000;

/// The connection asks for more than one may: it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Excess;

/// How much may come at once, and how fast that fills up again.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    burst: u64,
    each_second: u64,
}

/// What is left of an allowance. In thousandths, so that no part of a second is lost.
#[derive(Debug)]
struct Left {
    of: Allowance,
    thousandths: u64,
    at: Duration,
}

impl Left {
    fn new(of: Allowance, now: Duration) -> Self {
        Self { of, thousandths: of.burst * 1000, at: now }
    }

    fn take(&mut self, now: Duration) -> bool {
        let passed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(u64::MAX);
        self.at = now.max(self.at);
        self.fill(passed.saturating_mul(self.of.each_second));
        let less = self.thousandths.checked_sub(1000);
        self.thousandths = less.unwrap_or(self.thousandths);
        less.is_some()
    }

    fn fill(&mut self, thousandths: u64) {
        self.thousandths = self.thousandths.saturating_add(thousandths).min(self.of.burst * 1000);
    }
}

#[derive(Debug)]
struct Budgets {
    noise: Left,
    opens: Left,
    opened: u32,
    /// Carried bytes that have not earned anything yet.
    carried: u64,
}

/// What one connection has left, shared by its stream and its handler.
#[derive(Debug)]
pub(super) struct Conduct {
    clock: Arc<dyn Clock>,
    budgets: Mutex<Budgets>,
    /// The handler had a use for the packet that is being dealt with.
    useful: AtomicBool,
    /// Bytes written since the client last said that it had read some.
    unread: AtomicU64,
    /// A write waits for the client to read.
    blocked: AtomicBool,
    ended: OnceLock<Dropped>,
}

impl Conduct {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let now = clock.monotonic();
        let budgets =
            Budgets { noise: Left::new(NOISE, now), opens: Left::new(OPENS, now), opened: 0, carried: 0 };
        Self {
            clock,
            budgets: Mutex::new(budgets),
            useful: AtomicBool::new(false),
            unread: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
            ended: OnceLock::new(),
        }
    }

    /// A packet has been dealt with.
    pub(super) fn packet(&self) -> Result<(), Excess> {
        if self.useful.swap(false, Ordering::Relaxed) {
            return Ok(());
        }
        let now = self.clock.monotonic();
        if self.lock().noise.take(now) {
            return Ok(());
        }
        self.end(Dropped::Excess);
        Err(Excess)
    }

    /// The packet that is being dealt with bears `bytes` of data.
    pub(super) fn data(&self, bytes: usize) {
        if bytes > 0 {
            self.useful.store(true, Ordering::Relaxed);
            self.carried(bytes);
        }
    }

    /// The packet that is being dealt with says that the client has read: of use only after something was written.
    pub(super) fn read(&self) {
        if self.unread.load(Ordering::Relaxed) > 0 {
            self.useful.store(true, Ordering::Relaxed);
            self.change_unread(|unread| unread.saturating_sub(READS));
        }
    }

    /// So many bytes went out.
    pub(super) fn wrote(&self, bytes: usize) {
        let more = u64::try_from(bytes).unwrap_or(UNREAD);
        self.change_unread(|unread| unread.saturating_add(more).min(UNREAD));
        self.carried(bytes);
    }

    fn change_unread(&self, change: impl Fn(u64) -> u64) {
        let _ = self.unread.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |unread| Some(change(unread)));
    }

    /// Whether one more channel may be opened.
    pub(super) fn opens(&self) -> bool {
        let now = self.clock.monotonic();
        let mut budgets = self.lock();
        let may = budgets.opened < CHANNELS && budgets.opens.take(now);
        if may {
            budgets.opened += 1;
            budgets.noise.fill(CHANNEL_EARNS * 1000);
            self.useful.store(true, Ordering::Relaxed);
        }
        may
    }

    /// The client refuses a channel that it was asked to take: an answer, not noise.
    pub(super) fn refuses(&self) {
        self.lock().noise.fill(1000);
    }

    /// The connection ends for what it did. The first reason given stands.
    pub(super) fn end(&self, why: Dropped) {
        let _ = self.ended.set(why);
    }

    /// Why it ends, once it does.
    pub(super) fn ended(&self) -> Option<Dropped> {
        self.ended.get().copied()
    }

    /// Whether a write waits for the client.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    pub(super) fn set_blocked(&self, blocked: bool) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }

    fn carried(&self, bytes: usize) {
        let mut budgets = self.lock();
        budgets.carried += u64::try_from(bytes).unwrap_or(0);
        let earned = budgets.carried / EARNS;
        if earned > 0 {
            budgets.carried %= EARNS;
            budgets.noise.fill(earned * 1000);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds the packets in the reads that russh makes: it asks for a head of four or sixteen bytes, then for the rest of the
/// packet and nothing more (its `cipher::read`; `integration-tests/tests/door/` holds it to that).
#[derive(Debug, Default)]
pub(super) struct Packets {
    /// Bytes still wanted by the read that is going on.
    wanted: usize,
    /// Whether any packet has come.
    begun: bool,
}

/// A read of no more than this begins a packet.
const HEAD: usize = 16;

impl Packets {
    /// A read of `wanted` bytes is asked for; whether a packet begins with it, so that the one before is done with.
    pub(super) fn asked(&mut self, wanted: usize) -> bool {
        let new = self.wanted != wanted && wanted <= HEAD;
        self.wanted = wanted;
        new && std::mem::replace(&mut self.begun, true)
    }

    /// So many bytes were given.
    pub(super) fn given(&mut self, bytes: usize) {
        self.wanted = self.wanted.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Manual;

    fn conduct() -> (Arc<Manual>, Conduct) {
        let clock = Arc::new(Manual::at(1000));
        (clock.clone(), Conduct::new(clock))
    }

    #[test]
    fn noise_is_allowed_for_a_while_and_fills_up_again() {
        let (clock, conduct) = conduct();
        for _ in 0..NOISE.burst {
            conduct.packet().unwrap();
        }
        assert_eq!(conduct.packet(), Err(Excess));
        assert_eq!(conduct.ended(), Some(Dropped::Excess));
        clock.pass(Duration::from_secs(1));
        for _ in 0..NOISE.each_second {
            conduct.packet().unwrap();
        }
        assert_eq!(conduct.packet(), Err(Excess));
    }

    #[test]
    fn what_is_carried_is_free_and_earns_what_keys_cost() {
        let (_, conduct) = conduct();
        for _ in 0..100_000 {
            conduct.data(32 << 10);
            conduct.packet().unwrap();
        }
        // Keys every mebibyte, for ever: three packets each.
        for _ in 0..2_000 {
            for _ in 0..32 {
                conduct.data(32 << 10);
                conduct.packet().unwrap();
            }
            for _ in 0..3 {
                conduct.packet().unwrap();
            }
        }
    }

    #[test]
    fn an_empty_packet_and_a_window_for_nothing_are_noise() {
        let (_, conduct) = conduct();
        for _ in 0..NOISE.burst / 2 {
            conduct.data(0);
            conduct.packet().unwrap();
            conduct.read();
            conduct.packet().unwrap();
        }
        assert_eq!(conduct.packet(), Err(Excess));
        conduct.wrote(1);
        conduct.read();
        conduct.packet().unwrap();
    }

    #[test]
    fn channels_are_counted_by_the_second_and_in_all() {
        let (clock, conduct) = conduct();
        let at_once = (0..2000).filter(|_| conduct.opens()).count();
        assert_eq!(at_once as u64, OPENS.burst);
        let mut all = at_once;
        for _ in 0..1000 {
            clock.pass(Duration::from_secs(1));
            all += (0..100).filter(|_| conduct.opens()).count();
        }
        assert_eq!(all, CHANNELS as usize);
    }

    proptest! {
        /// As russh reads: a head, then the rest, each in whatever pieces the socket gives.
        #[test]
        fn every_packet_is_found_whatever_pieces_it_comes_in(
            packets in prop::collection::vec((prop_oneof![Just(4_usize), Just(16)], 17..5000_usize), 1..40),
            pieces in prop::collection::vec(1..2000_usize, 1..20),
        ) {
            let (mut reader, mut found, mut piece) = (Packets::default(), 0, 0);
            for &(head, body) in &packets {
                for read in [head, body] {
                    let mut wanted = read;
                    while wanted > 0 {
                        found += usize::from(reader.asked(wanted));
                        let given = pieces[piece % pieces.len()].min(wanted);
                        piece += 1;
                        reader.given(given);
                        wanted -= given;
                    }
                }
            }
            found += usize::from(reader.asked(4));
            prop_assert_eq!(found, packets.len());
        }
    }
}
