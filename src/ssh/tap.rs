//! What our own key exchange says in the clear: keeps the host key's signature over the session identifier, so that a session
//! identifier that somebody claims can be told from ours.
//! Never changes a byte, sees none after the first NEWKEYS, and holds one packet at most.
//!
//! The identifier is not handed to a handler. It need not be: message 31 of the exchange (RFC 5656 section 4, and the hybrid
//! exchanges alike) is `K_S, Q_S, signature`, and what our host key signed there is the exchange hash, which for the first
//! exchange of a connection is the session identifier (RFC 4253 section 7.2).

use std::fmt;
use std::sync::{Arc, OnceLock};

use posture::certificate::Binding;
use russh::keys::signature::Verifier;
use ssh_key::{PublicKey, Signature};

/// Bytes of the identification line, RFC 4253 section 4.2.
const LINE: usize = 255;
/// Bytes of the largest packet of ours before NEWKEYS; with a post-quantum share and a host certificate it has four thousand.
const PACKET: usize = 32 << 10;
/// Bytes that may wait for the rest of their packet.
const WAITING: usize = PACKET + 4;
/// SSH_MSG_NEWKEYS.
const NEWKEYS: u8 = 21;
/// SSH_MSG_KEX_ECDH_REPLY, and SSH_MSG_KEX_HYBRID_REPLY.
const REPLY: u8 = 31;
/// Bytes of an exchange hash: SHA-256 to SHA-512. SHA-1 is not offered.
const HASH: std::ops::RangeInclusive<usize> = 32..=64;

/// Our signature of one connection's first key exchange, once there is one.
#[derive(Debug, Default)]
pub struct Exchange {
    signature: OnceLock<Signature>,
}

/// Our public host keys, by what a device calls them.
pub struct HostKeys(Vec<([u8; 32], PublicKey)>);

/// What one connection knows of itself.
#[derive(Debug, Clone)]
pub struct Bound {
    exchange: Arc<Exchange>,
    keys: Arc<HostKeys>,
}

/// Reads along what we send until NEWKEYS.
pub struct Tap {
    waiting: Vec<u8>,
    reading: Reading,
    exchange: Arc<Exchange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Line,
    Packets,
    Nothing,
}

impl HostKeys {
    /// Of these keys; one that cannot be written is none that a device can have seen.
    pub fn new(keys: Vec<PublicKey>) -> Self {
        let named = |key: PublicKey| {
            let digest = ring::digest::digest(&ring::digest::SHA256, &key.to_bytes().ok()?);
            Some((digest.as_ref().try_into().ok()?, key))
        };
        Self(keys.into_iter().filter_map(named).collect())
    }
}

impl Bound {
    /// What a connection knows whose key exchange this is, of a door with these keys.
    pub fn new(exchange: Arc<Exchange>, keys: Arc<HostKeys>) -> Self {
        Self { exchange, keys }
    }
}

impl Binding for Bound {
    /// Verified with the key as configured, never with one that was sent.
    fn is_ours(&self, session_id: &[u8], hostkey_sha256: &[u8]) -> bool {
        let Some(signature) = self.exchange.signature.get().filter(|_| HASH.contains(&session_id.len()))
        else {
            return false;
        };
        let named = self.keys.0.iter().find(|(digest, _)| digest.as_slice() == hostkey_sha256);
        named.is_some_and(|(_, key)| Verifier::verify(key, session_id, signature).is_ok())
    }
}

impl Tap {
    /// Reads along from the first byte that is sent, and keeps the signature in `exchange`.
    pub fn new(exchange: Arc<Exchange>) -> Self {
        Self { waiting: Vec::new(), reading: Reading::Line, exchange }
    }

    /// Whether there is nothing more to see.
    pub fn over(&self) -> bool {
        self.reading == Reading::Nothing
    }

    /// Reads what was sent. Anything but a key exchange ends the reading: then no identifier is ever ours.
    pub fn sent(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.over() {
            let (now, later) = bytes.split_at(bytes.len().min(WAITING - self.waiting.len().min(WAITING)));
            if now.is_empty() {
                return self.end();
            }
            self.waiting.extend_from_slice(now);
            bytes = later;
            if self.read().is_none() {
                return self.end();
            }
        }
    }

    /// Takes every whole line and packet out of what waits; `None` when it is to be left.
    fn read(&mut self) -> Option<()> {
        if self.reading == Reading::Line {
            match self.waiting.windows(2).take(LINE).position(|two| two == b"\r\n") {
                Some(end) if self.waiting.starts_with(b"SSH-2.0-") => drop(self.waiting.drain(..end + 2)),
                None if self.waiting.len() < LINE => return Some(()),
                _ => return None,
            }
            self.reading = Reading::Packets;
        }
        while let Some((length, _)) = self.waiting.split_first_chunk::<4>() {
            let length =
                usize::try_from(u32::from_be_bytes(*length)).ok().filter(|length| *length <= PACKET)?;
            let Some(packet) = self.waiting.get(4..4 + length) else { return Some(()) };
            let done = self.packet(packet)?;
            self.waiting.drain(..4 + length);
            if done {
                return None;
            }
        }
        Some(())
    }

