//! The 32 bytes of a SHA-256, and their two texts: hex for people, base64 for notes.
//!
//! Never hashes: who makes a digest says what went into it.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A SHA-256 digest. Shown and serialised as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// A text that was to be a digest and is not.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the digest is not 64 lower-case hex digits")]
pub struct DigestError;

impl Digest {
    /// The digest with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest as standard base64 with padding (44 characters), as C2SP notes write it.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// The digest that [`Digest::to_base64`] wrote.
    pub fn from_base64(text: &str) -> Option<Self> {
        Some(Self(BASE64.decode(text.as_bytes()).ok()?.try_into().ok()?))
    }

    /// SHA-256 over the concatenation of `parts`.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            hash.update(part);
        }
        Self::finish(hash)
    }

    /// The digest of everything `hash` has taken; `hash` is a SHA-256.
    pub(crate) fn finish(hash: ring::digest::Context) -> Self {
        let mut bytes = [0; 32];
        // INVARIANT: the context is SHA-256, so both sides are 32 bytes and the whole digest is copied.
        for (to, from) in bytes.iter_mut().zip(hash.finish().as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| DigestError)?;
        Ok(Self(bytes.try_into().map_err(|_| DigestError)?))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_come_back_as_the_digest() {
        let digest = Digest::of(&[b"a", b"bc"]);
        assert_eq!(digest, Digest::of(&[b"abc"]));
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(Digest::from_base64(&digest.to_base64()), Some(digest));
        assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
    }

    #[test]
    fn upper_case_short_and_foreign_texts_are_refused() {
        for text in ["", "ba78", &"G".repeat(64), &"AB".repeat(32), &"ab".repeat(33)] {
            assert_eq!(text.parse::<Digest>(), Err(DigestError));
        }
    }
}
