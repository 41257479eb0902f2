//! The root key: wraps everything else, AES-256-GCM under keys derived from it by HKDF-SHA256 (RFC 5869).
//! It is never used as a cipher key itself, never leaves this file, and never opens what was sealed for another purpose.
//!
//! Sealed bytes: `version (1) || salt (32) || ciphertext || tag (16)`. Each message has its own key, derived with its own random
//! salt, so the nonce is constant and there is no limit on how many messages a root key may seal. The version, the realm, the
//! purpose and the context are authenticated.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use zeroize::{Zeroize as _, Zeroizing};

use crate::random::{self, RandomError};

const VERSION: u8 = 1;
const SALT: usize = 32;
const TAG: usize = 16;
const LABEL: &[u8] = b"bartizan sealed v1";
/// Never a message's salt, which is random and 32 bytes long.
const DIGEST: &[u8] = b"bartizan digest v1";

/// Whose purposes these are. INVARIANT: what this crate seals for itself (its key files) cannot be opened through the public
/// `unseal`, whatever purpose and context the caller names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Realm {
    /// Key files and recording keys: opened by this crate alone.
    Own,
    /// What other crates hand in through `Keys::seal`.
    Given,
}

/// Why a secret could not be wrapped or opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short, or of a format version this program does not know.
    #[error(
        "sealed bytes for {purpose} are not in a known form: they are cut or come from a newer bartizan; restore them or upgrade"
    )]
    Form {
        /// The purpose the caller named.
        purpose: String,
    },
    /// Altered, sealed under another root key, or sealed for another purpose or context.
    #[error(
        "sealed bytes for {purpose} do not open: they were altered or belong to another root key or place; restore keys and store from one backup"
    )]
    Altered {
        /// The purpose the caller named.
        purpose: String,
    },
    /// The cipher refused; only with inputs of many gigabytes.
    #[error("bytes for {purpose} cannot be sealed: too long; seal less at a time")]
    TooLong {
        /// The purpose the caller named.
        purpose: String,
    },
    /// No randomness for the salt.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// 32 random bytes that everything else hangs from.
pub(crate) struct Root(Zeroizing<[u8; 32]>);