    /// One packet, RFC 4253 section 6; `true` for the last that is in the clear.
    fn packet(&self, packet: &[u8]) -> Option<bool> {
        let (padding, rest) = packet.split_first()?;
        let payload = rest.get(..rest.len().checked_sub(usize::from(*padding))?)?;
        match payload.split_first()? {
            (&NEWKEYS, _) => return Some(true),
            (&REPLY, body) => {
                let signature = Signature::try_from(third(body)?).ok()?;
                // Another one before NEWKEYS would not be the first exchange's.
                self.exchange.signature.set(signature).ok()?;
            }
            _ => {}
        }
        Some(false)
    }

    fn end(&mut self) {
        self.reading = Reading::Nothing;
        self.waiting = Vec::new();
    }
}

/// The last of exactly three strings (RFC 4251 section 5).
fn third(body: &[u8]) -> Option<&[u8]> {
    let (_, rest) = string(body)?;
    let (_, rest) = string(rest)?;
    let (signature, rest) = string(rest)?;
    rest.is_empty().then_some(signature)
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

impl fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use russh::keys::signature::Signer as _;
    use ssh_key::PrivateKey;
    use ssh_key::private::Ed25519Keypair;

    use super::*;

    const HASHED: &[u8; 32] = b"the first exchange's hash, 32 by";

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    fn digest(key: &PrivateKey) -> Vec<u8> {
        let blob = key.public_key().to_bytes().unwrap();
        ring::digest::digest(&ring::digest::SHA256, &blob).as_ref().to_vec()
    }

    fn lengthy(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn packet(payload: &[u8]) -> Vec<u8> {
        lengthy(&[&[4], payload, &[0; 4]].concat())
    }

    fn reply(key: &PrivateKey, hash: &[u8]) -> Vec<u8> {
        let signature: Vec<u8> = key.try_sign(hash).unwrap().try_into().unwrap();
        let blob = key.public_key().to_bytes().unwrap();
        packet(&[&[REPLY][..], &lengthy(&blob), &lengthy(&[9; 1120]), &lengthy(&signature)].concat())
    }

    fn exchange(key: &PrivateKey) -> Vec<u8> {
        [b"SSH-2.0-x\r\n".to_vec(), packet(&[20; 900]), reply(key, HASHED), packet(&[NEWKEYS])].concat()
    }

    fn bound(sent: &[u8], piece: usize) -> (Bound, bool) {
        let exchange = Arc::new(Exchange::default());
        let mut tap = Tap::new(exchange.clone());
        for piece in sent.chunks(piece) {
            tap.sent(piece);
        }
        let keys = HostKeys::new(vec![key(1).public_key().clone(), key(2).public_key().clone()]);
        (Bound::new(exchange, Arc::new(keys)), tap.over())
    }

    #[test]
    fn what_our_host_key_signed_in_the_exchange_is_ours_and_nothing_else() {
        for piece in [1, 7, 1 << 20] {
            let (bound, over) = bound(&exchange(&key(2)), piece);
            assert!(over);
            assert!(bound.is_ours(HASHED, &digest(&key(2))));
            assert!(!bound.is_ours(HASHED, &digest(&key(1))), "another host key of ours");
            assert!(!bound.is_ours(HASHED, &digest(&key(3))), "no host key of ours");
            assert!(!bound.is_ours(b"another connection's identifier.", &digest(&key(2))));
            assert!(!bound.is_ours(&HASHED[..31], &digest(&key(2))));
            assert!(!bound.is_ours(HASHED, &[]));
        }
    }

    #[test]
    fn a_key_that_is_not_ours_binds_nothing_whatever_it_signs() {
        let (bound, _) = bound(&exchange(&key(3)), 100);
        for seed in 1..=3 {
            assert!(!bound.is_ours(HASHED, &digest(&key(seed))));
        }
    }

    #[test]
    fn nothing_is_read_after_newkeys() {
        let late = [exchange(&key(3)), reply(&key(2), HASHED)].concat();
        let (bound, over) = bound(&late, 64);
        assert!(over && !bound.is_ours(HASHED, &digest(&key(2))));
    }

    #[test]
    fn before_the_exchange_no_identifier_is_ours() {
        let whole = exchange(&key(2));
        let (bound, over) = bound(&whole[..whole.len() - 1200], 50);
        assert!(!over && !bound.is_ours(HASHED, &digest(&key(2))));
    }

    #[test]
    fn a_packet_or_line_that_is_too_long_ends_the_reading() {
        for sent in
            [vec![b'a'; LINE], [&b"SSH-2.0-x\r\n"[..], &[0, 1, 0, 0]].concat(), b"SSH-1.99-x\r\n".to_vec()]
        {
            assert!(bound(&sent, 30).1);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over_or_grow(sent in proptest::collection::vec(any::<u8>(), 0..4000), piece in 1..500_usize) {
            let mut tap = Tap::new(Arc::default());
            tap.sent(b"SSH-2.0-x\r\n");
            for piece in sent.chunks(piece) {
                tap.sent(piece);
                prop_assert!(tap.waiting.len() <= WAITING);
            }
        }
    }
}
