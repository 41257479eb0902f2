//! The kinds of proof that a login rests on, how old each is, and what is known of the device it comes from.
//! Never judges whether a proof is good: that was done by those who hand it over.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::names::{DeviceName, Level, TenantName};

/// A kind of proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Factor {
    /// The operator's own key.
    Key,
    /// A one-time code.
    Code,
    /// A password.
    Password,
    /// A touch that we verified ourselves.
    Presence,
    /// A recovery code. It stands in for a one-time code and for nothing else.
    Recovery,
}

/// A word that names no factor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{word:?} is no factor; write key, code, password or presence")]
pub struct UnknownWord {
    word: String,
}

impl Factor {
    /// Every kind there is.
    pub const ALL: [Self; 5] = [Self::Key, Self::Code, Self::Password, Self::Presence, Self::Recovery];

    /// Reads a factor: `key`, `code`, `password`, `presence`, `recovery`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(word: &str) -> Result<Self, UnknownWord> {
        Self::ALL
            .into_iter()
            .find(|factor| factor.as_str() == word)
            .ok_or_else(|| UnknownWord { word: word.chars().take(64).collect() })
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Code => "code",
            Self::Password => "password",
            Self::Presence => "presence",
            Self::Recovery => "recovery",
        }
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A factor that was proven, and how long ago. For a channel that already runs and is decided again, the age is the
/// one it had when the channel was asked for: a running channel does not grow stale by running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What was proven.
    pub factor: Factor,
    /// How long before the channel was asked for.
    pub age: Duration,
}

/// What a device's proof rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// A certificate bound to this very connection.
    Bound,
    /// A plain device key of the inventory.
    Key,
}

impl Evidence {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Key => "key",
        }
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The device a connection comes from, as far as it was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// Its name in the inventory.
    pub name: DeviceName,
    /// The one tenant it belongs to.
    pub tenant: TenantName,
    /// The levels it is at now.
    pub levels: BTreeSet<Level>,
    /// What the proof rests on.
    pub evidence: Evidence,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_factor_has_one_word() {
        for factor in Factor::ALL {
            assert_eq!(Factor::parse(factor.as_str()), Ok(factor));
        }
        assert!(Factor::parse("totp").is_err());
    }
}
