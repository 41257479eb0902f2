//! Whether a user certificate opens this server: authority, type, principal, dates, source and critical options.
//! It never looks at a plain key and knows no clock: the time is an argument.

use std::net::IpAddr;

use ssh_key::certificate::CertType;
use ssh_key::{Algorithm, Certificate, HashAlg, PublicKey};

/// What the certificate is held against.
pub(crate) struct Circumstances<'a> {
    pub(crate) user_ca: &'a PublicKey,
    /// The login name of the request.
    pub(crate) login: &'a str,
    /// The only account this server can be.
    pub(crate) own: &'a str,
    pub(crate) peer: IpAddr,
    /// Seconds since 1970 UTC.
    pub(crate) now: u64,
}

/// Why a certificate was refused; for the log, never for the peer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Refused {
    #[error("the login name is not the account this server runs as")]
    OtherAccount,
    #[error("a host certificate cannot log in")]
    NotUser,
    #[error("key or signature algorithm {0} is not accepted")]
    Algorithm(String),
    #[error("not signed by the trusted authority, or outside its dates")]
    Untrusted,
    #[error("the certificate does not name the account as principal")]
    Principal,
    #[error("critical option {0} is not understood or malformed")]
    Option(String),
    #[error("the certificate is not valid from this address")]
    Source,
}

/// Checks everything OpenSSH's `PROTOCOL.certkeys` asks of a server.
pub(crate) fn check(certificate: &Certificate, at: &Circumstances<'_>) -> Result<(), Refused> {
    if at.login != at.own {
        return Err(Refused::OtherAccount);
    }
    if certificate.cert_type() != CertType::User {
        return Err(Refused::NotUser);
    }
    for algorithm in [certificate.algorithm(), certificate.signature().algorithm()] {
        if !matches!(algorithm, Algorithm::Ed25519 | Algorithm::Ecdsa { .. }) {
            return Err(Refused::Algorithm(algorithm.to_string()));
        }
    }
    let ca = at.user_ca.fingerprint(HashAlg::Sha256);
    certificate.validate_at(at.now, [&ca]).map_err(|_| Refused::Untrusted)?;
    // An empty list would mean everybody: never here.
    if !certificate.valid_principals().iter().any(|name| name == at.own) {
        return Err(Refused::Principal);
    }
    for (name, value) in certificate.critical_options().iter() {
        match name.as_str() {
            "source-address" if allows(value, at.peer)? => {}
            "source-address" => return Err(Refused::Source),
            _ => return Err(Refused::Option(name.clone())),
        }
    }
    Ok(())
}

/// Whether the comma-separated list of networks holds the peer; one malformed entry refuses all.
fn allows(list: &str, peer: IpAddr) -> Result<bool, Refused> {
    let mut allowed = false;
    for entry in list.split(',') {
        allowed |= holds(entry, peer.to_canonical())
            .ok_or_else(|| Refused::Option(format!("source-address={}", list.escape_default())))?;
    }
    Ok(allowed)
}

/// Whether `ADDRESS[/BITS]` holds the peer; `None` when it is malformed.
fn holds(network: &str, peer: IpAddr) -> Option<bool> {
    let (address, bits) = match network.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (network, None),
    };
    Some(match (address.parse().ok()?, peer) {
        (IpAddr::V4(network), IpAddr::V4(peer)) => {
            let spare = 32u32.checked_sub(bits.unwrap_or(32))?;
            (network.to_bits() ^ peer.to_bits()).checked_shr(spare).unwrap_or(0) == 0
        }
        (IpAddr::V6(network), IpAddr::V6(peer)) => {
            let spare = 128u32.checked_sub(bits.unwrap_or(128))?;
            (network.to_bits() ^ peer.to_bits()).checked_shr(spare).unwrap_or(0) == 0
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
