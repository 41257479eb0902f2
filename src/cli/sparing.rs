//! Warnings of libraries, sparingly: so many in ten seconds are written, and the rest is counted.
//! Never keeps back one of ours, nor what somebody asked for who looks for a fault. A library warns of what a peer sends, so
//! a peer decides how often.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{Event, Level, Metadata};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

use crate::meters;

/// How many in which time.
const LINES: u32 = 20;
const TIME: Duration = Duration::from_secs(10);
/// What the bridge from `log` calls all that comes over it: the SSH library speaks so.
const BRIDGE: &str = "log";

/// Lets a bounded number of warnings of libraries through.
#[derive(Debug, Default)]
pub(super) struct Sparing(Mutex<Option<Written>>);

/// What was written in the time that began then.
#[derive(Debug, Clone, Copy)]
struct Written {
    since: Instant,
    lines: u32,
}

impl Sparing {
    fn lets(&self, now: Instant) -> bool {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = written.filter(|written| now.saturating_duration_since(written.since) < TIME);
        let Written { since, lines } = current.unwrap_or(Written { since: now, lines: 0 });
        *written = Some(Written { since, lines: lines.saturating_add(1) });
        lines < LINES
    }
}

impl<S> Filter<S> for Sparing {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    /// Without it the SSH library would make its many words of a packet, for none to be written.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let is_warning = metadata.target() == BRIDGE && *metadata.level() <= Level::WARN;
        if !is_warning || self.lets(Instant::now()) {
            return true;
        }
        meters::left_unwritten();
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_let_through_and_after_a_while_as_many_again() {
        let (sparing, begun) = (Sparing::default(), Instant::now());
        let through = |after: Duration| (0..1000).filter(|_| sparing.lets(begun + after)).count();
        assert_eq!(through(Duration::ZERO), LINES as usize);
        assert_eq!(through(TIME / 2), 0);
        assert_eq!(through(TIME), LINES as usize);
        assert_eq!(through(TIME), 0);
    }
}
