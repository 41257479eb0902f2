//! The session-bound device certificate: what it looks like, how the device makes it, how the bastion judges it.
//! It is never a login anywhere else: an ordinary sshd refuses its critical option, and it names no account.
//!
//! An OpenSSH user certificate (`PROTOCOL.certkeys`) for a throw-away Ed25519 key, signed by the device's key; key id and only
//! principal `device:<name>`; critical option [`POSTURE_ONLY`] without a value; one extension, [`REPORT`], the report as JSON
//! with the session identifier in it.

mod check;
mod form;
mod issue;

pub use check::{Binding, Enrolling, Serials, check, check_enrolling};
pub use issue::{DeviceKey, Fresh, IssueError, Issued, KeyFailed, issue};

use ssh_key::{Certificate, PublicKey};

/// The critical option that makes every other server refuse it. Its value is empty.
pub const POSTURE_ONLY: &str = "posture-only@bartizan";
/// The extension that carries the report.
pub const REPORT: &str = "posture-v1@bartizan";
/// The largest certificate, in bytes of its RFC 4253 form.
pub const LARGEST: usize = 32 * 1024;
/// How long before it is made a certificate is valid, in seconds: clocks differ.
pub const VALID_BEFORE: u64 = 60;
/// How long after it is made a certificate is valid, in seconds.
pub const VALID_AFTER: u64 = 120;
/// How old facts may be when a certificate is made, in seconds.
pub const OLDEST_FACTS: u64 = 5 * 60;
/// How far a serial may lie below the highest one seen: parallel logins arrive out of order.
pub const SERIAL_WINDOW: u64 = 1024;
/// The largest serial: what every database holds as a whole number.
pub const LARGEST_SERIAL: u64 = i64::MAX as u64;

/// What key id and principal begin with.
const DEVICE: &str = "device:";

/// The key that a certificate says it was signed with. Nothing is proven by it: it is what to look up before [`check`].
#[must_use]
pub fn signer(certificate: &Certificate) -> PublicKey {
    PublicKey::new(certificate.signature_key().clone(), "")
}

#[cfg(test)]
mod tests;
