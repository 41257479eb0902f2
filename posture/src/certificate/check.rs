//! At the bastion: the checks of a device's certificate, in their order. The first that fails denies, with its code.
//! It never looks at the person, and never reads the facts: what they are worth is for the policy (POSTURE-009).

use ssh_key::{Certificate, HashAlg, PublicKey};

use super::{OLDEST_FACTS, SERIAL_WINDOW, VALID_AFTER, VALID_BEFORE, form, signer};
use crate::check::{Claim, Demand, Evidence, Failed, Finding, Posture, enrolled, owner, standing};
use crate::code::Code;
use crate::device::Device;
use crate::report::Report;

/// What the connection knows of itself.
pub trait Binding {
    /// Whether `session_id` is this connection's session identifier, and `hostkey_sha256` the SHA-256 of a host key of ours: of
    /// the plain public key in its RFC 4253 form, also where it was shown in a certificate.
    fn is_ours(&self, session_id: &[u8], hostkey_sha256: &[u8]) -> bool;
}

/// The serials of one device that were accepted before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Serials {
    /// The highest ever; 0 for none.
    pub highest: u64,
    /// Those of the last three minutes at least: a certificate is valid no longer.
    pub recent: Vec<u64>,
}

/// A key that asks to be enrolled, proven to be held by who is on this connection.
#[derive(Debug)]
pub struct Enrolling {
    /// The device's key to be.
    pub key: PublicKey,
    /// What it says about itself.
    pub report: Report,
    /// To be stored with the device: it counts as used.
    pub serial: u64,
}

/// Judges a device's certificate. Call it only when the transport has verified that the certificate's own key signed this
/// login: an offered certificate proves nothing.
///
/// `device` is what the inventory has under [`signer`] of it, `now` Unix seconds. The serial that comes with the posture must
/// be stored, atomically, as seen: two logins with one serial must not both succeed.
///
/// # Errors
/// The first check that fails, as a [`Finding`].
pub fn check(
    certificate: &Certificate,
    device: Option<Device>,
    claim: Claim<'_>,
    demand: Demand,
    binding: &dyn Binding,
    seen: &Serials,
    now: u64,
) -> Result<(Posture, u64), Finding> {
    match judge(certificate, device.as_ref(), claim, demand, binding, seen, now) {
        Ok((device, report)) => {
            Ok((Posture::new(device.clone(), Evidence::Bound, Some(report)), certificate.serial()))
        }
        Err(failed) => Err(failed.of(device)),
    }
}

/// Judges the certificate of a device that is not enrolled yet: everything that needs no inventory. The token that comes with
/// it says whose device it is to be.
///
/// # Errors
/// The first check that fails, as a [`Finding`] without a device.
pub fn check_enrolling(
    certificate: &Certificate,
    binding: &dyn Binding,
    now: u64,
) -> Result<Enrolling, Finding> {
    let judged = || -> Result<Report, Failed> {
        let report = well_formed(certificate)?;
        signed(certificate)?;
        bound(&report, binding)?;
        timely(certificate, &report, now)?;
        Ok(report)
    };
    let report = judged().map_err(|failed| failed.of(None))?;
    Ok(Enrolling { key: signer(certificate), report, serial: certificate.serial() })
}

/// The checks, one line each, in the order of their codes.
fn judge<'d>(
    certificate: &Certificate,
    device: Option<&'d Device>,
    claim: Claim<'_>,
    demand: Demand,
    binding: &dyn Binding,
    seen: &Serials,
    now: u64,
) -> Result<(&'d Device, Report), Failed> {
    let report = well_formed(certificate)?;
    let device = enrolled(&signer(certificate), device, claim)?;
    named(device, &report)?;
    signed(certificate)?;
    bound(&report, binding)?;
    timely(certificate, &report, now)?;
    unused(certificate.serial(), seen)?;
    standing(device, demand)?;
    owner(device, claim)?;
    Ok((device, report))
}

/// 001
fn well_formed(certificate: &Certificate) -> Result<Report, Failed> {
    form::read(certificate).map_err(|wrong| {
        Failed::new(Code::Form, "certificate", wrong.to_string(), "bring the agent to the bastion's version")
    })
}

/// 002
fn named(device: &Device, report: &Report) -> Result<(), Failed> {
    if report.device.uid.as_str() == device.name {
        return Ok(());
    }
    let found = "it calls itself by another device's name";
    Err(Failed::new(Code::Enrolment, "enrolment", found, "enrol the device again"))
}

/// 003
fn signed(certificate: &Certificate) -> Result<(), Failed> {
    let wrong = || {
        let found = "the certificate is not signed by the device's key";
        Failed::new(Code::Signature, "signature", found, "enrol the device again")
    };
    let device = certificate.signature_key().fingerprint(HashAlg::Sha256);
    // At its own first second: whether it is valid now is asked later, under its own code.
    certificate.validate_at(certificate.valid_after(), [&device]).map_err(|_| wrong())
}

/// 004
fn bound(report: &Report, binding: &dyn Binding) -> Result<(), Failed> {
    let failed = |found: &str| {
        let remedy = "connect directly, without a machine in between";
        Err(Failed::new(Code::Binding, "binding", found, remedy))
    };
    if report.bind.is_forwarding {
        return failed("it came through a forwarded agent");
    }
    if !binding.is_ours(report.bind.session_id.bytes(), report.bind.hostkey_sha256.bytes()) {
        return failed("it was made for another connection or another host key");
    }
    Ok(())
}

/// 005, the times
fn timely(certificate: &Certificate, report: &Report, now: u64) -> Result<(), Failed> {
    let (from, until) = (certificate.valid_after(), certificate.valid_before());
    let failed = |found: String| {
        let remedy = "set the device's clock, run `bartizan-agent refresh`, connect again";
        Err(Failed::new(Code::Freshness, "freshness", found, remedy))
    };
    if until.saturating_sub(from) > VALID_BEFORE + VALID_AFTER {
        return failed(format!(
            "valid for {} s, longer than a certificate may be",
            until.saturating_sub(from)
        ));
    }
    if now < from {
        return failed(format!("not valid for another {} s", from - now));
    }
    if now >= until {
        return failed(format!("expired {} s ago", now - until));
    }
    if report.collected_at > now.saturating_add(VALID_BEFORE) {
        return failed(format!("its facts are from {} s in the future", report.collected_at - now));
    }
    let age = now.saturating_sub(report.collected_at);
    if age > OLDEST_FACTS + VALID_AFTER {
        return failed(format!("its facts are {age} s old"));
    }
    Ok(())
}

/// 005, the serial
fn unused(serial: u64, seen: &Serials) -> Result<(), Failed> {
    let failed = |found: String| Err(Failed::new(Code::Freshness, "serial", found, "connect again"));
    if seen.recent.contains(&serial) {
        return failed(format!("number {serial} was used before"));
    }
    if serial < seen.highest.saturating_sub(SERIAL_WINDOW) {
        return failed(format!("number {serial} is far below {}, the highest seen", seen.highest));
    }
    Ok(())
}
