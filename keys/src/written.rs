//! Secrets that a person writes down or pastes once: recovery codes and invitations.
//! They are kept nowhere: what the store holds is a digest under a key of this bastion, of no use without its keys folder.

use ring::hmac;
use zeroize::Zeroizing;

use crate::Keys;
use crate::random::{self, RandomError};
use crate::root::Realm;

/// Crockford's base32: no I, L, O or U, so that what is read aloud or off paper is one thing.
const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters between two hyphens.
const GROUP: usize = 4;

/// What a written secret is for, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 64 bits, 13 characters: stands in for a one-time code, once.
    Recovery,
    /// 128 bits, 26 characters: opens an enrolment, once.
    Invitation,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::Recovery => 8,
            Self::Invitation => 16,
        }
    }

    fn characters(self) -> usize {
        match self {
            Self::Recovery => 13,
            Self::Invitation => 26,
        }
    }

    /// Bits in the first character; all others hold five.
    fn first_bits(self) -> u32 {
        match self {
            Self::Recovery => 4,
            Self::Invitation => 3,
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Recovery => "recovery code",
            Self::Invitation => "invitation",
        }
    }
}

/// One such secret. Wiped when dropped; has no `Debug`.
pub struct Written {
    kind: Kind,
    value: Zeroizing<[u8; 16]>,
}

impl Written {
    /// A fresh one.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate(kind: Kind) -> Result<Self, RandomError> {
        let mut value = random::bytes::<16>()?;
        let unused = value.len() - kind.bytes();
        value.iter_mut().take(unused).for_each(|byte| *byte = 0);
        Ok(Self { kind, value })
    }

    /// Reads one as people type it: in either case, with or without hyphens and blanks, `O` for 0, `I` and `L` for 1.
    /// `None` for everything that cannot be one.
    #[must_use]
    pub fn read(kind: Kind, typed: &[u8]) -> Option<Self> {
        // Twice the length leaves room for separators; what is longer is not looked at.
        if typed.len() > 2 * kind.characters() + 8 {
            return None;
        }
        let mut value = Zeroizing::new(0_u128);
        let mut count = 0;
        for byte in typed.iter().filter(|byte| !matches!(byte, b'-' | b' ' | b'\t' | b'\r' | b'\n')) {
            let digit = digit(*byte)?;
            count += 1;
            // The characters hold a bit or two more than there are.
            if count == 1 && digit >> kind.first_bits() != 0 {
                return None;
            }
            *value = (*value << 5) | u128::from(digit);
        }
        (count == kind.characters()).then(|| Self { kind, value: Zeroizing::new(value.to_be_bytes()) })
    }

    /// As it is shown, once: groups of four with hyphens between them.
    #[must_use]
    pub fn shown(&self) -> Zeroizing<String> {
        let count = self.kind.characters();
        let number = Zeroizing::new(u128::from_be_bytes(*self.value));
        // One allocation of the full length, so that no copy of a part is left behind.
        let mut text = Zeroizing::new(String::with_capacity(2 * count));
        for place in 0..count {
            // The last group takes what is left over, so that none is a single character.
            if place > 0 && place % GROUP == 0 && count - place > 1 {
                text.push('-');
            }
            let digit = (*number >> (5 * (count - 1 - place))) & 31;
            text.extend(
                usize::try_from(digit).ok().and_then(|digit| LETTERS.get(digit)).map(|c| char::from(*c)),
            );
        }
        text
    }
}

impl Keys {
    /// What the store keeps of a written secret of this operator: HMAC-SHA256 under a key derived from the root key for
    /// this kind. The same secret of another operator or kind has another digest.
    ///
    /// # Errors
    /// None in practice: only if the key cannot be derived.
    pub fn digest(&self, operator: &str, secret: &Written) -> Result<[u8; 32], DigestError> {
        let key = self.root.named_key(Realm::Own, secret.kind.purpose()).ok_or(DigestError)?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
        let mut mac = hmac::Context::with_key(&key);
        mac.update(&u64::try_from(operator.len()).unwrap_or(u64::MAX).to_be_bytes());
        mac.update(operator.as_bytes());
        mac.update(secret.value.as_slice());
        mac.sign().as_ref().try_into().map_err(|_| DigestError)
    }
}

/// The digest's key could not be derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key can be derived for what was written down; look at the keys folder with `bartizan check`")]
pub struct DigestError;

fn digit(byte: u8) -> Option<u8> {
    let upper = match byte.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    LETTERS.iter().position(|letter| *letter == upper).and_then(|place| u8::try_from(place).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> (Keys, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Keys::create(&folder.path().join("keys")).unwrap(), folder)
    }

    #[test]
    fn what_is_shown_is_read_back_however_it_is_typed() {
        let (keys, _folder) = keys();
        for kind in [Kind::Recovery, Kind::Invitation] {
            for _ in 0..100 {
                let secret = Written::generate(kind).unwrap();
                let shown = secret.shown();
                let digest = keys.digest("ana", &secret).unwrap();
                let bare: String = shown.chars().filter(|c| *c != '-').collect();
                assert_eq!(bare.len(), kind.characters());
                let sloppy = bare.to_lowercase().replace('0', "o").replace('1', "l");
                for typed in [shown.as_str(), &bare, &sloppy, &format!(" {} \r\n", shown.replace('-', " "))] {
                    let read = Written::read(kind, typed.as_bytes()).unwrap();
                    assert_eq!(keys.digest("ana", &read).unwrap(), digest, "{typed}");
                }
            }
        }
    }

    #[test]
    fn groups_are_short_and_none_is_a_single_character() {
        let recovery = Written::read(Kind::Recovery, b"FZZZZZZZZZZZZ").unwrap();
        assert_eq!(recovery.shown().as_str(), "FZZZ-ZZZZ-ZZZZZ");
        let invitation = Written::read(Kind::Invitation, b"7ZZZZZZZZZZZZZZZZZZZZZZZZZ").unwrap();
        assert_eq!(invitation.shown().as_str(), "7ZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZ");
    }

    #[test]
    fn a_digest_belongs_to_one_operator_kind_and_bastion() {
        let (keys, _folder) = keys();
        let (other, _other_folder) = self::keys();
        let secret = Written::read(Kind::Recovery, b"0123456789ABC").unwrap();
        let digest = keys.digest("ana", &secret).unwrap();
        assert_eq!(keys.digest("ana", &secret).unwrap(), digest);
        assert_ne!(keys.digest("bob", &secret).unwrap(), digest);
        assert_ne!(other.digest("ana", &secret).unwrap(), digest);
        let same_bytes = Written { kind: Kind::Invitation, value: secret.value.clone() };
        assert_ne!(keys.digest("ana", &same_bytes).unwrap(), digest);
    }

    #[test]
    fn what_cannot_be_one_is_none() {
        for typed in
            ["", "?", "0123456789AB", "0123456789ABCD", "G123456789ABC", "0123456789AB!", "0123456789ABU"]
        {
            assert!(Written::read(Kind::Recovery, typed.as_bytes()).is_none(), "{typed}");
        }
        assert!(
            Written::read(Kind::Invitation, b"8ZZZZZZZZZZZZZZZZZZZZZZZZZ").is_none(),
            "more than 128 bits"
        );
        assert!(Written::read(Kind::Recovery, &[b'-'; 1_000_000]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_one_or_none(typed in proptest::collection::vec(any::<u8>(), 0..80)) {
            for kind in [Kind::Recovery, Kind::Invitation] {
                if let Some(read) = Written::read(kind, &typed) {
                    prop_assert!(Written::read(kind, read.shown().as_bytes()).is_some());
                }
            }
        }
    }
}
