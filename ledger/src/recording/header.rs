//! The header of a recording: whose it is, where it was made, and the envelope its key travels in.
//!
//! Never holds what was typed, run or shown: the header is readable by who holds the file.

use data_encoding::BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::layout::{MAGIC, MAX_HEADER, PREAMBLE, VERSION};
use crate::canonical;

/// The facts that stand in clear at the front of a recording. Written as canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The recording's id, `r-` and 26 Crockford characters; the file is named by it.
    pub recording: String,
    /// The session's id, `s-` and 26 Crockford characters.
    pub session: String,
    /// Which channel of the session, counted by the bastion.
    pub channel: u32,
    /// The node that recorded.
    pub node: String,
    /// Who.
    pub operator: String,
    /// On which enrolled machine, if one was proven.
    pub device: Option<String>,
    /// On which target.
    pub target: String,
    /// On which account of it.
    pub account: String,
    /// Which kind of channel, as the policy names it.
    pub kind: String,
    /// When the recording was begun, as the node believed.
    pub started: Timestamp,
    /// How the key can be had, as the crate `keys` made it; opaque here.
    #[serde(with = "envelope")]
    pub envelope: Vec<u8>,
}

/// A header that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The recording's id is not one.
    #[error("the recording id is not r- and 26 Crockford characters")]
    Id,
    /// The text is longer than the format allows.
    #[error(
        "the recording's header would be {0} bytes, more than {MAX_HEADER}: shorten names or the key envelope"
    )]
    TooLong(usize),
    /// The header has no canonical text.
    #[error("the recording's header cannot be written: {0}")]
    Text(String),
}

impl Header {
    /// The front of the file: magic, version, length, canonical JSON. Its SHA-256 follows it in the file and starts the chain.
    pub(super) fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        if !is_id("r-", &self.recording) {
            return Err(HeaderError::Id);
        }
        let value = serde_json::to_value(self).map_err(|e| HeaderError::Text(e.to_string()))?;
        let text = canonical::text(&value).map_err(|e| HeaderError::Text(e.to_string()))?;
        let length = u32::try_from(text.len()).ok().filter(|_| text.len() <= MAX_HEADER);
        let length = length.ok_or(HeaderError::TooLong(text.len()))?;
        let mut bytes = Vec::with_capacity(PREAMBLE + text.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
        Ok(bytes)
    }

    /// The header that `text` says; only called on text whose digest agrees.
    pub(super) fn decode(text: &[u8]) -> Result<Self, String> {
        let header: Self = serde_json::from_slice(text).map_err(|e| e.to_string())?;
        if !is_id("r-", &header.recording) {
            return Err("the recording id is not r- and 26 Crockford characters".to_owned());
        }
        Ok(header)
    }
}

/// Whether `text` is `prefix` and a ULID (26 characters of Crockford's base 32).
pub(crate) fn is_id(prefix: &str, text: &str) -> bool {
    let crockford = |c: char| c.is_ascii_alphanumeric() && !"ILOU".contains(c.to_ascii_uppercase());
    text.strip_prefix(prefix).is_some_and(|id| id.len() == 26 && id.chars().all(crockford))
}

/// Bytes as base64 text.
mod envelope {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::BASE64;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64.decode(text.as_bytes()).map_err(serde::de::Error::custom)
    }
}
