//! Who may stand at the door: how many connections in all and from one source, and who must make room when it is full.
//! Never knows a socket or a clock: places are numbers, times and chances are arguments.
//!
//! A connection comes nearer to its login step by step ([`Stage`]). Who is new is not turned away because others hold all
//! places: somebody makes room. Who has proven nothing before who has, who comes from where nobody has logged in lately before
//! who does not, whoever holds most before whoever holds one, who
//! had time before who had none, who said little before who said more, the oldest first. Why, is told in `docs/decisions/`.

mod penalties;
mod source;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub(super) use penalties::{Offence, Penalties};
pub(super) use source::Source;

/// How many may be there at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    /// Connections in all.
    pub(super) all: usize,
    /// Connections from one source.
    pub(super) all_each: usize,
    /// Connections in all that have not finished their login.
    pub(super) waiting: usize,
    /// The same from one source.
    pub(super) waiting_each: usize,
}

/// One place; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(u64);

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// All places are taken by those who finished their login.
    All,
    /// This source has as many connections as one may have.
    Source,
    /// Dropped by chance, so that a source that holds more than its share slows down before the cap.
    Early,
}

/// A chance out of 100, drawn by the caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance(pub(super) u8);

/// From this part of the cap on a source above its share may be dropped early, with this chance at first.
const EARLY_FROM: usize = 2;
const EARLY_RATE: usize = 30;

/// A connection this old has had the time to say what a client says at once.
const SETTLED: Duration = Duration::from_secs(2);

/// How near to its login a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Nothing has come from it.
    Silent,
    /// It has said which protocol it speaks.
    Speaking,
    /// It has exchanged keys.
    Keyed,
    /// A machine or a key has signed.
    Proven,
}

/// What is known of a newcomer's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Footing {
    /// Nothing.
    Stranger,
    /// Somebody has logged in from there lately.
    Familiar,
}

/// So many connections of a familiar source go after those of strangers; more of them count like any other.
const FAMILIAR: usize = 4;

/// Everybody at the door and behind it.
#[derive(Debug)]
pub(super) struct Admission {
    caps: Caps,
    next: u64,
    waiting: BTreeMap<Place, Waiting>,
    /// Logins that are finished.
    inside: HashMap<Place, Source>,
    sources: HashMap<Source, Held>,
}

/// One whose login is not finished.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    source: Source,
    footing: Footing,
    stage: Stage,
    since: Duration,
}

/// What one source holds.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    unproven: usize,
    proven: usize,
    inside: usize,
}

impl Held {
    fn waiting(&self) -> usize {
        self.unproven + self.proven
    }

    fn all(&self) -> usize {
        self.waiting() + self.inside
    }

    fn at(&mut self, stage: Stage) -> &mut usize {
        if stage == Stage::Proven { &mut self.proven } else { &mut self.unproven }
    }
}

impl Admission {
    pub(super) fn new(caps: Caps) -> Self {
        Self { caps, next: 0, waiting: BTreeMap::new(), inside: HashMap::new(), sources: HashMap::new() }
    }

    /// A place for a newcomer, and whoever must go for it.
    pub(super) fn enter(
        &mut self,
        source: Source,
        footing: Footing,
        chance: Chance,
        now: Duration,
    ) -> Result<(Place, Option<Place>), Full> {
        let own = self.held(source);
        let evicted = if own.all() >= self.caps.all_each || own.waiting() >= self.caps.waiting_each {
            // One of its own makes room: whoever sits silently does not lock out others behind the same address.
            Some(self.victim(source, now, true).ok_or(Full::Source)?)
        } else if self.all() >= self.caps.all || self.waiting() >= self.caps.waiting {
            Some(self.victim(source, now, false).ok_or(Full::All)?)
        } else if self.drops_early(own.waiting(), chance) {
            return Err(Full::Early);
        } else {
            None
        };
        if let Some(evicted) = evicted {
            self.leave(evicted);
        }
        let place = Place(self.next);
        self.next += 1;
        self.waiting.insert(place, Waiting { source, footing, stage: Stage::Silent, since: now });
        self.sources.entry(source).or_default().unproven += 1;
        Ok((place, evicted))
    }

    /// The connection has come this far; it never goes back.
    pub(super) fn advance(&mut self, place: Place, to: Stage) {
        let Some(waiting) = self.waiting.get_mut(&place).filter(|waiting| waiting.stage < to) else { return };
        let from = std::mem::replace(&mut waiting.stage, to);
        let held = self.sources.entry(waiting.source).or_default();
        *held.at(from) -= 1;
        *held.at(to) += 1;
    }

    /// The login is finished: nobody takes this place any more. `false` when it had to make room before.
    pub(super) fn authenticated(&mut self, place: Place) -> bool {
        let Some(waiting) = self.waiting.remove(&place) else { return false };
        let held = self.sources.entry(waiting.source).or_default();
        *held.at(waiting.stage) -= 1;
        held.inside += 1;
        self.inside.insert(place, waiting.source);
        true
    }

    /// The connection is over. Nothing happens when it had to make room before.
    pub(super) fn leave(&mut self, place: Place) {
        let source = if let Some(waiting) = self.waiting.remove(&place) {
            *self.sources.entry(waiting.source).or_default().at(waiting.stage) -= 1;
            waiting.source
        } else if let Some(source) = self.inside.remove(&place) {
            self.sources.entry(source).or_default().inside -= 1;
            source
        } else {
            return;
        };
        if self.held(source).all() == 0 {
            self.sources.remove(&source);
        }
    }

    /// Connections in all.
    pub(super) fn all(&self) -> usize {
        self.waiting.len() + self.inside.len()
    }

    /// Connections that have not finished their login.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    fn held(&self, source: Source) -> Held {
        self.sources.get(&source).copied().unwrap_or_default()
    }

    /// Who makes room for a newcomer from `source`, which counts as if it were here already. Looks at each who waits:
    /// there are no more of them than `[ssh] max_unauthenticated`.
    fn victim(&self, source: Source, now: Duration, of_its_own: bool) -> Option<Place> {
        let order = |place: Place, waiting: &Waiting| {
            let held = self.held(waiting.source);
            let unproven = waiting.stage < Stage::Proven;
            let new = usize::from(unproven && waiting.source == source);
            let count = if unproven { held.unproven + new } else { held.proven };
            let strange = waiting.footing == Footing::Stranger || held.waiting() > FAMILIAR;
            let settled = now.saturating_sub(waiting.since) >= SETTLED;
            (unproven, strange, count, settled, Reverse(waiting.stage), Reverse(place))
        };
        let candidates = self.waiting.iter().filter(|(_, waiting)| !of_its_own || waiting.source == source);
        candidates.max_by_key(|(place, waiting)| order(**place, waiting)).map(|(place, _)| *place)
    }

    fn drops_early(&self, own: usize, chance: Chance) -> bool {
        let (waiting, full) = (self.waiting(), self.caps.waiting);
        let start = full / EARLY_FROM;
        if own == 0 || waiting < start || own * self.sources.len() < waiting {
            return false;
        }
        let over = EARLY_RATE + (100 - EARLY_RATE) * (waiting - start) / (full - start).max(1);
        usize::from(chance.0) < over
    }
}
