//! The names of all numbers that `/metrics` shows of what happens, and the places they are counted from.
//! Never a label that a peer or a person chose: kinds, codes and directions are words of ours, so the number of series is bounded.
//!
//! What is merely looked up when it is asked for (sessions open, the log's size) is set by `admin`.

use std::time::Duration;

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, describe_histogram};
use metrics::{gauge, histogram};
use policy::ChannelKind;

/// Connections that the system accepted, whatever becomes of them.
pub const DOOR_ACCEPTED: &str = "bartizan_door_accepted_total";
/// Connections open now, logged in or not.
pub const DOOR_CONNECTIONS: &str = "bartizan_door_connections";
/// Of these, not logged in yet.
pub const DOOR_UNAUTHENTICATED: &str = "bartizan_door_unauthenticated";
/// Connections that the door ended, by reason.
pub const DOOR_CLOSED: &str = "bartizan_door_closed_total";
/// What was held against sources, by reason.
pub const DOOR_PENALTIES: &str = "bartizan_door_penalties_total";
/// Connections whose login is over, by how.
pub const DOOR_LOGINS: &str = "bartizan_door_logins_total";
const LOGINS: &str = "bartizan_logins_total";
const SESSIONS: &str = "bartizan_sessions_total";
const CHANNELS: &str = "bartizan_channels_total";
const REFUSED: &str = "bartizan_channels_refused_total";
const RELAYED: &str = "bartizan_relayed_bytes_total";
const QUEUED: &str = "bartizan_queued_bytes";
const PANICS: &str = "bartizan_panics_total";
const UNWRITTEN: &str = "bartizan_log_unwritten_total";
/// How long an fsync of the log took.
pub const LOG_SYNC: &str = "bartizan_audit_sync_seconds";
/// How long a round of fsyncs over all running recordings took.
pub const RECORDING_SYNC: &str = "bartizan_recording_sync_seconds";
/// Set when asked: what is open, how far log and recordings have come.
pub const SESSIONS_OPEN: &str = "bartizan_sessions_open";
/// Channels of the sessions open now.
pub const CHANNELS_OPEN: &str = "bartizan_channels_open";
/// Recordings being written.
pub const RECORDINGS_OPEN: &str = "bartizan_recordings_open";
/// Recordings that could not be sealed and wait for upkeep.
pub const RECORDINGS_UNSEALED: &str = "bartizan_recordings_unsealed";
/// Bytes handed to recordings that are not on disk yet.
pub const RECORDING_BEHIND: &str = "bartizan_recording_unsynced_bytes";
/// How long the oldest recorded bytes have waited for the disk.
pub const RECORDING_AGE: &str = "bartizan_recording_sync_age_seconds";
/// Entries in the audit log.
pub const LOG_ENTRIES: &str = "bartizan_audit_entries";
/// Entries without a checkpoint.
pub const LOG_UNSIGNED: &str = "bartizan_audit_unsigned_entries";
/// How long the oldest of them waits.
pub const LOG_WAITS: &str = "bartizan_audit_unsigned_seconds";
/// When the newest checkpoint was signed.
pub const LOG_SIGNED_AT: &str = "bartizan_audit_checkpoint_timestamp_seconds";
/// 1 while the log takes events.
pub const LOG_OPEN: &str = "bartizan_audit_open";
/// 1 while new sessions are refused because the server stops.
pub const DRAINING: &str = "bartizan_draining";
/// Always 1, with the version as its label.
pub const BUILD: &str = "bartizan_build_info";

