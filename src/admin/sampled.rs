//! Numbers that are looked up when `/metrics` is asked for: they cannot drift from what they tell of.
//! Never asks the store or the disk.

use metrics::gauge;

use crate::audit::State;
use crate::bastion::Bastion;
use crate::meters;

/// Sets them.
pub(super) fn set(bastion: &Bastion) {
    let sessions = bastion.live.list();
    let channels: usize = sessions.iter().map(|session| session.channels).sum();
    gauge!(meters::SESSIONS_OPEN).set(count(sessions.len()));
    gauge!(meters::CHANNELS_OPEN).set(count(channels));
    gauge!(meters::DRAINING).set(flag(bastion.live.drain().begun()));
    gauge!(meters::BUILD, "version" => env!("CARGO_PKG_VERSION")).set(1.0);

    let behind = bastion.recordings.behind();
    gauge!(meters::RECORDINGS_OPEN).set(count(behind.running));
    gauge!(meters::RECORDING_BEHIND).set(meters::float(behind.bytes));
    gauge!(meters::RECORDING_AGE).set(behind.since.as_secs_f64());
    gauge!(meters::RECORDINGS_UNSEALED).set(count(bastion.recordings.unsealed().len()));

    let (log, now) = (bastion.audit.progress(), bastion.clock.unix_ms());
    gauge!(meters::LOG_OPEN).set(flag(*bastion.audit.state().borrow() == State::Open));
    gauge!(meters::LOG_ENTRIES).set(meters::float(log.entries()));
    gauge!(meters::LOG_UNSIGNED).set(meters::float(log.unsigned()));
    gauge!(meters::LOG_WAITS).set(seconds(log.waits(now)));
    if let Some(at) = log.signed_at() {
        gauge!(meters::LOG_SIGNED_AT).set(seconds(at));
    }
}

fn count(of: usize) -> f64 {
    meters::float(of as u64)
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

fn seconds(ms: i64) -> f64 {
    meters::float(u64::try_from(ms).unwrap_or(0)) / 1000.0
}
