//! Places at the door, given to connections: admission and penalties behind one lock, with the sockets that they end.
//! Never waits, and never says anything to whoever is turned away: the socket closes before any key is exchanged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::Network;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, Caps, Chance, Full, Offence, Penalties, Place, Source, Stage};
use super::counts::{self, Dropped};
use crate::clock::Clock;
use crate::config::Ssh;

/// Between two lines about connections that were turned away.
const TOLD: Duration = Duration::from_secs(10);

/// All places, and what is held against whom.
pub(super) struct Places {
    inner: Mutex<Inner>,
    exempt: Vec<Network>,
    clock: Arc<dyn Clock>,
    random: SystemRandom,
}

struct Inner {
    admission: Admission,
    penalties: Penalties,
    /// What ends the connection of a place that must make room.
    kills: HashMap<Place, (Source, CancellationToken)>,
    /// Connections turned away since it was last told, and when that was.
    untold: u64,
    told: Option<Duration>,
}

/// One connection's place; given back when dropped.
pub(super) struct Entry {
    seat: Seat,
    source: Source,
    standing: Arc<Standing>,
}

/// Says of a place how near to its login the connection is.
#[derive(Clone)]
pub(super) struct Seat {
    places: Arc<Places>,
    place: Place,
}

/// How far a connection's login has come, for whoever judges it when it ends.
#[derive(Debug, Default)]
pub(super) struct Standing(AtomicU8);

/// Nothing was tried; every offer was turned away; something was proven; a proof was refused; it is logged in.
const UNTRIED: u8 = 0;
const TURNED_AWAY: u8 = 1;
const PROVEN: u8 = 2;
const REFUSED: u8 = 3;
const DONE: u8 = 4;

impl Places {
    pub(super) fn new(ssh: &Ssh, clock: Arc<dyn Clock>) -> Self {
        let caps = Caps {
            all: ssh.max_connections,
            all_each: ssh.max_connections_per_source,
            waiting: ssh.max_unauthenticated,
            waiting_each: ssh.max_unauthenticated_per_source,
        };
        let inner = Inner {
            admission: Admission::new(caps),
            penalties: Penalties::default(),
            kills: HashMap::new(),
            untold: 0,
            told: None,
        };
        Self {
            inner: Mutex::new(inner),
            exempt: ssh.penalty_exempt.clone(),
            clock,
            random: SystemRandom::new(),
        }
    }

    /// A place for a connection from `address`, which `kill` ends; `None` when it is to be closed at once.
    pub(super) fn enter(
        self: &Arc<Self>,
        address: std::net::IpAddr,
        kill: &CancellationToken,
    ) -> Option<Entry> {
        let (source, now) = (Source::of(address), self.clock.monotonic());
        let chance = self.chance();
        let mut inner = self.lock();
        if !self.is_exempt(address) && inner.penalties.bars(source, now) {
            self.turn_away(&mut inner, Dropped::Penalty, source);
            return None;
        }
        let footing = inner.penalties.footing(source, now);
        let (place, evicted) = match inner.admission.enter(source, footing, chance, now) {
            Ok(entered) => entered,
            Err(full) => {
                self.turn_away(&mut inner, full.into(), source);
                return None;
            }
        };
        if let Some((of, kill)) = evicted.and_then(|evicted| inner.kills.remove(&evicted)) {
            kill.cancel();
            self.turn_away(&mut inner, Dropped::MadeRoom, of);
        }
        inner.kills.insert(place, (source, kill.clone()));
        inner.count();
        drop(inner);
        let seat = Seat { places: self.clone(), place };
        Some(Entry { seat, source, standing: Arc::default() })
    }

    /// Counts a connection that is closed for another reason than a lack of places, and tells it now and then.
    pub(super) fn dropped(&self, why: Dropped, address: std::net::IpAddr) {
        self.turn_away(&mut self.lock(), why, Source::of(address));
    }

    /// What a connection did is held against its source.
    pub(super) fn punish(&self, address: std::net::IpAddr, offence: Offence) {
        if self.is_exempt(address) {
            return;
        }
        counts::penalty(offence);
        let now = self.clock.monotonic();
        self.lock().penalties.add(Source::of(address), offence, now);
    }