/// Says what each number is.
pub fn describe() {
    describe_counter!(DOOR_ACCEPTED, "connections accepted, whatever became of them");
    describe_gauge!(DOOR_CONNECTIONS, "connections open now, logged in or not");
    describe_gauge!(DOOR_UNAUTHENTICATED, "connections open now that have not finished their login");
    describe_counter!(DOOR_CLOSED, "connections that the door ended, by reason");
    describe_counter!(DOOR_PENALTIES, "what was held against sources, by reason");
    describe_counter!(DOOR_LOGINS, "connections whose login is over, by how");
    describe_counter!(LOGINS, "logins ended, by outcome and code of refusal");
    describe_counter!(SESSIONS, "sessions opened");
    describe_gauge!(SESSIONS_OPEN, "sessions open now");
    describe_counter!(CHANNELS, "channels ended, by kind and how they ended");
    describe_gauge!(CHANNELS_OPEN, "channels open now");
    describe_counter!(REFUSED, "channels refused before they began, by code");
    describe_counter!(RELAYED, Unit::Bytes, "bytes carried, by direction");
    describe_gauge!(QUEUED, Unit::Bytes, "bytes that wait inside, by who has to take them");
    describe_counter!(PANICS, "tasks that panicked; each ended one connection");
    describe_counter!(UNWRITTEN, "warnings of libraries that were too many to be written");
    describe_histogram!(LOG_SYNC, Unit::Seconds, "time of one fsync of the audit log");
    describe_histogram!(RECORDING_SYNC, Unit::Seconds, "time of one round of fsyncs over running recordings");
    describe_gauge!(RECORDINGS_OPEN, "recordings being written");
    describe_gauge!(RECORDINGS_UNSEALED, "recordings that could not be sealed yet");
    describe_gauge!(RECORDING_BEHIND, Unit::Bytes, "bytes handed to recordings and not yet on disk");
    describe_gauge!(
        RECORDING_AGE,
        Unit::Seconds,
        "how long the oldest recorded bytes have waited for the disk; 0 when none do"
    );
    describe_gauge!(LOG_ENTRIES, "entries in the audit log");
    describe_gauge!(LOG_UNSIGNED, "entries that no signed checkpoint vouches for yet");
    describe_gauge!(LOG_WAITS, Unit::Seconds, "how long the oldest entry without a checkpoint has waited");
    describe_gauge!(LOG_SIGNED_AT, Unit::Seconds, "when the newest checkpoint of this run was signed");
    describe_gauge!(LOG_OPEN, "1 while the audit log can be written");
    describe_gauge!(DRAINING, "1 while the server is stopping");
    describe_gauge!(BUILD, "1, with the version");
    for leg in [Leg::Target, Leg::Operator] {
        counter!(RELAYED, "to" => leg.word()).absolute(0);
        queue(leg).0.set(0.0);
    }
    counter!(DOOR_ACCEPTED).absolute(0);
    gauge!(DOOR_CONNECTIONS).set(0.0);
    gauge!(DOOR_UNAUTHENTICATED).set(0.0);
    counter!(SESSIONS).absolute(0);
    counter!(PANICS).absolute(0);
    counter!(UNWRITTEN).absolute(0);
}

/// Which side something goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// Towards the target.
    Target,
    /// Towards the operator.
    Operator,
}

impl Leg {
    fn word(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Operator => "operator",
        }
    }
}

/// A login ended; `code` is that of its refusal.
pub fn login(code: Option<&'static str>) {
    let outcome = if code.is_some() { "refused" } else { "ok" };
    counter!(LOGINS, "outcome" => outcome, "code" => code.unwrap_or("")).increment(1);
}

/// A session was opened.
pub fn session() {
    counter!(SESSIONS).increment(1);
}

/// A channel of this kind ended.
pub fn channel(kind: &ChannelKind, outcome: &'static str) {
    // The name of a subsystem and the place a forward leads to are the operator's.
    let kind = match kind {
        ChannelKind::Shell => "shell",
        ChannelKind::Exec => "exec",
        ChannelKind::Sftp => "sftp",
        ChannelKind::Subsystem(_) => "subsystem",
        ChannelKind::Forward(_) => "forward",
        ChannelKind::ReverseForward => "reverse-forward",
        ChannelKind::Agent => "agent",
        ChannelKind::X11 => "x11",
    };
    counter!(CHANNELS, "kind" => kind, "outcome" => outcome).increment(1);
}

/// A channel did not begin.
pub fn refused(code: &'static str) {
    counter!(REFUSED, "code" => code).increment(1);
}

/// Counts what is carried towards `to`.
pub fn relayed(to: Leg) -> Counter {
    counter!(RELAYED, "to" => to.word())
}

/// Bytes of one queue; what is left in it when it is dropped is taken off.
pub struct Queue(Gauge);

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Queue")
    }
}

/// The bytes that wait for `to`.
pub fn queue(to: Leg) -> Queue {
    Queue(gauge!(QUEUED, "for" => to.word()))
}

impl Queue {
    /// More wait.
    pub fn more(&self, bytes: usize) {
        self.0.increment(float(bytes as u64));
    }

    /// Fewer wait.
    pub fn fewer(&self, bytes: usize) {
        self.0.decrement(float(bytes as u64));
    }
}

/// The log was put on disk in this time.
pub fn log_synced(took: Duration) {
    histogram!(LOG_SYNC).record(took.as_secs_f64());
}

/// All running recordings were put on disk in this time.
pub fn recordings_synced(took: Duration) {
    histogram!(RECORDING_SYNC).record(took.as_secs_f64());
}

/// A warning of a library was not written.
pub fn left_unwritten() {
    counter!(UNWRITTEN).increment(1);
}

/// A task panicked.
pub fn panicked() {
    counter!(PANICS).increment(1);
}

/// A count as Prometheus takes it: exact up to 2^53.
pub fn float(count: u64) -> f64 {
    let (high, low) = ((count >> 32) as u32, count as u32);
    f64::from(high) * 4_294_967_296.0 + f64::from(low)
}
