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
    fn the_machine_clock_moves_forward() {
        let clock = System::start();
        let first = clock.monotonic();
        assert!(clock.monotonic() >= first);
        assert!(clock.unix_ms() > 1_700_000_000_000);
    }
}