impl Root {
    pub(crate) fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    pub(crate) fn seal(
        &self,
        realm: Realm,
        purpose: &str,
        context: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        let salt = random::bytes::<SALT>()?;
        let too_long = || SealError::TooLong { purpose: purpose.to_owned() };
        let key = self.message_key(realm, purpose, salt.as_slice()).ok_or_else(too_long)?;
        let mut sealed = Vec::with_capacity(1 + SALT + plain.len() + TAG);
        sealed.push(VERSION);
        sealed.extend_from_slice(salt.as_slice());
        // The plain text is encrypted in a buffer of its own, wiped if the cipher refuses.
        let mut body = Zeroizing::new(Vec::with_capacity(plain.len() + TAG));
        body.extend_from_slice(plain);
        key.seal_in_place_append_tag(nonce(), Aad::from(bound(realm, purpose, context)), &mut *body)
            .map_err(|_| too_long())?;
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    pub(crate) fn unseal(
        &self,
        realm: Realm,
        purpose: &str,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let form = || SealError::Form { purpose: purpose.to_owned() };
        let altered = || SealError::Altered { purpose: purpose.to_owned() };
        let (version, rest) = sealed.split_first().ok_or_else(form)?;
        let (salt, body) = rest.split_at_checked(SALT).ok_or_else(form)?;
        if *version != VERSION || body.len() < TAG {
            return Err(form());
        }
        let key = self.message_key(realm, purpose, salt).ok_or_else(altered)?;
        let mut body = Zeroizing::new(body.to_vec());
        let plain = key
            .open_in_place(nonce(), Aad::from(bound(realm, purpose, context)), body.as_mut_slice())
            .map_err(|_| altered())?
            .len();
        body.truncate(plain);
        Ok(body)
    }

    /// A key that is always the same, for digests; `None` only if `ring` refuses a 32-byte output, which it does not.
    pub(crate) fn named_key(&self, realm: Realm, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        derive(DIGEST, self.0.as_slice(), &[DIGEST, &bound(realm, purpose, b"")])
    }

    /// The key of one message; `None` only if `ring` refuses a 32-byte output, which it does not.
    fn message_key(&self, realm: Realm, purpose: &str, salt: &[u8]) -> Option<LessSafeKey> {
        let bytes = derive(salt, self.0.as_slice(), &[LABEL, &bound(realm, purpose, b"")])?;
        UnboundKey::new(&AES_256_GCM, bytes.as_slice()).ok().map(LessSafeKey::new)
    }
}

/// HKDF-SHA256 to 32 bytes. `None` only if `ring` refuses the length, which it does not for 32.
pub(crate) fn derive(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
    struct Key;
    impl KeyType for Key {
        fn len(&self) -> usize {
            32
        }
    }
    let mut out = Zeroizing::new([0; 32]);
    let derived = Salt::new(HKDF_SHA256, salt).extract(secret);
    let filled = derived.expand(info, Key).and_then(|okm| okm.fill(out.as_mut_slice()));
    match filled {
        Ok(()) => Some(out),
        Err(_) => {
            out.zeroize();
            None
        }
    }
}

/// Constant because each key seals one message only.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// Realm, purpose and context in one unambiguous string: each part is preceded by its length.
fn bound(realm: Realm, purpose: &str, context: &[u8]) -> Vec<u8> {
    let realm = match realm {
        Realm::Own => b'o',
        Realm::Given => b'g',
    };
    let mut bytes = vec![VERSION, realm];
    for part in [purpose.as_bytes(), context] {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn root() -> Root {
        Root::new(Zeroizing::new([7; 32]))
    }

    #[test]
    fn what_is_sealed_opens_again() {
        let sealed = root().seal(Realm::Given, "totp", b"alice", b"secret").unwrap();
        assert_eq!(root().unseal(Realm::Given, "totp", b"alice", &sealed).unwrap().as_slice(), b"secret");
    }

    #[test]
    fn two_seals_of_the_same_bytes_differ() {
        let seal = || root().seal(Realm::Given, "totp", b"alice", b"secret").unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn nothing_opens_for_another_purpose_context_realm_or_root() {
        let sealed = root().seal(Realm::Given, "totp", b"alice", b"secret").unwrap();
        let altered = |purpose: &str| SealError::Altered { purpose: purpose.to_owned() };
        assert_eq!(root().unseal(Realm::Given, "vault", b"alice", &sealed).unwrap_err(), altered("vault"));
        assert_eq!(root().unseal(Realm::Given, "totp", b"bob", &sealed).unwrap_err(), altered("totp"));
        assert_eq!(root().unseal(Realm::Own, "totp", b"alice", &sealed).unwrap_err(), altered("totp"));
        // Moving a letter over the border between purpose and context is not the same place.
        assert_eq!(root().unseal(Realm::Given, "totpa", b"lice", &sealed).unwrap_err(), altered("totpa"));
        let other = Root::new(Zeroizing::new([8; 32]));
        assert_eq!(other.unseal(Realm::Given, "totp", b"alice", &sealed).unwrap_err(), altered("totp"));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let sealed = root().seal(Realm::Given, "totp", b"alice", b"secret").unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(root().unseal(Realm::Given, "totp", b"alice", &bent).is_err(), "bit {bit}");
        }
        for end in 0..sealed.len() {
            assert!(root().unseal(Realm::Given, "totp", b"alice", &sealed[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn derivation_follows_rfc_5869() {
        // RFC 5869 appendix A.1, first 32 of its 42 bytes.
        let hex = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        let out = derive(&hex("000102030405060708090a0b0c"), &[0x0b; 22], &[&hex("f0f1f2f3f4f5f6f7f8f9")]);
        assert_eq!(
            out.unwrap().as_slice(),
            hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
        );
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_open(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(root().unseal(Realm::Given, "totp", b"alice", &bytes).is_err());
        }

        #[test]
        fn any_bytes_come_back(plain in proptest::collection::vec(any::<u8>(), 0..2000), context: Vec<u8>) {
            let sealed = root().seal(Realm::Given, "p", &context, &plain).unwrap();
            let opened = root().unseal(Realm::Given, "p", &context, &sealed).unwrap();
            prop_assert_eq!(opened.as_slice(), plain.as_slice());
        }
    }
}
