//! POSTURE-001: the form of a certificate, before anything in it is believed or looked up.
//! It never verifies a signature: it only says what may be read further.

use ssh_key::certificate::CertType;
use ssh_key::public::KeyData;
use ssh_key::{Certificate, PublicKey};

use super::{DEVICE, LARGEST, LARGEST_SERIAL, POSTURE_ONLY, REPORT, signer};
use crate::key::{KeyRefused, acceptable};
use crate::report::{Report, ReportError};

/// What is wrong with a certificate's form.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormError {
    #[error("{size} bytes, more than {LARGEST}")]
    Size { size: usize },
    #[error("it cannot be written again: {0}")]
    Unwritable(ssh_key::Error),
    #[error("a host certificate, not a user's")]
    Host,
    #[error("its critical options are not {POSTURE_ONLY} alone, without a value")]
    Critical,
    #[error("its extensions are not {REPORT} alone")]
    Extensions,
    #[error("it is not for a throw-away ed25519 key")]
    Subject,
    #[error("its own key: {0}")]
    SubjectKey(KeyRefused),
    #[error("the device's key: {0}")]
    Signer(KeyRefused),
    #[error("signed by its own key")]
    OwnSigner,
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error("its serial is not 1 to {LARGEST_SERIAL}")]
    Serial,
    #[error("its serial, key id or principal is not that of its report")]
    Names,
}

/// Reads the report out of a certificate that has the form of ours.
pub(super) fn read(certificate: &Certificate) -> Result<Report, FormError> {
    let size = certificate.to_bytes().map_err(FormError::Unwritable)?.len();
    if size > LARGEST {
        return Err(FormError::Size { size });
    }
    if certificate.cert_type() != CertType::User {
        return Err(FormError::Host);
    }
    let mut critical = certificate.critical_options().iter();
    let alone = critical.next().is_some_and(|(name, value)| name == POSTURE_ONLY && value.is_empty());
    if !alone || critical.next().is_some() {
        return Err(FormError::Critical);
    }
    let mut extensions = certificate.extensions().iter();
    let (Some((_, json)), None) = (extensions.next().filter(|(name, _)| *name == REPORT), extensions.next())
    else {
        return Err(FormError::Extensions);
    };
    keys(certificate)?;
    let report = Report::parse(json.as_bytes())?;
    named_alike(certificate, &report)?;
    Ok(report)
}

fn keys(certificate: &Certificate) -> Result<(), FormError> {
    let subject = certificate.public_key();
    if !matches!(subject, KeyData::Ed25519(_)) {
        return Err(FormError::Subject);
    }
    acceptable(&PublicKey::new(subject.clone(), ""), None).map_err(FormError::SubjectKey)?;
    let signed = certificate.signature().algorithm();
    acceptable(&signer(certificate), Some(&signed)).map_err(FormError::Signer)?;
    if subject == certificate.signature_key() { Err(FormError::OwnSigner) } else { Ok(()) }
}

fn named_alike(certificate: &Certificate, report: &Report) -> Result<(), FormError> {
    let serial = certificate.serial();
    if serial == 0 || serial > LARGEST_SERIAL {
        return Err(FormError::Serial);
    }
    let names_device = |name: &str| name.strip_prefix(DEVICE) == Some(report.device.uid.as_str());
    let principal = match certificate.valid_principals() {
        [principal] => names_device(principal),
        _ => false,
    };
    let alike = principal && names_device(certificate.key_id()) && serial == report.bind.seq;
    if alike { Ok(()) } else { Err(FormError::Names) }
}
