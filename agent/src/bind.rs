//! Whether an agent connection belongs to an SSH connection with our bastion: the check of `session-bind@openssh.com`.
//! It never takes a host key's word for being the bastion's: only those that were pinned at enrolment count.

use ed25519_dalek::Verifier as _;
use posture::{KeyRefused, acceptable};
use ssh_key::certificate::CertType;
use ssh_key::public::KeyData;
use ssh_key::{Certificate, Fingerprint, HashAlg, PublicKey, Signature};

use crate::config::Bastion;
use crate::wire::SessionBind;

/// The lengths of an exchange hash, in bytes: SHA-1 to SHA-512.
const SESSION_ID: std::ops::RangeInclusive<usize> = 20..=64;
/// The largest host key or certificate, in bytes.
const LARGEST_HOST_KEY: usize = 32 * 1024;
const CERTIFICATE: &str = "-cert-v01@openssh.com";

/// The host keys that are our bastion's.
#[derive(Debug)]
pub(crate) struct Pins {
    keys: Vec<KeyData>,
    authorities: Vec<Fingerprint>,
    names: Vec<String>,
}

/// An SSH connection whose other end is our bastion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) session_id: Vec<u8>,
    /// As the server showed it: a plain key or a certificate.
    pub(crate) host_key: Vec<u8>,
    /// Of the plain key.
    pub(crate) host_key_sha256: [u8; 32],
}

/// Why a bind is not to our bastion.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unbound {
    #[error("the agent is being forwarded")]
    Forwarding,
    #[error("its session identifier is none")]
    SessionId,
    #[error("its host key cannot be read")]
    HostKey,
    #[error("its host key is not one of the bastion's")]
    Stranger,
    #[error("its host certificate is not the bastion's: {0}")]
    Certificate(&'static str),
    #[error("its host key cannot prove anything: {0}")]
    Weak(#[from] KeyRefused),
    #[error("the host key did not sign this session")]
    Signature,
}

impl Pins {
    /// What the configuration pins. Its lines were checked when it was read.
    pub(crate) fn of(bastion: &Bastion) -> Self {
        let read = |lines: &[String]| -> Vec<KeyData> {
            lines
                .iter()
                .filter_map(|line| Some(PublicKey::from_openssh(line).ok()?.key_data().clone()))
                .collect()
        };
        let authorities = read(&bastion.host_ca).iter().map(|key| key.fingerprint(HashAlg::Sha256)).collect();
        let names =
            bastion.names.iter().chain([&bastion.host]).map(|name| name.to_ascii_lowercase()).collect();
        Self { keys: read(&bastion.host_keys), authorities, names }
    }

    /// The SHA-256 of the first pinned host key.
    pub(crate) fn first_sha256(&self) -> Option<[u8; 32]> {
        self.keys.first()?.fingerprint(HashAlg::Sha256).sha256()
    }

    /// Whether a bind is to our bastion, now (Unix seconds).
    pub(crate) fn check(&self, bind: SessionBind<'_>, now: u64) -> Result<Bound, Unbound> {
        if bind.is_forwarding {
            return Err(Unbound::Forwarding);
        }
        if !SESSION_ID.contains(&bind.session_id.len()) {
            return Err(Unbound::SessionId);
        }
        let key = self.host_key(bind.host_key, now)?;
        let signature = Signature::try_from(bind.signature).map_err(|_| Unbound::Signature)?;
        acceptable(&key, Some(&signature.algorithm()))?;
        key.key_data().verify(bind.session_id, &signature).map_err(|_| Unbound::Signature)?;
        let sha256 = key.fingerprint(HashAlg::Sha256).sha256().ok_or(Unbound::HostKey)?;
        Ok(Bound {
            session_id: bind.session_id.to_vec(),
            host_key: bind.host_key.to_vec(),
            host_key_sha256: sha256,
        })
    }

    /// The plain host key, when it is the bastion's.
    fn host_key(&self, shown: &[u8], now: u64) -> Result<PublicKey, Unbound> {
        if shown.len() > LARGEST_HOST_KEY {
            return Err(Unbound::HostKey);
        }
        if is_certificate(shown) {
            let certificate = Certificate::from_bytes(shown).map_err(|_| Unbound::HostKey)?;
            self.certified(&certificate, now).map_err(Unbound::Certificate)?;
            return Ok(PublicKey::new(certificate.public_key().clone(), ""));
        }
        let key = PublicKey::from_bytes(shown).map_err(|_| Unbound::HostKey)?;
        if self.keys.contains(key.key_data()) { Ok(key) } else { Err(Unbound::Stranger) }
    }

    fn certified(&self, certificate: &Certificate, now: u64) -> Result<(), &'static str> {
        if certificate.cert_type() != CertType::Host {
            return Err("it is not a host's");
        }
        if !certificate.critical_options().is_empty() {
            return Err("it has an unknown critical option");
        }
        let ours = |name: &String| self.names.contains(&name.to_ascii_lowercase());
        if !certificate.valid_principals().iter().any(ours) {
            return Err("it is for another name");
        }
        let authority = PublicKey::new(certificate.signature_key().clone(), "");
        let signed = certificate.signature().algorithm();
        acceptable(&authority, Some(&signed)).map_err(|_| "its authority's key or signature is too weak")?;
        certificate
            .validate_at(now, &self.authorities)
            .map_err(|_| "it is expired or not by the bastion's authority")
    }
}

/// Whether a key in its RFC 4253 form is a certificate, by the algorithm it begins with.
fn is_certificate(shown: &[u8]) -> bool {
    crate::wire::Fields::of(shown).string().is_ok_and(|name| name.ends_with(CERTIFICATE.as_bytes()))
}

#[cfg(test)]
mod tests;
