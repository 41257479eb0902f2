//! Names that Bartizan gives: sessions, recordings and the reference an operator reads out to the service desk.
//! Never used as a secret: an id tells when it was made and nothing else.

use std::fmt;

use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// A session: `s-` and 26 Crockford characters (a ULID).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(String);

/// A recording: `r-` and 26 Crockford characters (a ULID). Its file bears this name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RecordingId(String);

/// What ties a refusal on the operator's screen to its entry in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference(String);

/// Makes ids from the time given and the system's randomness.
#[derive(Debug)]
pub struct Ids {
    random: SystemRandom,
}

impl Default for Ids {
    fn default() -> Self {
        Self { random: SystemRandom::new() }
    }
}

impl Ids {
    /// A new session id for the moment `at`.
    pub fn session(&self, at: Timestamp) -> SessionId {
        SessionId(format!("s-{}", self.ulid(at)))
    }

    /// A new recording id for the moment `at`.
    pub fn recording(&self, at: Timestamp) -> RecordingId {
        RecordingId(format!("r-{}", self.ulid(at)))
    }

    /// A new reference: ten Crockford characters of pure randomness, short enough to be read out.
    pub fn reference(&self, at: Timestamp) -> Reference {
        let full = self.ulid(at).to_string();
        Reference(full.chars().skip(10).take(10).collect())
    }

    fn ulid(&self, at: Timestamp) -> ulid::Ulid {
        let mut random = [0_u8; 16];
        // A failing generator leaves zeros: ids may then clash within one millisecond, which the
        // recording's `create_new` and the store's primary key refuse. No secrecy rests on it.
        let _ = self.random.fill(&mut random);
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        ulid::Ulid::from_parts(millis, u128::from_be_bytes(random))
    }
}

macro_rules! named {
    ($name:ident) => {
        impl $name {
            /// The id as it is written everywhere.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

named!(SessionId);
named!(RecordingId);
named!(Reference);

macro_rules! parsed {
    ($name:ident, $prefix:literal) => {
        impl $name {
            /// Reads an id that a person or a file gave; `None` when it is not of the form above.
            pub fn parse(text: &str) -> Option<Self> {
                let rest = text.strip_prefix($prefix)?;
                let canonical = ulid::Ulid::from_string(rest).ok()?.to_string();
                (canonical == rest).then(|| Self(text.to_owned()))
            }
        }
    };
}

parsed!(SessionId, "s-");
parsed!(RecordingId, "r-");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_itself_and_a_path_never_does() {
        let ids = Ids::default();
        let at = Timestamp::from_second(1_795_338_716).unwrap();
        let id = ids.recording(at);
        assert_eq!(RecordingId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(id.as_str().len(), 28);
        assert_eq!(ids.reference(at).as_str().len(), 10);
        for bad in ["", "r-", "s-01JD37F2K", "r-../../../../../../../etc/pas", &id.as_str().to_lowercase()] {
            assert_eq!(RecordingId::parse(bad), None, "{bad}");
        }
    }
}
