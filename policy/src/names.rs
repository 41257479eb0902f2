//! The names that people, files and logins use, each a type of its own that exists only when its grammar holds.
//! Never repairs, folds or trims a name: a string is one or it is refused, so that no two spellings mean one thing.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most characters a name may have.
pub const LONGEST_NAME: usize = 64;

/// Why a string is not a name. Says where, never repeats more than the one character that is wrong (escaped).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing there.
    #[error("{kind} is empty; write 1 to 64 of {allowed}")]
    Empty {
        /// What was being read, with its article: `an operator name`.
        kind: &'static str,
        /// The characters that are allowed, in words.
        allowed: &'static str,
    },
    /// More than [`LONGEST_NAME`] bytes.
    #[error("{kind} has {length} bytes; at most 64 are allowed")]
    TooLong {
        /// What was being read.
        kind: &'static str,
        /// How many bytes there were.
        length: usize,
    },
    /// A character that does not belong, or not at this place.
    #[error("{kind} has {} at position {position}; write {allowed}, first a letter or digit", found.escape_default())]
    Character {
        /// What was being read.
        kind: &'static str,
        /// The character that is wrong.
        found: char,
        /// Its place, counted from 1.
        position: usize,
        /// The characters that are allowed, in words.
        allowed: &'static str,
    },
    /// A name that has a meaning of its own elsewhere.
    #[error("{kind} cannot be {name}; {remedy}")]
    Reserved {
        /// What was being read.
        kind: &'static str,
        /// The reserved name.
        name: &'static str,
        /// What to write instead.
        remedy: &'static str,
    },
}

/// Which characters a kind of name takes.
struct Grammar {
    kind: &'static str,
    allowed: &'static str,
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
}

const LOWER: &str = "a-z, 0-9, '.', '_', '-'";
const MIXED: &str = "A-Z, a-z, 0-9, '.', '_', '-'";

fn lower_first(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn lower_rest(byte: u8) -> bool {
    lower_first(byte) || matches!(byte, b'.' | b'_' | b'-')
}

fn mixed_first(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn mixed_rest(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn subsystem_rest(byte: u8) -> bool {
    mixed_rest(byte) || byte == b'@'
}

impl Grammar {
    fn check(&self, text: &str) -> Result<(), NameError> {
        if text.is_empty() {
            return Err(NameError::Empty { kind: self.kind, allowed: self.allowed });
        }
        if text.len() > LONGEST_NAME {
            return Err(NameError::TooLong { kind: self.kind, length: text.len() });
        }
        for (index, found) in text.chars().enumerate() {
            let fits = u8::try_from(found).is_ok_and(|byte| {
                byte.is_ascii() && if index == 0 { (self.first)(byte) } else { (self.rest)(byte) }
            });
            if !fits {
                let position = index.saturating_add(1);
                return Err(NameError::Character { kind: self.kind, found, position, allowed: self.allowed });
            }
        }
        Ok(())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $allowed:expr, $first:expr, $rest:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Reads a name.
            ///
            /// # Errors
            /// When the grammar does not hold; see [`NameError`].
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let grammar = Grammar { kind: $kind, allowed: $allowed, first: $first, rest: $rest };
                grammar.check(text)?;
                Self::beyond_grammar(text)?;
                Ok(Self(text.into()))
            }

            /// The name as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        // INVARIANT: equality, order and hash are those of the text, so a `&str` may stand in for a look-up.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.into()
            }
        }
    };
}

/// Names with no rule beyond their grammar.
macro_rules! plain {
    ($($name:ident),*) => { $(
        impl $name {
            fn beyond_grammar(_text: &str) -> Result<(), NameError> {
                Ok(())
            }
        }
    )* };
}

name! {
    /// An operator: `[a-z0-9][a-z0-9._-]{0,63}`.
    OperatorName, "an operator name", LOWER, lower_first, lower_rest
}
impl OperatorName {
    /// The one name that nobody may bear: `enroll+<token id>` is the login of a machine that is to be enrolled.
    pub const ENROLS: &str = "enroll";

    /// Whether nobody may bear it.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.as_str() == Self::ENROLS
    }
}

