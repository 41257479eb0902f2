//! The check of a device, in its order: the first that fails denies, with its code.
//! It never looks at the person: a device that does not pass ends the story before anybody's name, key or code is looked up.
//!
//! A plain device key is judged here. It is bound to the connection only by the transport's signature, so it is
//! [`Evidence::Key`], and counts only where the operator of the bastion says that this is enough.

use std::fmt;

use ssh_key::{Algorithm, PublicKey};

use crate::code::Code;
use crate::device::Device;
use crate::key::acceptable;
use crate::remediation::{Failing, Remediation};
use crate::report::{Facts, Report};
use crate::state::State;

/// The level of a device that the firm looks after and that is not its owner's own.
pub const MANAGED: &str = "managed";

/// How strongly a device was proven. Later is stronger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// A plain key of the inventory signed the login.
    Key,
    /// A certificate made on the device for this very connection.
    Bound,
}

impl Evidence {
    /// As the log writes it: `key` or `bound`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Bound => "bound",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the bastion's configuration asks of every device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// It must be managed and not personal.
    pub managed: bool,
    /// The weakest evidence that is enough.
    pub evidence: Evidence,
}

/// Who says to be sitting at the device; nothing of it is proven yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The operator named at login.
    pub operator: &'a str,
    /// That operator's tenant; `None` for an operator that does not exist.
    pub tenant: Option<&'a str>,
}

/// A device that proved itself and may be used by its owner. INVARIANT: only [`check_key`] and [`crate::certificate::check`]
/// make one.
#[derive(Debug)]
pub struct Posture {
    device: Device,
    evidence: Evidence,
    levels: Vec<&'static str>,
    report: Option<Report>,
}

impl Posture {
    pub(crate) fn new(device: Device, evidence: Evidence, report: Option<Report>) -> Self {
        let levels = if device.managed && !device.personal { vec![MANAGED] } else { Vec::new() };
        Self { device, evidence, levels, report }
    }

    /// The device, as on record when it was checked.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How strongly it was proven.
    #[must_use]
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// What it reaches: names of levels, as grants ask for them.
    #[must_use]
    pub fn levels(&self) -> &[&'static str] {
        &self.levels
    }

    /// What it said about itself; `None` for a plain key, which says nothing.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref()
    }

    /// The facts of the report; none where there is no report.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.report.as_ref().map(|report| &report.facts)
    }
}

/// Why a device was refused: the code and the full cause for the log, and what to do for whoever may hear it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    code: Code,
    device: Option<Box<Device>>,
    check: String,
    found: String,
    remedy: String,
}

impl Finding {
    /// The code of the check that failed.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The device on record under the key, where there is one.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        self.device.as_deref()
    }

    /// What to tell whoever sits at the device; `None` where the device is not proven and only [`crate::NO_PROOF`] may be
    /// said. `reference` is what the service desk finds the log entry by.
    #[must_use]
    pub fn remediation(&self, reference: &str) -> Option<Remediation> {
        let device = self.device.as_ref().filter(|_| self.code.proves_device())?;
        let failing = Failing { check: &self.check, found: &self.found, remedy: &self.remedy };
        Some(Remediation::new(device.kind, self.code, failing, reference))
    }
}

/// For the log: the device, what was checked and what was found. Not for the operator.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(device) = &self.device {
            write!(f, "device {}: ", device.name)?;
        }
        write!(f, "{}: {}", self.check, self.found)
    }
}

impl std::error::Error for Finding {}

/// Judges a plain device key. Call it only when the transport has verified that `key` signed this login (`signed` is that
/// signature's algorithm, where known): an offered key proves nothing.
///
/// `device` is what the inventory has under this key. The answer to an operator that does not exist is the answer to one that
/// is not the owner.
///
/// # Errors
/// The first check that fails, as a [`Finding`].
pub fn check_key(
    key: &PublicKey,
    signed: Option<&Algorithm>,
    device: Option<Device>,
    claim: Claim<'_>,
    demand: Demand,
) -> Result<Posture, Finding> {
    match judge(key, signed, device.as_ref(), claim, demand) {
        Ok(device) => Ok(Posture::new(device.clone(), Evidence::Key, None)),
        Err(failed) => Err(failed.of(device)),
    }
}

