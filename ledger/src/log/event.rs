//! What happened: the fields of an audit event and its canonical text.
//!
//! Never decides what may be logged: the catalogue of types and the rule that no secret enters belong to who writes events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::canonical::{self, CanonicalError};

/// The longest canonical text of an event, in bytes.
pub const MAX_EVENT: usize = 64 * 1024;

/// An audit event before it has its place in the log.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Event {
    /// When, as the node believed; written in UTC with six decimals, so that the texts sort as the times do.
    pub time: Timestamp,
    /// What kind of event: `family.what`, from the catalogue.
    #[serde(rename = "type")]
    pub kind: String,
    /// The node that writes the log.
    pub node: String,
    /// The session it belongs to.
    pub session: Option<String>,
    /// Who.
    pub operator: Option<String>,
    /// On which machine.
    pub device: Option<String>,
    /// On which target.
    pub target: Option<String>,
    /// On which account of it.
    pub account: Option<String>,
    /// How it ended: `ok`, `refused`, `failed`, ...
    pub outcome: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Why, as a stable code.
    pub code: Option<String>,
    /// Further facts; an object, empty if there are none.
    pub detail: Map<String, Value>,
}

/// An event that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A number that JSON readers would round.
    #[error("the event cannot be written: {0}")]
    Canonical(#[from] CanonicalError),
    /// Longer than [`MAX_EVENT`].
    #[error("the event is {0} bytes long, more than {MAX_EVENT}: put less into its detail")]
    TooLong(usize),
}

impl Event {
    /// An event of `kind` on `node`, with nothing else said.
    pub fn new(time: Timestamp, kind: impl Into<String>, node: impl Into<String>) -> Self {
        Self {
            time,
            kind: kind.into(),
            node: node.into(),
            session: None,
            operator: None,
            device: None,
            target: None,
            account: None,
            outcome: None,
            reason: None,
            code: None,
            detail: Map::new(),
        }
    }

    /// The canonical text of the event at place `seq`: the leaf of the log. All members are always there; what is absent is
    /// `null`, and `detail` is an object.
    pub fn canonical(&self, seq: u64) -> Result<String, EventError> {
        let value = json!({
            "seq": seq, "time": format!("{:.6}", self.time), "type": self.kind, "node": self.node,
            "session": self.session, "operator": self.operator, "device": self.device, "target": self.target,
            "account": self.account, "outcome": self.outcome, "reason": self.reason, "code": self.code,
            "detail": self.detail,
        });
        let text = canonical::text(&value)?;
        if text.len() > MAX_EVENT {
            return Err(EventError::TooLong(text.len()));
        }
        Ok(text)
    }
}
