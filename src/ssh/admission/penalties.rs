//! What a source has to wait for what it did: a table of times, like OpenSSH's `PerSourcePenalties`.
//! Never knows a clock, never holds more than [`SOURCES`] sources, and never makes anybody wait longer than [`LONGEST`].

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::{Footing, Source};

/// Sources that are remembered. When there are more, those whose time is over soonest are forgotten.
pub(super) const SOURCES: usize = 16_384;
/// Penalties up to this much are only added up: a mistyped code costs nobody anything.
const LENIENT: Duration = Duration::from_secs(15);
/// The longest that anybody waits.
pub(super) const LONGEST: Duration = Duration::from_secs(600);
/// The longest that a source waits from which somebody has logged in lately: others sit behind the same address.
pub(super) const LONGEST_FOR_KNOWN: Duration = Duration::from_secs(60);
/// How long a login speaks for its source.
const KNOWN: Duration = Duration::from_secs(3600);

/// What a connection did before it was gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ssh) enum Offence {
    /// The login was refused.
    Failed,
    /// It never tried to log in, or left in the middle.
    NoLogin,
    /// The login took longer than `[ssh] login_grace`.
    Overdue,
    /// It said what no client says.
    Protocol,
    /// It made a part of the server fail.
    Crash,
}

impl Offence {
    fn weight(self) -> Duration {
        Duration::from_secs(match self {
            Self::Failed => 5,
            Self::NoLogin => 1,
            Self::Overdue => 20,
            Self::Protocol => 10,
            Self::Crash => 90,
        })
    }

    /// As counters name it.
    pub(in crate::ssh) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed_login",
            Self::NoLogin => "no_login",
            Self::Overdue => "grace_exceeded",
            Self::Protocol => "protocol",
            Self::Crash => "crash",
        }
    }
}

/// What is known of all sources. Times are spans since the same moment.
#[derive(Debug, Default)]
pub(in crate::ssh) struct Penalties {
    sources: HashMap<Source, Record>,
    by_end: BTreeSet<(Duration, Source)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Record {
    /// When all penalties are over.
    until: Duration,
    /// Whether there were enough of them to take effect, until they are over.
    active: bool,
    /// Until when a login speaks for this source.
    known: Duration,
}

impl Record {
    /// When there is nothing more to remember.
    fn end(&self) -> Duration {
        self.until.max(self.known)
    }
}

impl Penalties {
    /// Whether a connection from this source is to be closed at once.
    pub(in crate::ssh) fn bars(&self, source: Source, now: Duration) -> bool {
        self.sources.get(&source).is_some_and(|record| record.active && record.until > now)
    }

    /// Whether somebody has logged in from this source lately.
    pub(in crate::ssh) fn footing(&self, source: Source, now: Duration) -> Footing {
        match self.sources.get(&source) {
            Some(record) if record.known > now => Footing::Familiar,
            _ => Footing::Stranger,
        }
    }

    /// Adds what a connection of this source did.
    pub(in crate::ssh) fn add(&mut self, source: Source, offence: Offence, now: Duration) {
        let mut record = self.record(source, now);
        let longest = if record.known > now { LONGEST_FOR_KNOWN } else { LONGEST };
        record.active &= record.until > now;
        record.until = (record.until.max(now) + offence.weight()).min(now + longest).max(record.until);
        record.active |= record.until.saturating_sub(now) >= LENIENT;
        self.keep(source, record, now);
    }

    /// Somebody has logged in from this source: what others did there counts for less, now and for a while.
    pub(in crate::ssh) fn vouch(&mut self, source: Source, now: Duration) {
        let mut record = self.record(source, now);
        record.known = now + KNOWN;
        record.until = record.until.min(now + LONGEST_FOR_KNOWN);
        self.keep(source, record, now);
    }

    /// Sources that are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    fn record(&mut self, source: Source, now: Duration) -> Record {
        // Those that are over go first, a few at a time.
        for _ in 0..2 {
            match self.by_end.first().copied() {
                Some((end, over)) if end <= now => self.forget(over),
                _ => break,
            }
        }
        let known = self.sources.get(&source).copied().unwrap_or_default();
        self.forget(source);
        known
    }

    fn keep(&mut self, source: Source, record: Record, now: Duration) {
        if record.end() <= now {
            return;
        }
        while self.sources.len() >= SOURCES
            && let Some((_, soonest)) = self.by_end.first().copied()
        {
            self.forget(soonest);
        }
        self.by_end.insert((record.end(), source));
        self.sources.insert(source, record);
    }

    fn forget(&mut self, source: Source) {
        if let Some(record) = self.sources.remove(&source) {
            self.by_end.remove(&(record.end(), source));
        }
    }
}