name! {
    /// A target: `[a-z0-9][a-z0-9._-]{0,63}`.
    TargetName, "a target name", LOWER, lower_first, lower_rest
}
name! {
    /// A device: `[a-z0-9][a-z0-9._-]{0,63}`.
    DeviceName, "a device name", LOWER, lower_first, lower_rest
}
name! {
    /// A tenant: `[a-z0-9][a-z0-9._-]{0,63}`.
    TenantName, "a tenant name", LOWER, lower_first, lower_rest
}
name! {
    /// A secret in the vault: `[a-z0-9][a-z0-9._-]{0,63}`.
    VaultName, "a vault name", LOWER, lower_first, lower_rest
}
name! {
    /// A role: `[a-z0-9][a-z0-9._-]{0,63}`.
    RoleName, "a role name", LOWER, lower_first, lower_rest
}
name! {
    /// A grant: `[a-z0-9][a-z0-9._-]{0,63}`.
    GrantName, "a grant name", LOWER, lower_first, lower_rest
}
name! {
    /// A level of posture: `[a-z0-9][a-z0-9._-]{0,63}`. Levels are a set of names, not a scale; which exist, and what it
    /// takes to be at one, is for the bundle to say.
    Level, "a posture level", LOWER, lower_first, lower_rest
}
name! {
    /// A login name on a target: `[A-Za-z0-9_][A-Za-z0-9._-]{0,63}`.
    AccountName, "an account name", MIXED, mixed_first, mixed_rest
}
name! {
    /// An SSH subsystem other than sftp: `[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}`. `sftp` in any case is refused: it has a
    /// channel kind of its own, and a second way to ask for it would be a way around `upload` and `download`.
    SubsystemName, "a subsystem name", "A-Z, a-z, 0-9, '.', '_', '-', '@'", mixed_first, subsystem_rest
}

plain!(OperatorName, TargetName, DeviceName, TenantName, VaultName, RoleName, GrantName, Level, AccountName);

impl Level {
    /// The level that the inventory alone decides: an enrolled device, active, not locked, nobody's own.
    #[must_use]
    pub fn managed() -> Self {
        Self("managed".into())
    }

    /// The level whose checks are built in.
    #[must_use]
    pub fn healthy() -> Self {
        Self("healthy".into())
    }
}

impl SubsystemName {
    fn beyond_grammar(text: &str) -> Result<(), NameError> {
        if text.eq_ignore_ascii_case("sftp") {
            let remedy = "sftp is \"upload\" and \"download\"";
            return Err(NameError::Reserved { kind: "a subsystem name", name: "sftp", remedy });
        }
        Ok(())
    }
}

impl Default for TenantName {
    /// `default`, the tenant of everything that names none.
    fn default() -> Self {
        Self("default".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_keeps_its_spelling() {
        for good in ["a", "0", "web-1", "a.b_c-d", &"x".repeat(64)] {
            assert_eq!(OperatorName::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn an_account_may_have_capitals_and_begin_with_an_underscore() {
        assert!(AccountName::parse("_apt").is_ok());
        assert!(AccountName::parse("Administrator").is_ok());
        assert!(TargetName::parse("Web-1").is_err());
        assert!(TargetName::parse("_web").is_err());
    }

    #[test]
    fn what_is_not_in_the_grammar_is_refused() {
        let long = "x".repeat(65);
        for bad in [
            "", ".a", "-a", "a b", "a+b", "a,b", "a/b", "a\0", "a\n", "ａ", "а", "a\u{301}", "a*", "$a",
            &long,
        ] {
            assert!(OperatorName::parse(bad).is_err(), "{bad:?}");
            assert!(AccountName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_never_repeats_what_a_terminal_would_obey() {
        let told = OperatorName::parse("a\u{1b}]0;x\u{7}").unwrap_err().to_string();
        assert!(told.chars().all(|c| !c.is_control()), "{told:?}");
    }

    #[test]
    fn sftp_is_no_subsystem_name_in_any_case() {
        for text in ["sftp", "SFTP", "Sftp"] {
            assert!(matches!(SubsystemName::parse(text), Err(NameError::Reserved { .. })));
        }
        assert!(SubsystemName::parse("netconf").is_ok());
    }

    proptest! {
        #[test]
        fn only_the_grammar_is_accepted(text in any::<String>()) {
            let mut bytes = text.bytes();
            let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
            let good = first && text.len() <= 64
                && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
            prop_assert_eq!(TargetName::parse(&text).is_ok(), good);
        }

        #[test]
        fn a_name_survives_json(text in "[a-z0-9][a-z0-9._-]{0,63}") {
            let name = OperatorName::parse(&text).unwrap();
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<OperatorName>(&json).unwrap(), name);
        }
    }
}
