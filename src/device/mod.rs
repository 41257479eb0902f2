//! Accepted -> Assessed or Remediation: which machine is calling, and in what state it is.
//! It never looks at a person before the machine has proven itself, and asks of a person only whether the machine is theirs.

mod alone;
mod certificate;
mod enrolment;
mod proven;

use std::net::SocketAddr;

use jiff::Timestamp;
use policy::{Assessment, Level, OperatorName, TenantName};
use posture::{Claim, Demand, Finding};
use ssh_key::{Algorithm, HashAlg, PublicKey};

use crate::config::{DeviceConfig, Evidence, Require};
use crate::ids::Reference;
use crate::refusal::Refusal;
use crate::store::{self, DeviceState, Store, StoreError};

pub(crate) use alone::{Errand, errand_of, facts_wanted};
pub(crate) use certificate::{At, judge_certificate};
pub use enrolment::{EnrolError, Enrolled, Enrolment, LASTS, Offer};
pub(crate) use proven::cause;
pub use proven::{Known, Proven};

/// The code shown in place of POSTURE-001 to 005: which of them it was is for the log.
const NOT_TOLD: &str = "POSTURE-000";
/// What a proven device that may not connect is told, in a line.
const NOT_YET: &str = "this device may not connect yet";
/// What `posture::NO_PROOF` begins with, and every line of a refusal does too.
const PREFIX: &str = "bartizan: ";

/// A connection was accepted; nothing is proven.
#[derive(Debug)]
pub struct Accepted {
    peer: SocketAddr,
    at: Timestamp,
}

impl Accepted {
    /// A connection from `peer` at this moment.
    pub fn new(peer: SocketAddr, at: Timestamp) -> Self {
        Self { peer, at }
    }

    /// The other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

/// The machine has been judged: proven, or none was required. A person may come now.
#[derive(Debug)]
pub struct Assessed {
    accepted: Accepted,
    device: Option<Proven>,
}

impl Assessed {
    /// From a device that proved itself.
    pub(crate) fn proven(accepted: Accepted, device: Proven) -> Self {
        Self { accepted, device: Some(device) }
    }

    /// From a machine that proved nothing, where none is required; else the connection as it was.
    pub(crate) fn unproven(accepted: Accepted, config: &DeviceConfig) -> Result<Self, Accepted> {
        match config.require {
            Require::Any => Ok(Self { accepted, device: None }),
            Require::Managed => Err(accepted),
        }
    }

    /// The device proved itself after the person did.
    pub(crate) fn joined_by(self, device: Proven) -> Self {
        Self { accepted: self.accepted, device: Some(device) }
    }

    /// The connection it rests on.
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// Back to the beginning: what came after the machine was not enough.
    pub(crate) fn into_accepted(self) -> Accepted {
        self.accepted
    }

    /// The device, where one was proven.
    pub fn device(&self) -> Option<&Proven> {
        self.device.as_ref()
    }
}

/// A proven device that may not connect: it is told what to do, and there is no way on.
#[derive(Debug)]
pub struct Remediation {
    accepted: Accepted,
    device: Option<String>,
    text: Option<String>,
    refusal: Refusal,
}

impl Remediation {
    pub(crate) fn new(accepted: Accepted, finding: &Finding, reference: Reference) -> Self {
        let text = finding.remediation(reference.as_str()).map(|text| text.to_string());
        let device = finding.device().map(|device| device.name.clone());
        let refusal = Refusal::new(finding.code().as_str(), NOT_YET, finding.to_string(), reference);
        Self { accepted, device, text, refusal }
    }

    /// Of a device that is not at the level that every login asks for.
    pub(crate) fn below(
        accepted: Accepted,
        device: &Proven,
        assessment: &Assessment,
        level: &Level,
        reference: Reference,
    ) -> Self {
        let text = device.known().remediation(assessment, level, reference.as_str());
        let code = posture::Code::Facts.as_str();
        let refusal = Refusal::new(code, NOT_YET, cause(assessment, level), reference);
        Self { accepted, device: Some(device.name().to_string()), text: Some(text), refusal }
    }