/// A check that failed, before it is known which device it was.
pub(crate) struct Failed {
    code: Code,
    check: &'static str,
    found: String,
    remedy: &'static str,
}

impl Failed {
    pub(crate) fn new(
        code: Code,
        check: &'static str,
        found: impl Into<String>,
        remedy: &'static str,
    ) -> Self {
        Self { code, check, found: found.into(), remedy }
    }

    pub(crate) fn of(self, device: Option<Device>) -> Finding {
        let Self { code, check, found, remedy } = self;
        Finding {
            code,
            device: device.map(Box::new),
            check: check.to_owned(),
            found,
            remedy: remedy.to_owned(),
        }
    }
}

/// The checks, one line each, in the order of their codes.
fn judge<'d>(
    key: &PublicKey,
    signed: Option<&Algorithm>,
    device: Option<&'d Device>,
    claim: Claim<'_>,
    demand: Demand,
) -> Result<&'d Device, Failed> {
    form(key, signed)?;
    let device = enrolled(key, device, claim)?;
    bound(demand)?;
    standing(device, demand)?;
    owner(device, claim)?;
    Ok(device)
}

fn form(key: &PublicKey, signed: Option<&Algorithm>) -> Result<(), Failed> {
    acceptable(key, signed).map_err(|refused| Failed {
        code: Code::Form,
        check: "key",
        found: refused.to_string(),
        remedy: "give the device a key of an accepted kind",
    })
}

pub(crate) fn enrolled<'d>(
    key: &PublicKey,
    device: Option<&'d Device>,
    claim: Claim<'_>,
) -> Result<&'d Device, Failed> {
    let failed = |found: String| Failed {
        code: Code::Enrolment,
        check: "enrolment",
        found,
        remedy: "have the device registered",
    };
    let device = device.ok_or_else(|| failed("no device has this key".to_owned()))?;
    if device.key.key_data() != key.key_data() {
        return Err(failed("the key that signed is not the one on record".to_owned()));
    }
    // A locked device is still proven, so that its owner can be told; one that is lost may be in anybody's hands.
    if !matches!(device.state, State::Active | State::Locked) {
        return Err(failed(format!("it is {}, not active", device.state)));
    }
    // Asked of the owner only: for everybody else, existing or not, the answer is that it is not theirs.
    if device.owner == claim.operator && claim.tenant != Some(device.tenant.as_str()) {
        return Err(failed("its tenant is not its owner's".to_owned()));
    }
    Ok(device)
}

fn bound(demand: Demand) -> Result<(), Failed> {
    if Evidence::Key >= demand.evidence {
        return Ok(());
    }
    Err(Failed {
        code: Code::Binding,
        check: "evidence",
        found: "a plain key, where a proof bound to the connection is required".to_owned(),
        remedy: "enrol the device with the agent",
    })
}

pub(crate) fn standing(device: &Device, demand: Demand) -> Result<(), Failed> {
    let (found, remedy) = match device {
        Device { state: State::Locked, .. } => {
            ("it is locked", "ask your administrator to unlock it, connect again")
        }
        Device { personal: true, .. } if demand.managed => {
            ("it is a personal one", "connect from one that your firm manages")
        }
        Device { managed: false, .. } if demand.managed => {
            ("it is not managed", "have it enrolled in your firm's management, connect again")
        }
        _ => return Ok(()),
    };
    Err(Failed { code: Code::Standing, check: "standing", found: found.to_owned(), remedy })
}

pub(crate) fn owner(device: &Device, claim: Claim<'_>) -> Result<(), Failed> {
    if device.owner == claim.operator {
        return Ok(());
    }
    Err(Failed {
        code: Code::Owner,
        check: "owner",
        found: "it is not registered for this operator".to_owned(),
        remedy: "log in as its owner, or connect from your own",
    })
}

#[cfg(test)]
mod tests;
