//! The one place that reads the time, behind a trait so that everything else takes it as an argument.
//! It never sleeps, never waits and knows no time zone.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Where the time comes from: the wall for people and certificates, the monotonic for spans.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock. It may jump either way; nothing may rest on it only going forward.
    fn now(&self) -> Timestamp;

    /// Time since this clock was made. It never goes back and knows no date.
    fn monotonic(&self) -> Duration;

    /// The wall clock as the store keeps it: milliseconds since 1970-01-01 UTC.
    fn unix_ms(&self) -> i64 {
        self.now().as_millisecond()
    }
}

/// The machine's own clocks.
#[derive(Debug)]
pub struct System {
    made: Instant,
}

impl System {
    /// A clock whose monotonic side starts at zero here.
    #[must_use]
    pub fn start() -> Self {
        Self { made: Instant::now() }
    }
}

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that all others are told to take")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.made.elapsed()
    }
}

/// What the wall clock may differ from the other clock between two looks without having jumped: a leap second, and a moment
/// between reading the one and the other.
const STEADY: Duration = Duration::from_secs(2);

/// Tells a wall clock that jumped from time that passed.
#[derive(Debug)]
pub struct Watch {
    wall: Timestamp,
    monotonic: Duration,
}

/// The wall clock jumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// What it would show if it had not.
    pub expected: Timestamp,
    /// How far it went, in milliseconds; less than zero is back.
    pub by_ms: i64,
}

impl Watch {
    /// Begins to watch here.
    #[must_use]
    pub fn begin(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), monotonic: clock.monotonic() }
    }

    /// How much time passed since the last look; `None` when the wall clock jumped meanwhile, so that what was made for a span of
    /// its time may be over.
    pub fn steady(&self, clock: &dyn Clock) -> Option<Duration> {
        let mut look = Self { wall: self.wall, monotonic: self.monotonic };
        let jumped = look.look(clock).is_some();
        (!jumped).then(|| look.monotonic.saturating_sub(self.monotonic))
    }

    /// Looks at both clocks, and says whether the wall clock jumped since the last look.
    pub fn look(&mut self, clock: &dyn Clock) -> Option<Jump> {
        let now = Self::begin(clock);
        let passed = now.monotonic.saturating_sub(self.monotonic);
        let expected = self.wall.checked_add(passed).unwrap_or(Timestamp::MAX);
        *self = now;
        jump(expected, self.wall)
    }
}

/// How far `now` is from what the clock was to show, when that is further than a steady clock strays.
#[must_use]
pub fn jump(expected: Timestamp, now: Timestamp) -> Option<Jump> {
    let by_ms = now.as_millisecond().saturating_sub(expected.as_millisecond());
    (u128::from(by_ms.unsigned_abs()) > STEADY.as_millis()).then_some(Jump { expected, by_ms })
}

/// A clock that stands still until it is moved, for the tests of this crate.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Manual {
    hands: std::sync::Mutex<(Timestamp, Duration)>,
}

#[cfg(test)]
impl Manual {
    /// Stands at this second since 1970-01-01 UTC.
    pub(crate) fn at(second: i64) -> Self {
        let wall = Timestamp::from_second(second).unwrap();
        Self { hands: std::sync::Mutex::new((wall, Duration::ZERO)) }
    }

    /// Lets time pass on both sides.
    pub(crate) fn pass(&self, span: Duration) {
        let mut hands = self.hands.lock().unwrap();
        hands.0 += span;
        hands.1 += span;
    }

    /// Sets the wall clock back, as a bad time server or an administrator would.
    pub(crate) fn set_back(&self, span: Duration) {
        self.hands.lock().unwrap().0 -= span;
    }
}

#[cfg(test)]
impl Clock for Manual {
    fn now(&self) -> Timestamp {
        self.hands.lock().unwrap().0
    }

    fn monotonic(&self) -> Duration {
        self.hands.lock().unwrap().1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_leaves_the_monotonic_side_alone() {
        let clock = Manual::at(1_000_000);
        clock.pass(Duration::from_secs(60));
        clock.set_back(Duration::from_secs(3600));
        assert_eq!(clock.monotonic(), Duration::from_secs(60));
        assert_eq!(clock.unix_ms(), (1_000_000 + 60 - 3600) * 1000);
    }

    #[test]
    fn a_jump_is_told_once_either_way_and_time_that_passes_is_none() {
        let clock = Manual::at(1_000_000);
        let mut watch = Watch::begin(&clock);
        clock.pass(Duration::from_secs(86_400));
        assert_eq!(watch.look(&clock), None);
        clock.pass(Duration::from_secs(5));
        assert_eq!(watch.steady(&clock), Some(Duration::from_secs(5)));
        clock.set_back(Duration::from_secs(3600));
        assert_eq!(watch.steady(&clock), None);
        let expected = Timestamp::from_second(1_086_405).unwrap();
        assert_eq!(watch.look(&clock), Some(Jump { expected, by_ms: -3_600_000 }));
        assert_eq!(watch.look(&clock), None);
        clock.set_back(Duration::from_secs(2));
        assert_eq!(watch.look(&clock), None, "within what a steady clock may stray");
        let now = Timestamp::from_second(31_536_000).unwrap();
        assert_eq!(jump(Timestamp::UNIX_EPOCH, now).unwrap().by_ms, 31_536_000_000);
    }

    #[test]
    fn the_machine_clock_moves_forward() {
        let clock = System::start();
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
        assert!(clock.unix_ms() > 1_700_000_000_000);
    }
}
