//! The algorithms Bartizan takes from targets, and russh's settings for that leg.
//! Never takes SHA-1, CBC or plain MACs; a target that has nothing better is refused.

use std::borrow::Cow;
use std::time::Duration;

use russh::client::Config;
use russh::{Limits, Preferred, SshId, cipher, compression, kex, mac};
use ssh_key::{Algorithm, EcdsaCurve, HashAlg};

use super::hostkey::KnownHost;

/// The window of the one channel of the connection, in bytes. What is read is bounded by the gate.
const WINDOW: u32 = 4 << 20;
/// The bytes after which new keys are agreed on (RFC 4253 section 9).
const REKEY: usize = 1 << 30;
/// Messages russh may queue: the gate bounds them by bytes, so the count must never be what stops the loop.
const UNBOUNDED: usize = usize::MAX >> 4;

/// russh's settings for a connection to a target that is known by `known`.
pub(super) fn config(known: &KnownHost) -> Config {
    Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Bartizan")),
        limits: Limits::new(REKEY, REKEY, Duration::from_secs(3600)),
        window_size: WINDOW,
        channel_buffer_size: UNBOUNDED,
        preferred: offered(known),
        // Sent so that a target's own ClientAlive does not end a session whose gate is closed; never counted.
        keepalive_interval: Some(Duration::from_secs(15)),
        keepalive_max: 0,
        nodelay: true,
        ..Config::default()
    }
}

fn offered(known: &KnownHost) -> Preferred {
    let pinned = known.algorithms();
    Preferred {
        kex: Cow::Borrowed(&[
            kex::MLKEM768X25519_SHA256,
            kex::CURVE25519,
            kex::CURVE25519_PRE_RFC_8731,
            kex::ECDH_SHA2_NISTP256,
            kex::ECDH_SHA2_NISTP384,
            kex::ECDH_SHA2_NISTP521,
            kex::DH_G16_SHA512,
            kex::DH_G14_SHA256,
            kex::EXTENSION_SUPPORT_AS_CLIENT,
            kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
        ]),
        host_key_certificates: if known.authorities.is_empty() {
            Cow::Borrowed(&[])
        } else {
            host_keys().into()
        },
        key: if pinned.is_empty() { host_keys().into() } else { pinned.into() },
        cipher: Cow::Borrowed(&[
            cipher::AES_128_GCM,
            cipher::AES_256_GCM,
            cipher::CHACHA20_POLY1305,
            cipher::AES_256_CTR,
            cipher::AES_128_CTR,
        ]),
        mac: Cow::Borrowed(&[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512]),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

fn host_keys() -> Vec<Algorithm> {
    vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ]
}
