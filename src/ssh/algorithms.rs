//! The algorithms Bartizan offers to operators, named one by one.
//! Never offers SHA-1, CBC or group exchange, nor, unless the configuration asks for it, MACs that do not cover the ciphertext.

use std::borrow::Cow;

use russh::{Preferred, cipher, compression, kex, mac};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};

use crate::config::Profile;

/// What RFC 8308 and strict key exchange need to be announced as.
const EXTENSIONS: [kex::Name; 2] =
    [kex::EXTENSION_SUPPORT_AS_SERVER, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER];

/// What is offered under a profile.
pub(super) fn offered(profile: Profile) -> Preferred {
    let mut exchange = vec![kex::MLKEM768X25519_SHA256];
    if profile != Profile::Strict {
        exchange.extend([kex::CURVE25519, kex::CURVE25519_PRE_RFC_8731]);
    }
    exchange.extend(EXTENSIONS);
    Preferred {
        kex: exchange.into(),
        key: keys(),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: ciphers().into(),
        mac: macs(profile).into(),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// Host keys and, by the same list, the signatures operators may log in with.
fn keys() -> Cow<'static, [Algorithm]> {
    Cow::Owned(vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        // Announced so that clients offer them at all (RFC 8308 `server-sig-algs`).
        Algorithm::SkEd25519,
        Algorithm::SkEcdsaSha2NistP256,
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ])
}

/// Over the ciphertext; over the plain text last, and only where it is asked for.
fn macs(profile: Profile) -> Vec<mac::Name> {
    let mut macs = vec![mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM];
    if profile == Profile::Broad {
        macs.extend([mac::HMAC_SHA256, mac::HMAC_SHA512]);
    }
    macs
}

/// AES-GCM first where the processor has AES, ChaCha20 first where it has not.
fn ciphers() -> Vec<cipher::Name> {
    let gcm = [cipher::AES_128_GCM, cipher::AES_256_GCM];
    let mut ciphers = Vec::from(gcm);
    if has_aes() {
        ciphers.push(cipher::CHACHA20_POLY1305);
    } else {
        ciphers.insert(0, cipher::CHACHA20_POLY1305);
    }
    ciphers.extend([cipher::AES_256_CTR, cipher::AES_128_CTR]);
    ciphers
}

#[cfg(target_arch = "x86_64")]
fn has_aes() -> bool {
    std::arch::is_x86_feature_detected!("aes")
}

#[cfg(target_arch = "aarch64")]
fn has_aes() -> bool {
    std::arch::is_aarch64_feature_detected!("aes")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_aes() -> bool {
    false
}
