//! The person's key is proven; whether it is enough is still open.
//! It never exists for a person who was not enabled, nor without a machine that was judged first.

use jiff::Timestamp;

use super::person::Person;
use crate::device::{Assessed, Proven};

/// Assessed -> Identified: whose key signed.
#[derive(Debug)]
pub(super) struct Identified {
    assessed: Assessed,
    person: Person,
    key: String,
    at: Timestamp,
}

impl Identified {
    /// The person whose registered key signed just now; `key` is its fingerprint.
    pub(super) fn new(assessed: Assessed, person: Person, key: String, at: Timestamp) -> Self {
        Self { assessed, person, key, at }
    }

    /// A device proved itself after the person did.
    pub(super) fn joined_by(self, device: Proven) -> Self {
        Self { assessed: self.assessed.joined_by(device), ..self }
    }

    pub(super) fn assessed(&self) -> &Assessed {
        &self.assessed
    }

    pub(super) fn person(&self) -> &Person {
        &self.person
    }

    /// `SHA256:...` of the key that signed.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// When it did.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    pub(super) fn into_assessed(self) -> Assessed {
        self.assessed
    }
}
