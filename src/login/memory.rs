//! MFA memory: a code given on this device counts for its operator's next logins from the same device key.
//! It never counts without a proven device, never beyond what policy asks to be fresh, and never renews itself.

use std::time::Duration;

use policy::{LoginName, OperatorName, TargetName};

use super::authenticated::Authenticated;
use super::code::CodeProof;
use super::ground::Ground;
use super::identified::Identified;
use crate::device::Proven;
use crate::store::{Remembered, StoreError};

/// The code that still counts for this login, if there is one.
pub(super) async fn recall(
    ground: &Ground,
    login: &LoginName,
    identified: &Identified,
) -> Result<Option<CodeProof>, StoreError> {
    let Some(device) = identified.assessed().device() else { return Ok(None) };
    let fresh = fresh(ground, login, identified);
    recall_within(ground, &identified.person().name, device, fresh).await
}

/// The newest code of this operator on this device that is not older than `fresh`.
pub(super) async fn recall_within(
    ground: &Ground,
    operator: &OperatorName,
    device: &Proven,
    fresh: Duration,
) -> Result<Option<CodeProof>, StoreError> {
    if fresh.is_zero() {
        return Ok(None);
    }
    let now = ground.clock.unix_ms();
    let since = now.saturating_sub(i64::try_from(fresh.as_millis()).unwrap_or(i64::MAX));
    let (device, key) = (device.name().as_str(), device.fingerprint());
    let found = ground.store.recall(operator.as_str(), device, key, since, now).await?;
    Ok(found.and_then(CodeProof::recalled))
}

/// Remembers a code that was just given, where there is a device to remember it by.
pub(super) async fn remember(
    ground: &Ground,
    authenticated: &Authenticated,
    code: &CodeProof,
) -> Result<(), StoreError> {
    let Some(device) = authenticated.assessed().device().filter(|_| !code.remembered()) else {
        return Ok(());
    };
    let what = Remembered {
        operator: authenticated.operator().as_str(),
        device: device.name().as_str(),
        device_key: device.fingerprint(),
        authenticator: code.authenticator(),
        level: authenticated.assurance(),
        given: code.at().as_millisecond(),
    };
    ground.store.remember(&what).await
}

/// How old a code may be: as the bundle's login asks, or as the strictest grant on the named target asks.
fn fresh(ground: &Ground, login: &LoginName, identified: &Identified) -> Duration {
    let (person, target) = (identified.person(), login.target.as_ref().map(TargetName::as_str));
    policy::login_fresh(&ground.bundle, &person.name, &person.roles, target, login.account.as_ref())
}
