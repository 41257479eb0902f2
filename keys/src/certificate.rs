//! What a certificate may say: names, validity and options, checked before anything is signed.
//! It never signs, and never lets through a certificate that is valid for every name, from everywhere or for long.
//!
//! Format: OpenSSH `PROTOCOL.certkeys`. All times are Unix seconds.

use std::net::IpAddr;

/// The longest a login to a target may be valid, in seconds. Callers ask for two minutes; this is the wall behind them.
pub const LONGEST_LOGIN: u64 = 10 * 60;
/// The longest a host certificate may be valid, in seconds.
pub const LONGEST_HOST: u64 = 24 * 60 * 60;

const MOST_NAMES: usize = 64;
const MOST_SOURCES: usize = 64;
const LONGEST_KEY_ID: usize = 255;

/// What a login to a target is asked to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionCertificate {
    /// The one login name on the target that it is good for.
    pub account: String,
    /// What the target's own log shall show: session and operator. At most 255 letters, digits, blanks and `.-_:=@/+`.
    pub key_id: String,
    /// From where the target will see the bastion come (`source-address`); at least one.
    pub source_addresses: Vec<IpAddr>,
    /// Valid from, Unix seconds, inclusive.
    pub valid_after: u64,
    /// Valid until, Unix seconds, exclusive; at most [`LONGEST_LOGIN`] later.
    pub valid_before: u64,
    /// For the target's log and for revocation.
    pub serial: u64,
    /// What the session may do besides running programs with or without a terminal.
    pub allow: Allow,
}

/// What a session's certificate allows besides `permit-pty`; nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allow {
    /// `permit-agent-forwarding`.
    pub agent: bool,
    /// `permit-port-forwarding`.
    pub forward: bool,
    /// `permit-X11-forwarding`.
    pub x11: bool,
}

/// Why a certificate was not made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Without a name OpenSSH takes a certificate for all names.
    #[error("certificate refused: no name, which would be good for every name; give at least one")]
    NoName,
    /// More names than anybody has.
    #[error("certificate refused: {count} names; give at most {MOST_NAMES}")]
    ManyNames {
        /// How many were given.
        count: usize,
    },
    /// A host name OpenSSH could read as a pattern, or no host name at all.
    #[error(
        "certificate refused: {name:?} is not a host name; use letters, digits, `.`, `-`, `_` and `:`, at most 253"
    )]
    HostName {
        /// The name as given.
        name: String,
    },
    /// Not an account name.
    #[error(
        "certificate refused: {account:?} is not an account name; use letters, digits, `.`, `-` and `_`, at most 64"
    )]
    Account {
        /// The name as given.
        account: String,
    },
    /// It would break the target's log line.
    #[error(
        "certificate refused: the key id must be 1 to {LONGEST_KEY_ID} letters, digits, blanks and `.-_:=@/+`"
    )]
    KeyId,
    /// Without a source a stolen certificate works from everywhere.
    #[error(
        "certificate refused: {count} source addresses; give 1 to {MOST_SOURCES}, as the target sees the bastion"
    )]
    Sources {
        /// How many were given.
        count: usize,
    },
    /// `0.0.0.0` or `::` is no address to come from.
    #[error(
        "certificate refused: {address} is no source address; give the one the target sees the bastion come from"
    )]
    Unspecified {
        /// The address as given.
        address: IpAddr,
    },
    /// Ends before it begins, or lasts too long.
    #[error(
        "certificate refused: valid from {valid_after} to {valid_before}; the end must be later, by at most {longest} seconds"
    )]
    Validity {
        /// Unix seconds.
        valid_after: u64,
        /// Unix seconds.
        valid_before: u64,
        /// Seconds.
        longest: u64,
    },
    /// No randomness for the key or the nonce.
    #[error(transparent)]
    Random(#[from] crate::RandomError),
    /// The library refused; with the checks above it has no reason to.
    #[error("certificate refused: {0}; report this as a fault of bartizan")]
    Library(#[from] ssh_key::Error),
}

impl SessionCertificate {
    /// All rules of a login's certificate.
    pub(crate) fn check(&self) -> Result<(), CertificateError> {
        let account = self.account.as_bytes();
        let first = account.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        if !first || account.len() > 64 || !account.iter().all(|byte| is_name(*byte)) {
            return Err(CertificateError::Account { account: self.account.clone() });
        }
        // sshd writes `ID <key id> (serial <n>) CA <key>`: without brackets and quotes nothing can be added to that.
        let plain = |byte| is_name(byte) || b" :=@/+".contains(&byte);
        let length = self.key_id.len();
        if length == 0 || length > LONGEST_KEY_ID || !self.key_id.bytes().all(plain) {
            return Err(CertificateError::KeyId);
        }
        let count = self.source_addresses.len();
        if count == 0 || count > MOST_SOURCES {
            return Err(CertificateError::Sources { count });
        }
        let nowhere = |address: &&IpAddr| address.to_canonical().is_unspecified();
        if let Some(address) = self.source_addresses.iter().find(nowhere) {
            return Err(CertificateError::Unspecified { address: *address });
        }
        lasts(self.valid_after, self.valid_before, LONGEST_LOGIN)
    }

    /// The value of `source-address`: comma-separated CIDR blocks of one address each.
    pub(crate) fn source_list(&self) -> String {
        let block = |address: &IpAddr| match address.to_canonical() {
            IpAddr::V4(v4) => format!("{v4}/32"),
            IpAddr::V6(v6) => format!("{v6}/128"),
        };
        self.source_addresses.iter().map(block).collect::<Vec<_>>().join(",")
    }
}

/// Host names as principals, in lower case as OpenSSH compares them.
///
/// `*` and `?` are refused: OpenSSH matches the principals of host certificates as patterns.
pub(crate) fn host_names(names: &[String]) -> Result<Vec<String>, CertificateError> {
    if names.is_empty() {
        return Err(CertificateError::NoName);
    }
    if names.len() > MOST_NAMES {
        return Err(CertificateError::ManyNames { count: names.len() });
    }
    let lower = |name: &String| {
        let plain = name.bytes().all(|byte| is_name(byte) || byte == b':');
        if name.is_empty() || name.len() > 253 || !plain {
            return Err(CertificateError::HostName { name: name.clone() });
        }
        Ok(name.to_ascii_lowercase())
    };
    names.iter().map(lower).collect()
}

/// The end is later than the beginning, by at most `longest` seconds.
pub(crate) fn lasts(valid_after: u64, valid_before: u64, longest: u64) -> Result<(), CertificateError> {
    match valid_before.checked_sub(valid_after) {
        Some(1..) if valid_before - valid_after <= longest => Ok(()),
        _ => Err(CertificateError::Validity { valid_after, valid_before, longest }),
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}
