//! A device that is not as a target asks, or will not be: in words for whoever sits at it, and for the log.
//! It never decides: which level is missing is the policy's answer.

use policy::{Assessment, Bundle, Denial, Level, Missing, Permit};

use crate::device::{Known, cause};

/// What a device is not that a grant or the login asks for.
#[derive(Debug)]
pub struct Below {
    pub(super) level: Level,
    pub(super) assessment: Assessment,
}

/// The level that a device would have to be at; the first of what is missing, for it is what is told first.
pub(super) fn lacking_level(denial: &Denial) -> Option<Level> {
    denial.missing.iter().find_map(|missing| match missing {
        Missing::Posture(level) => Some(level.clone()),
        _ => None,
    })
}

/// What will bar the device from the levels that this permit rests on, each when its day comes.
pub(super) fn warnings(bundle: &Bundle, permit: &Permit, assessment: &Assessment) -> Vec<String> {
    let grant = bundle.grants().iter().find(|grant| grant.name() == permit.grant());
    let levels =
        bundle.login().posture().into_iter().chain(grant.and_then(|grant| grant.require().posture()));
    let mut lines: Vec<String> = levels
        .flat_map(|level| assessment.warning(level))
        .map(|of| format!("bartizan: {}: {} ({}); {}", of.check, of.failed, of.mode, of.do_))
        .collect();
    lines.sort();
    lines.dedup();
    lines
}

impl Below {
    /// Why, in full. For the log.
    pub fn cause(&self) -> String {
        cause(&self.assessment, &self.level)
    }

    /// What whoever sits at the device is told.
    pub fn text(&self, device: &Known, reference: &str) -> String {
        device.remediation(&self.assessment, &self.level, reference)
    }
}
