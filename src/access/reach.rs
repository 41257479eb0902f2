//! What an operator may reach now: the same decision as for a channel, asked for every target and account.
//! It never tells of a target for which no grant names the operator.

use std::time::Duration;

use policy::{AccountName, Bundle, Cause, ChannelKind, Missing, TargetName};
use tokio::sync::Mutex;

use super::{Held, Moment};
use crate::bastion::Bastion;
use crate::login::Authenticated;
use crate::store::StoreError;

/// How long is decided for one list.
const LIMIT: Duration = Duration::from_secs(10);

static TURN: Mutex<()> = Mutex::const_new(());

/// What may be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// By target, then as the target lists its accounts.
    pub all: Vec<Reach>,
    /// Whether that is everything.
    pub whole: bool,
}

/// One account of one target, as far as an operator may be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The target.
    pub target: TargetName,
    /// The login name on it.
    pub account: AccountName,
    /// What may be done there: now, or with what is missing.
    pub kinds: Vec<ChannelKind>,
    /// What is missing; empty when it may be reached now.
    pub missing: Vec<Missing>,
}

/// What this operator may reach, from this login, now: only where a grant names them, so nothing else is learnt. What is
/// missing takes long to find out: after [`LIMIT`] the list ends, and is not whole.
///
/// # Errors
/// When the store cannot be read.
pub async fn reach(bastion: &Bastion, authenticated: &Authenticated) -> Result<Reached, StoreError> {
    // Whoever asks this again and again keeps one core busy, not all of them.
    let _turn = TURN.lock().await;
    let until = bastion.clock.monotonic() + LIMIT;
    let bundle = bastion.access.bundle();
    let moment = Moment { asked: bastion.clock.now(), since: None, reason: None };
    let held = Held::read(bastion, &bundle, authenticated, moment).await?;
    let mut all = Vec::new();
    for target in bundle.targets() {
        for account in target.accounts() {
            all.extend(reach_of(&held, &bundle, target.name(), account));
        }
        if bastion.clock.monotonic() > until {
            return Ok(Reached { all, whole: false });
        }
        // Thousands of decisions are made here: others get their turn between two targets.
        tokio::task::yield_now().await;
    }
    Ok(Reached { all, whole: true })
}

fn reach_of(held: &Held<'_>, bundle: &Bundle, target: &TargetName, account: &AccountName) -> Option<Reach> {
    let (mut open, mut waiting) = (Vec::new(), Vec::new());
    for kind in [ChannelKind::Shell, ChannelKind::Exec, ChannelKind::Sftp] {
        match held.decide(bundle, target.as_str(), Some(account), &kind) {
            Ok(_) => open.push(kind),
            Err(denial) if denial.cause == Cause::Missing => waiting.push((denial.missing, kind)),
            Err(_) => {}
        }
    }
    let (kinds, missing) = if open.is_empty() {
        let fewest = waiting.iter().map(|(missing, _)| missing).min_by_key(|missing| missing.len())?.clone();
        (
            waiting.into_iter().filter(|(missing, _)| *missing == fewest).map(|(_, kind)| kind).collect(),
            fewest,
        )
    } else {
        (open, Vec::new())
    };
    Some(Reach { target: target.clone(), account: account.clone(), kinds, missing })
}
