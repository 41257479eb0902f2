//! What happens at the door, as numbers: for whoever exports metrics, and for nobody else.
//! Never names a source, an operator or a target: a label is one of few words.

use super::admission::Offence;

/// Why a connection was ended by the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// All places are taken by logins that are finished.
    Full,
    /// Its source has as many connections as one may have.
    SourceFull,
    /// By chance, because its source holds more than its share.
    Early,
    /// It made room for a newcomer.
    MadeRoom,
    /// Its source has to wait.
    Penalty,
    /// The system has few descriptors left.
    Descriptors,
    /// A proxy sent no header, or none that can be read.
    Proxy,
    /// It asked for more than a connection may.
    Excess,
    /// It began a key exchange and did not finish it.
    Stalled,
}

impl Dropped {
    /// As counters and log lines name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::SourceFull => "source_full",
            Self::Early => "early",
            Self::MadeRoom => "made_room",
            Self::Penalty => "penalty",
            Self::Descriptors => "descriptors",
            Self::Proxy => "proxy_header",
            Self::Excess => "excess",
            Self::Stalled => "stalled_exchange",
        }
    }
}

/// A connection was accepted by the system, whatever becomes of it.
pub(super) fn accepted() {
    metrics::counter!("bartizan_door_accepted_total").increment(1);
}

/// A connection was ended by the door.
pub(super) fn dropped(why: Dropped) {
    metrics::counter!("bartizan_door_closed_total", "reason" => why.name()).increment(1);
}

/// Something is held against a source.
pub(super) fn penalty(offence: Offence) {
    metrics::counter!("bartizan_door_penalties_total", "reason" => offence.name()).increment(1);
}

/// How a connection's login ended: `ok`, or what it did instead.
pub(super) fn login(outcome: &'static str) {
    metrics::counter!("bartizan_door_logins_total", "outcome" => outcome).increment(1);
}

/// Connections open now, and those of them that have not finished their login.
pub(super) fn open(all: usize, waiting: usize) {
    metrics::gauge!("bartizan_door_connections").set(all as f64);
    metrics::gauge!("bartizan_door_unauthenticated").set(waiting as f64);
}
