//! On the device: a throw-away key and its certificate, for one connection.
//! It never signs anything but such a certificate with the device's key, and makes no certificate without a sound report.

use ed25519_dalek::{SignatureError, Signer};
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::KeyData;
use ssh_key::{Certificate, PrivateKey, PublicKey, Signature};
use zeroize::Zeroizing;

use super::{DEVICE, LARGEST, LARGEST_SERIAL, POSTURE_ONLY, REPORT, VALID_AFTER, VALID_BEFORE};
use crate::report::{Report, ReportError};

/// A device's private key, wherever it is kept. A file is one, a chip another.
pub trait DeviceKey {
    /// Its public half.
    fn public(&self) -> &PublicKey;

    /// Signs with it. RSA keys sign as `rsa-sha2-512` or `rsa-sha2-256`.
    ///
    /// # Errors
    /// When what keeps the key does not sign.
    fn sign(&self, message: &[u8]) -> Result<Signature, KeyFailed>;
}

/// What keeps the device's key did not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the device's key did not sign: {why}; see `bartizan-agent doctor`")]
pub struct KeyFailed {
    /// As it said.
    pub why: String,
}

/// Random bytes for one certificate, from the operating system; never to be used twice. Wiped when dropped.
pub struct Fresh {
    /// The throw-away key's.
    pub seed: Zeroizing<[u8; 32]>,
    /// The certificate's.
    pub nonce: [u8; 32],
}

/// A throw-away key and its certificate. `key` signs the one login and is forgotten.
pub struct Issued {
    /// The throw-away key.
    pub key: PrivateKey,
    /// Its certificate.
    pub certificate: Certificate,
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The report is not one.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The report is not this certificate's, or a serial that cannot be stored.
    #[error(
        "certificate refused: the report bears number {seq}, the certificate {serial}; number them alike from 1 up"
    )]
    Serial {
        /// Of the report.
        seq: u64,
        /// Of the certificate.
        serial: u64,
    },
    /// A device key with which the certificate is too large.
    #[error("certificate refused: {size} bytes, more than {LARGEST}; ask for fewer facts")]
    Large {
        /// Bytes.
        size: usize,
    },
    /// The library or the key refused.
    #[error("certificate refused: {0}; see `bartizan-agent doctor`")]
    Library(#[from] ssh_key::Error),
}

/// Makes a throw-away key and its certificate, valid from [`VALID_BEFORE`] seconds before `now` (Unix seconds) to
/// [`VALID_AFTER`] seconds after. `serial` must be greater than any used before with this device key, and the report's `seq`.
///
/// # Errors
/// When the report or the serial is not sound, or the key does not sign.
pub fn issue(
    device: &(impl DeviceKey + ?Sized),
    report: &Report,
    serial: u64,
    now: u64,
    fresh: &Fresh,
) -> Result<Issued, IssueError> {
    let seq = report.bind.seq;
    if seq != serial || serial == 0 || serial > LARGEST_SERIAL {
        return Err(IssueError::Serial { seq, serial });
    }
    let json = report.to_json()?;
    let pair = Ed25519Keypair::from_seed(&fresh.seed);
    let key = PrivateKey::new(KeypairData::Ed25519(pair), "")?;
    let id = format!("{DEVICE}{}", report.device.uid.as_str());
    let (from, until) = (now.saturating_sub(VALID_BEFORE), now.saturating_add(VALID_AFTER));
    let mut builder = Builder::new(fresh.nonce, key.public_key(), from, until)?;
    builder.serial(serial)?.cert_type(CertType::User)?.key_id(id.clone())?.valid_principal(id)?;
    builder.critical_option(POSTURE_ONLY, "")?.extension(REPORT, json)?;
    let certificate = builder.sign(&Signing(device))?;
    let size = certificate.to_bytes()?.len();
    if size > LARGEST {
        return Err(IssueError::Large { size });
    }
    Ok(Issued { key, certificate })
}

/// A device's key as the library takes one.
struct Signing<'k, K: ?Sized>(&'k K);

impl<K: DeviceKey + ?Sized> Signer<Signature> for Signing<'_, K> {
    fn try_sign(&self, message: &[u8]) -> Result<Signature, SignatureError> {
        self.0.sign(message).map_err(SignatureError::from_source)
    }
}

impl<K: DeviceKey + ?Sized> From<&Signing<'_, K>> for KeyData {
    fn from(Signing(key): &Signing<'_, K>) -> Self {
        key.public().key_data().clone()
    }
}
