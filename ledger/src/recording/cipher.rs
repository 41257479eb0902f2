//! The encryption of frames: AES-256-GCM under a key derived for one file.
//!
//! Never draws randomness: the nonce is the frame's number, so a key must never meet the same number twice. That holds because
//! the key is bound to the header and a file is written once, from its first frame on.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::error::Unspecified;
use ring::hkdf::{HKDF_SHA256, Salt};

use super::layout::HEAD;
use crate::Digest;

/// What separates this use of the recording's key from any other.
const PURPOSE: &[u8] = b"bartizan recording v1 frames";

/// Encrypts and opens the frames of one file.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    /// The cipher of the file whose header hashes to `header`: `HKDF-SHA256(salt = header, key, PURPOSE)`. A header that was
    /// changed, or frames moved under another header, so open nothing.
    pub(super) fn new(key: &[u8; 32], header: &Digest) -> Result<Self, Unspecified> {
        let extracted = Salt::new(HKDF_SHA256, header.bytes()).extract(key);
        Ok(Self(LessSafeKey::new(UnboundKey::from(extracted.expand(&[PURPOSE], &AES_256_GCM)?))))
    }

    /// Encrypts `payload` in place.
    pub(super) fn seal(&self, seq: u64, head: &[u8; HEAD], payload: &mut [u8]) -> Result<Tag, Unspecified> {
        self.0.seal_in_place_separate_tag(nonce(seq), Aad::from(head), payload)
    }

    /// Decrypts `sealed` (payload and tag) in place and returns the payload.
    pub(super) fn open<'a>(
        &self,
        seq: u64,
        head: &[u8; HEAD],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], Unspecified> {
        self.0.open_in_place(nonce(seq), Aad::from(head), sealed).map(|payload| &*payload)
    }
}

/// Four zero bytes and the frame's number.
fn nonce(seq: u64) -> Nonce {
    let [a, b, c, d, e, f, g, h] = seq.to_be_bytes();
    Nonce::assume_unique_for_key([0, 0, 0, 0, a, b, c, d, e, f, g, h])
}
