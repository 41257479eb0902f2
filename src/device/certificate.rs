//! The session-bound certificate of a device: judged by the checks of `posture`, with what the inventory and the store know.
//! It never takes a serial twice, and never lets a certificate speak for a person.

use jiff::Timestamp;
use policy::{OperatorName, TenantName};
use posture::certificate::{self, Binding, SERIAL_WINDOW, Serials, VALID_AFTER, VALID_BEFORE};
use posture::{Claim, Code};
use ssh_key::Certificate;

use super::{Judged, Proven, Unproven, demand, fingerprint};
use crate::config::DeviceConfig;
use crate::store::{NewProof, Store, StoreError};

/// How long a serial is remembered, in milliseconds: a certificate is valid no longer.
#[expect(clippy::cast_possible_wrap, reason = "three minutes")]
const KEPT: i64 = ((VALID_BEFORE + VALID_AFTER) * 1000) as i64;
#[expect(clippy::cast_possible_wrap, reason = "1024")]
const WINDOW: i64 = SERIAL_WINDOW as i64;

/// Where and when a certificate came.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    /// What the connection knows of itself.
    pub(crate) binding: &'a (dyn Binding + Sync),
    pub(crate) now: Timestamp,
}

impl At<'_> {
    /// Unix seconds.
    pub(super) fn second(self) -> u64 {
        u64::try_from(self.now.as_second()).unwrap_or(0)
    }
}

/// Judges a certificate whose own key has signed this login. `device` is what the inventory has under its signer; `tenant` as
/// for [`super::judge`].
///
/// # Errors
/// When the store fails or the row cannot be read.
pub(crate) async fn judge_certificate(
    store: &Store,
    config: &DeviceConfig,
    certificate: &Certificate,
    device: Option<posture::Device>,
    operator: &OperatorName,
    tenant: Option<&TenantName>,
    at: At<'_>,
) -> Result<Judged, StoreError> {
    let key = fingerprint(&certificate::signer(certificate));
    let seen = seen(store, &key, at.now).await?;
    let claim = Claim { operator: operator.as_str(), tenant: tenant.map(TenantName::as_str) };
    match certificate::check(certificate, device, claim, demand(config), at.binding, &seen, at.second()) {
        Ok((posture, serial)) => {
            let json = posture.report().and_then(|report| report.to_json().ok());
            let said = json.as_deref().map(|json| (posture.device().name.as_str(), json));
            if let Some(used) = take(store, &key, serial, said, at.now).await? {
                return Ok(Judged::NoProof(used));
            }
            Ok(Judged::Proven(Proven::new(&posture, key)?))
        }
        Err(finding) if finding.code().proves_device() => {
            let used = take(store, &key, certificate.serial(), None, at.now).await?;
            Ok(used.map_or_else(|| Judged::Barred(finding), Judged::NoProof))
        }
        Err(finding) => Ok(Judged::NoProof(finding.into())),
    }
}

/// Takes a serial for good; what is wrong with it otherwise. Two logins with one serial may have come this far, not further.
pub(super) async fn take(
    store: &Store,
    key: &str,
    serial: u64,
    said: Option<(&str, &str)>,
    now: Timestamp,
) -> Result<Option<Unproven>, StoreError> {
    let stored = i64::try_from(serial).unwrap_or(i64::MAX);
    let proof = NewProof { device_key: key, serial: stored, window: WINDOW, kept: KEPT, said };
    let taken = store.take_proof(&proof, now.as_millisecond()).await?;
    let cause = || format!("number {serial} was used before");
    Ok((!taken).then(|| Unproven { code: Code::Freshness, cause: cause() }))
}

async fn seen(store: &Store, key: &str, now: Timestamp) -> Result<Serials, StoreError> {
    let taken = store.serials(key, now.as_millisecond().saturating_sub(KEPT)).await?;
    let number = |serial: i64| u64::try_from(serial).unwrap_or(0);
    Ok(Serials { highest: number(taken.highest), recent: taken.recent.into_iter().map(number).collect() })
}
