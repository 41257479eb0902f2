//! Whether a session could begin now: the store takes a row, the log takes events and has its reserve, the folder of recordings takes a file.
//! Never asked more often than once a second, however many ask: a question must not wear the disk.

use std::sync::Arc;
use std::time::Duration;

use ledger::log::may_have_reserve;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::audit::State;
use crate::bastion::Bastion;
use crate::control::writable;

/// How long an answer stands.
const STANDS: Duration = Duration::from_secs(1);
/// How long the disk may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The row that is written to see whether one can be.
const PROBE: &str = "probe";

/// The last answer, and when it was found on the monotonic side of the clock.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    last: Mutex<Option<(Duration, Result<(), &'static str>)>>,
}

impl Readiness {
    /// The answer, found again when the last one is old.
    pub(super) async fn asked(&self, bastion: &Arc<Bastion>) -> Result<(), &'static str> {
        if bastion.live.drain().begun() {
            return Err("stopping: running sessions may end, no new ones begin");
        }
        log_takes_events(bastion)?;
        let mut last = self.last.lock().await;
        let now = bastion.clock.monotonic();
        if let Some((_, answer)) = last.filter(|(at, _)| now.saturating_sub(*at) < STANDS) {
            return answer;
        }
        let found = timeout(PATIENCE, look(bastion)).await.unwrap_or(Err("the disk does not answer"));
        *last = Some((bastion.clock.monotonic(), found));
        found
    }
}

/// Whether a restart would not help: it would where the log was given up for good.
pub(super) fn alive(bastion: &Bastion) -> Result<(), &'static str> {
    match *bastion.audit.state().borrow() {
        State::Broken => Err("the audit log is given up until the server is started again"),
        State::Open | State::Full | State::Mended(_) => Ok(()),
    }
}

fn log_takes_events(bastion: &Bastion) -> Result<(), &'static str> {
    match *bastion.audit.state().borrow() {
        State::Open => Ok(()),
        State::Full | State::Mended(_) => Err("the audit log cannot be written: the disk is full"),
        State::Broken => Err("the audit log cannot be written"),
    }
}

async fn look(bastion: &Arc<Bastion>) -> Result<(), &'static str> {
    let at = bastion.clock.unix_ms().to_string();
    if let Err(why) = bastion.store.set_meta(PROBE, &at).await {
        tracing::warn!(%why, "not ready: the store cannot be written");
        return Err("the store cannot be written");
    }
    if !may_have_reserve(bastion.audit.log_dir()) {
        return Err("the disk is full, or nearly: the audit log has no reserve");
    }
    let folder = bastion.config.recordings_dir();
    let written = tokio::task::spawn_blocking(move || writable(&folder)).await;
    match written {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(why)) => {
            tracing::warn!(why, "not ready: recordings cannot be written");
            Err("recordings cannot be written")
        }
        Err(_) => Err("recordings cannot be looked at"),
    }
}
