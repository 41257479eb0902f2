//! What a full disk does to a running server, and the way back: nothing goes on that is not logged, and what was left open is
//! closed as soon as there is room, without a restart.
//! Never goes on while something of the time before is still under way.

use std::sync::Arc;
use std::time::Duration;

use ledger::log::may_have_reserve;
use tokio::sync::watch;

use super::{LeftOpen, UpkeepError, close_unsealed};
use crate::audit::{Mended, State};
use crate::bastion::Bastion;
use crate::live::Cut;

/// Between two looks at recordings that could not be sealed.
const ROUND: Duration = Duration::from_secs(5);
/// Between two looks whether all is quiet.
const LOOK: Duration = Duration::from_millis(100);
/// Looks in a row that must find nothing going on: what has ended may still be saying so.
const QUIET: u32 = 3;

/// Cuts everything when the log cannot be written, and opens the doors again when it can; closes recordings that could not be
/// sealed. Runs as long as the bastion does.
pub async fn watch_the_disk(bastion: Arc<Bastion>) {
    let mut log = bastion.audit.state();
    loop {
        let state = *log.borrow_and_update();
        match state {
            State::Open => {}
            State::Full | State::Broken => closed(&bastion, state),
            State::Mended(mended) => {
                if let Err(why) = go_on(&bastion, &mut log, mended).await {
                    tracing::warn!(%why, "what the full disk left open is not closed yet");
                }
                continue;
            }
        }
        tokio::select! {
            changed = log.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(ROUND), if state == State::Open => close_all_unsealed(&bastion).await,
        }
    }
}

fn closed(bastion: &Bastion, state: State) {
    let remedy = if state == State::Full {
        "it goes on by itself once there is room"
    } else {
        "mend the disk and restart"
    };
    tracing::error!(remedy, "the audit log cannot be written: all sessions are cut and no login is taken");
    bastion.live.cut_all(Cut::Unlogged);
}

/// Closes what was left open, and takes events again.
async fn go_on(
    bastion: &Bastion,
    log: &mut watch::Receiver<State>,
    mended: Mended,
) -> Result<(), UpkeepError> {
    let mut quiet = 0;
    while quiet < QUIET {
        bastion.live.cut_all(Cut::Unlogged);
        tokio::time::sleep(LOOK).await;
        let nothing = bastion.live.is_empty() && bastion.recordings.behind().running == 0;
        quiet = if nothing { quiet + 1 } else { 0 };
    }
    // Found before anything new can begin, so nothing new is among it.
    let left = match LeftOpen::find(bastion).await {
        Ok(left) => left,
        Err(why) => {
            tokio::time::sleep(ROUND).await;
            return Err(why);
        }
    };
    log.mark_unchanged();
    bastion.audit.resume().await?;
    // The writer says so, or that it has failed again meanwhile.
    let _ = log.wait_for(|state| !matches!(state, State::Mended(_))).await;
    let mut event = bastion.audit.event("system.log_mended");
    event.outcome = Some("recovered".into());
    event.reason = Some("the disk was full; what could not be logged was refused".into());
    event.detail.insert("unsigned".into(), mended.unsigned.into());
    event.detail.insert("torn".into(), mended.torn.into());
    bastion.audit.note(event).await?;
    let super::Closed { recordings, sessions, entries } =
        left.close(bastion, "the log could not be written when this ended").await?;
    tracing::info!(
        recordings,
        sessions,
        entries,
        "the audit log is written again; closed what was left open"
    );
    Ok(())
}

/// Recordings that could not be sealed: each is tried again every round.
async fn close_all_unsealed(bastion: &Bastion) {
    let unsealed = bastion.recordings.unsealed();
    // Said in the log: without its reserve, what room there is belongs to its last words.
    if unsealed.is_empty() || !may_have_reserve(bastion.audit.log_dir()) {
        return;
    }
    for id in unsealed {
        match close_unsealed(bastion, &id).await {
            Ok(()) => {
                tracing::info!(recording = %id, "a recording that could not be sealed was closed");
                bastion.recordings.closed(&id);
            }
            Err(why) => {
                tracing::warn!(recording = %id, %why, "a recording cannot be closed yet");
                return;
            }
        }
    }
}
