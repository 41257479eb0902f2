//! A device as the inventory has it on record.
//! It never says that the device is the one that is speaking: that is what [`crate::check_key`] is for.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use ssh_key::PublicKey;

use crate::state::State;

/// What is on record about a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name in the inventory.
    pub name: String,
    /// The operator (or service) it belongs to; nobody else may use it.
    pub owner: String,
    /// The one tenant it belongs to.
    pub tenant: String,
    /// The key it is proven by.
    pub key: PublicKey,
    /// A person's machine or a service's.
    pub kind: Kind,
    /// Where it is in its life.
    pub state: State,
    /// Bought by its owner, not by the firm.
    pub personal: bool,
    /// Looked after by the firm.
    pub managed: bool,
}

/// A person's machine or a service's: the path and the answers are the same, the word for it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A person sits at it.
    #[default]
    Laptop,
    /// A service runs on it.
    Host,
}

/// Not the name of a kind of device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a kind of device; it is one of laptop, host")]
pub struct KindError {
    name: String,
}

impl Kind {
    /// As it is stored and shown: lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Laptop => "laptop",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(name: &str) -> Result<Self, KindError> {
        match name {
            "laptop" => Ok(Self::Laptop),
            "host" => Ok(Self::Host),
            _ => Err(KindError { name: name.to_owned() }),
        }
    }
}

impl TryFrom<String> for Kind {
    type Error = KindError;

    fn try_from(name: String) -> Result<Self, KindError> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for kind in [Kind::Laptop, Kind::Host] {
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        assert!("phone".parse::<Kind>().is_err());
    }
}
