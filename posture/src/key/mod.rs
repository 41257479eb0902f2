//! Which public keys count, for devices and persons alike.
//! It never accepts a key because a library can verify it: what is not listed here is refused.

use ssh_key::public::{KeyData, RsaPublicKey};
use ssh_key::{Algorithm, PublicKey};

/// RSA modulus sizes in bits that are accepted.
const RSA_BITS: std::ops::RangeInclusive<usize> = 3072..=8192;
/// The tag of an uncompressed curve point (SEC 1 section 2.3.3), the only form RFC 5656 section 3.1 asks for.
const UNCOMPRESSED: u8 = 4;

/// Why a key, or the way it signed, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefused {
    /// An algorithm that is not on the list.
    #[error(
        "key refused: {kind:?} is not accepted; use ed25519, ecdsa, rsa of 3072 bits or more, or a security key"
    )]
    Kind {
        /// The algorithm's name.
        kind: String,
    },
    /// A certificate where a plain key belongs.
    #[error("key refused: it is a certificate; give the plain public key")]
    Certificate,
    /// Too weak, or so long that checking a signature is an attack.
    #[error("key refused: rsa with {bits} bits; make one with 3072 to 8192, or better an ed25519 key")]
    RsaSize {
        /// Bits of the modulus.
        bits: usize,
    },
    /// With exponent 1 anybody can sign; even numbers are no RSA key.
    #[error("key refused: its rsa numbers are not those of a sound key; make a new key with `ssh-keygen`")]
    RsaNumbers,
    /// A curve point that is none, is packed, or under which anybody can sign.
    #[error("key refused: its curve point is not that of a sound key; make a new key with `ssh-keygen`")]
    Point,
    /// A security key's credential for something else than SSH.
    #[error(
        "key refused: this security key was made for {application:?}, not for ssh; make one with `ssh-keygen -t ed25519-sk`"
    )]
    Application {
        /// What it was made for.
        application: String,
    },
    /// `ssh-rsa`, which is SHA-1.
    #[error(
        "signature refused: it uses SHA-1 (ssh-rsa); use a client that signs with rsa-sha2-256 or rsa-sha2-512"
    )]
    Sha1,
    /// The signature's algorithm is not the key's.
    #[error("signature refused: a {key} key cannot sign as {signature:?}; use the key's own algorithm")]
    Mismatch {
        /// The key's algorithm.
        key: String,
        /// The signature's algorithm.
        signature: String,
    },
}

/// Whether a public key may prove anything here: Ed25519, ECDSA on P-256, P-384 or P-521, RSA of 3072 to 8192 bits, and
/// security keys (`sk-`) of both kinds, made for `ssh:`. `signed` is the algorithm of a signature by it, where there is one:
/// it must be the key's own, and for RSA one of `rsa-sha2-256` and `rsa-sha2-512` (RFC 8332), never `ssh-rsa`.
///
/// # Errors
/// [`KeyRefused`], naming what to use instead.
pub fn acceptable(key: &PublicKey, signed: Option<&Algorithm>) -> Result<(), KeyRefused> {
    match key.key_data() {
        KeyData::Ed25519(key) => point_is_strong(key.as_ref())?,
        KeyData::Ecdsa(key) => point_is_plain(key.as_sec1_bytes())?,
        KeyData::Rsa(key) => rsa_is_sound(key)?,
        KeyData::SkEd25519(key) => {
            made_for_ssh(key.application())?;
            point_is_strong(key.public_key().as_ref())?;
        }
        KeyData::SkEcdsaSha2NistP256(key) => {
            made_for_ssh(key.application())?;
            point_is_plain(key.ec_point().as_bytes())?;
        }
        KeyData::Certificate(_) => return Err(KeyRefused::Certificate),
        other => return Err(KeyRefused::Kind { kind: other.algorithm().to_string() }),
    }
    signed.map_or(Ok(()), |signed| signed_as_itself(&key.algorithm(), signed))
}

fn signed_as_itself(key: &Algorithm, signed: &Algorithm) -> Result<(), KeyRefused> {
    match (key, signed) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { hash: Some(_) }) => Ok(()),
        (Algorithm::Rsa { .. }, Algorithm::Rsa { hash: None }) => Err(KeyRefused::Sha1),
        (key, signed) if key == signed => Ok(()),
        (key, signed) => Err(KeyRefused::Mismatch { key: key.to_string(), signature: signed.to_string() }),
    }
}

/// Bits are counted in the number itself: the library rounds up to whole bytes.
fn rsa_is_sound(key: &RsaPublicKey) -> Result<(), KeyRefused> {
    let (Some(modulus), Some(exponent)) = (key.n().as_positive_bytes(), key.e().as_positive_bytes()) else {
        return Err(KeyRefused::RsaNumbers);
    };
    let bits = bits(modulus);
    if !RSA_BITS.contains(&bits) {
        return Err(KeyRefused::RsaSize { bits });
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    // 3 is the smallest exponent that is one; beyond 32 bits nothing makes them and the library stops soon after.
    let fitting = (2..=32).contains(&self::bits(exponent));
    if odd(modulus) && odd(exponent) && fitting { Ok(()) } else { Err(KeyRefused::RsaNumbers) }
}

/// How many bits a big-endian number has.
fn bits(number: &[u8]) -> usize {
    let mut digits = number.iter().skip_while(|byte| **byte == 0);
    match digits.next() {
        Some(first) => 8 - first.leading_zeros() as usize + 8 * digits.count(),
        None => 0,
    }
}

/// Under a point of small order a signature can be made that is right for nearly every message, without any private key.
fn point_is_strong(point: &[u8; 32]) -> Result<(), KeyRefused> {
    match ed25519_dalek::VerifyingKey::from_bytes(point) {
        Ok(key) if !key.is_weak() => Ok(()),
        _ => Err(KeyRefused::Point),
    }
}

/// A packed point is the same key in other bytes, so that a look-up by bytes would miss it.
fn point_is_plain(point: &[u8]) -> Result<(), KeyRefused> {
    if point.first() == Some(&UNCOMPRESSED) { Ok(()) } else { Err(KeyRefused::Point) }
}

/// OpenSSH makes them for `ssh:` or `ssh:something`; a credential for a web site must not open a door here.
fn made_for_ssh(application: &str) -> Result<(), KeyRefused> {
    if application.starts_with("ssh:") {
        Ok(())
    } else {
        Err(KeyRefused::Application { application: application.to_owned() })
    }
}

#[cfg(test)]
mod tests;