    /// The connection it rests on.
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// The device's name.
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Code and cause, for the log.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// The lines that every channel is told: what failed and what to do.
    pub fn text(&self) -> String {
        self.text.clone().unwrap_or_else(|| format!("{}\n", self.refusal.line()))
    }
}

/// What came of a key that signed, taken as a device's.
#[derive(Debug)]
pub(crate) enum Judged {
    /// The device may be used.
    Proven(Proven),
    /// It is proven, and may not connect.
    Barred(Finding),
    /// It is no proof.
    NoProof(Unproven),
}

/// Why something is no proof, for the log alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unproven {
    pub(crate) code: posture::Code,
    pub(crate) cause: String,
}

impl From<Finding> for Unproven {
    fn from(finding: Finding) -> Self {
        Self { code: finding.code(), cause: finding.to_string() }
    }
}

/// Whether this key, if it signed, could be a device's proof. Reads the inventory and nothing else: no name is looked up.
///
/// # Errors
/// When the store fails.
pub(crate) async fn may_prove(
    store: &Store,
    config: &DeviceConfig,
    key: &PublicKey,
) -> Result<bool, StoreError> {
    let row = store.device_by_key(&fingerprint(key)).await?;
    let known = row.is_some_and(|row| matches!(row.state, DeviceState::Active | DeviceState::Locked));
    Ok(known && config.evidence == Evidence::Key)
}

/// What the inventory has under this key.
///
/// # Errors
/// When the store fails or the row cannot be read.
pub(crate) async fn on_record(store: &Store, key: &PublicKey) -> Result<Option<posture::Device>, StoreError> {
    store.device_by_key(&fingerprint(key)).await?.map(read).transpose()
}

/// Judges a key that has signed this login, as a device's. `tenant` is that of the operator who was named, looked up only
/// when the device is registered as theirs.
///
/// # Errors
/// When the row cannot be read.
pub(crate) fn judge(
    config: &DeviceConfig,
    key: &PublicKey,
    signed: &Algorithm,
    device: Option<posture::Device>,
    operator: &OperatorName,
    tenant: Option<&TenantName>,
) -> Result<Judged, StoreError> {
    let claim = Claim { operator: operator.as_str(), tenant: tenant.map(TenantName::as_str) };
    match posture::check_key(key, Some(signed), device, claim, demand(config)) {
        Ok(posture) => Ok(Judged::Proven(Proven::new(&posture, fingerprint(key))?)),
        Err(finding) if finding.code().proves_device() => Ok(Judged::Barred(finding)),
        Err(finding) => Ok(Judged::NoProof(finding.into())),
    }
}

/// The refusal of a machine that proved nothing: one text for all, the cause in the log.
pub(crate) fn no_proof(code: posture::Code, cause: impl AsRef<str>, reference: Reference) -> Refusal {
    let told = posture::NO_PROOF.strip_prefix(PREFIX).unwrap_or(posture::NO_PROOF);
    Refusal::new(code.as_str(), told, cause, reference).shown_as(NOT_TOLD)
}

/// `SHA256:...`, the name of a key everywhere.
pub(crate) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn demand(config: &DeviceConfig) -> Demand {
    let evidence = match config.evidence {
        Evidence::Bound => posture::Evidence::Bound,
        Evidence::Key => posture::Evidence::Key,
    };
    Demand { managed: config.require == Require::Managed, evidence }
}

/// A row of the inventory as the posture crate knows a device. What is registered here and not personal is managed.
fn read(row: store::Device) -> Result<posture::Device, StoreError> {
    let unreadable = |why: String| StoreError::Unreadable { noun: "device", name: row.name.clone(), why };
    let key = PublicKey::from_openssh(row.public_key.as_deref().unwrap_or_default());
    Ok(posture::Device {
        key: key.map_err(|why| unreadable(format!("its key: {why}")))?,
        state: row.state,
        name: row.name,
        owner: row.operator,
        tenant: row.tenant,
        kind: row.kind,
        personal: row.personal,
        managed: !row.personal,
    })
}