    fn turn_away(&self, inner: &mut Inner, why: Dropped, source: Source) {
        counts::dropped(why);
        inner.untold += 1;
        let now = self.clock.monotonic();
        // One line for many: a flood must not fill the disk that the log lies on.
        if inner.told.is_none_or(|told| now.saturating_sub(told) >= TOLD) {
            let (all, waiting) = (inner.admission.all(), inner.admission.waiting());
            let (untold, why) = (inner.untold, why.name());
            tracing::warn!(%source, why, untold, all, waiting, "connections were turned away at the door");
            (inner.untold, inner.told) = (0, Some(now));
        }
    }

    fn is_exempt(&self, address: std::net::IpAddr) -> bool {
        self.exempt.iter().any(|network| network.contains(address))
    }

    fn chance(&self) -> Chance {
        let mut byte = [0_u8; 2];
        // A failing generator leaves zeros: then more are dropped early.
        let _ = self.random.fill(&mut byte);
        Chance(u8::try_from(u16::from_be_bytes(byte) % 100).unwrap_or(0))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn count(&self) {
        counts::open(self.admission.all(), self.admission.waiting());
    }
}

impl Entry {
    /// What is said of this connection's login as it goes on.
    pub(super) fn standing(&self) -> &Arc<Standing> {
        &self.standing
    }

    /// A machine or a key has signed.
    pub(super) fn proven(&self) {
        self.standing.proven();
        self.seat.advance(Stage::Proven);
    }

    /// For whoever sees how the connection goes on before its login does.
    pub(super) fn seat(&self) -> Seat {
        self.seat.clone()
    }

    /// The login is finished: the place no longer counts among the unauthenticated, and nobody takes it.
    pub(super) fn authenticated(&self) {
        self.standing.0.store(DONE, Ordering::Relaxed);
        counts::login("ok");
        let now = self.seat.places.clock.monotonic();
        let mut inner = self.seat.places.lock();
        inner.admission.authenticated(self.seat.place);
        inner.kills.remove(&self.seat.place);
        inner.penalties.vouch(self.source, now);
        inner.count();
    }
}

impl Seat {
    pub(super) fn advance(&self, to: Stage) {
        self.places.lock().admission.advance(self.place, to);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut inner = self.seat.places.lock();
        inner.kills.remove(&self.seat.place);
        inner.admission.leave(self.seat.place);
        inner.count();
    }
}

impl Standing {
    /// An offered key was turned away. By itself this is only the order in which a client offers.
    pub(super) fn turned_away(&self) {
        let _ = self.0.compare_exchange(UNTRIED, TURNED_AWAY, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// A proof was refused.
    pub(super) fn refused(&self) {
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now != DONE).then_some(REFUSED));
    }

    fn proven(&self) {
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| (now < REFUSED).then_some(PROVEN));
    }

    /// Whether the login is finished.
    pub(super) fn done(&self) -> bool {
        self.0.load(Ordering::Relaxed) == DONE
    }

    /// What a connection has done that ended before its login, and not by saying what no client says.
    pub(super) fn offence(&self) -> Offence {
        match self.0.load(Ordering::Relaxed) {
            TURNED_AWAY | REFUSED => Offence::Failed,
            _ => Offence::NoLogin,
        }
    }
}

impl From<Full> for Dropped {
    fn from(full: Full) -> Self {
        match full {
            Full::All => Self::Full,
            Full::Source => Self::SourceFull,
            Full::Early => Self::Early,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;
    use crate::clock::System;

    #[tokio::test]
    async fn a_connection_that_panics_ends_alone_and_gives_its_place_back() {
        let ssh = Ssh { max_connections: 1, ..Ssh::default() };
        let (places, tracker) = (Arc::new(Places::new(&ssh, Arc::new(System::start()))), TaskTracker::new());
        let enter = || places.enter("127.0.0.1".parse().unwrap(), &CancellationToken::new());
        let place = enter().unwrap();
        // Nobody takes the place of a login that is finished.
        place.authenticated();
        assert!(enter().is_none());
        let beside = tracker.spawn(async { 7 });
        let broken = tracker.spawn(async move {
            let _place = place;
            panic!("as a defect would");
        });
        assert!(broken.await.unwrap_err().is_panic());
        assert_eq!(beside.await.unwrap(), 7);
        assert!(enter().is_some());
        // A stop does not wait for it.
        tracker.close();
        tracker.wait().await;
    }
}
