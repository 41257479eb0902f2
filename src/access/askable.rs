//! What an operator would have to type before anything may be done on an account: the same decision as for a channel, asked
//! for every kind of channel. It never tells of a target for which no grant names the operator.

use policy::{AccountName, Bundle, ChannelKind, Missing, TargetName};

use super::{Held, Moment};
use crate::bastion::Bastion;
use crate::login::{Authenticated, Lacking};
use crate::store::StoreError;

/// What is lacking that can be typed and that every way to this account needs; `None` where there is no way, or none that
/// what is typed would open. Without an account it is the target's default.
///
/// # Errors
/// When the store cannot be read.
pub async fn askable(
    bastion: &Bastion,
    authenticated: &Authenticated,
    target: &TargetName,
    account: Option<&AccountName>,
) -> Result<Option<Lacking>, StoreError> {
    let bundle = bastion.access.bundle();
    let held = Held::read(bastion, &bundle, authenticated, now(bastion)).await?;
    Ok(on_account(&held, &bundle, target, account))
}

/// What every account of this target that the operator has a way to is lacking; nothing where one of them lacks nothing.
///
/// # Errors
/// When the store cannot be read.
pub async fn askable_anywhere(
    bastion: &Bastion,
    authenticated: &Authenticated,
    target: &TargetName,
) -> Result<Lacking, StoreError> {
    let bundle = bastion.access.bundle();
    let held = Held::read(bastion, &bundle, authenticated, now(bastion)).await?;
    let accounts = bundle.target(target).map(policy::Target::accounts).unwrap_or_default();
    let each = accounts.iter().filter_map(|account| on_account(&held, &bundle, target, Some(account)));
    let common = each
        .reduce(|one, other| Lacking { code: one.code && other.code, reason: one.reason && other.reason });
    Ok(common.unwrap_or_default())
}

fn now(bastion: &Bastion) -> Moment<'static> {
    Moment { asked: bastion.clock.now(), since: None, reason: None }
}

fn on_account(
    held: &Held<'_>,
    bundle: &Bundle,
    target: &TargetName,
    account: Option<&AccountName>,
) -> Option<Lacking> {
    // Any kind will do: every one is asked about.
    let request = held.request(target.as_str(), account, &ChannelKind::Shell);
    let missing = policy::in_common(bundle, &request)?;
    Some(Lacking { code: missing.contains(&Missing::FreshCode), reason: missing.contains(&Missing::Reason) })
}
