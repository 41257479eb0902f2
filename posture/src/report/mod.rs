//! The report: what a device says about itself at one login, bound to that login. Names and shapes follow OCSF (`device`),
//! osquery (`facts`) and Fleet (`policies`).
//! It never proves anything by itself: only the certificate around it, signed by the device's key, does.

mod facts;
mod words;

use serde::{Deserialize, Serialize};

pub use facts::{
    DiskEncryption, Facts, Firewall, MOST_ROWS, OsVersion, Patches, Process, ScreenLock, SecureBoot, Table,
    TableError,
};
pub use words::{Flag, Hex, LONGEST_TEXT, Number, Text, WordError};

/// The largest report, in bytes of JSON.
pub const LARGEST: usize = 16 * 1024;
/// The most policies of a report.
pub const MOST_POLICIES: usize = 64;
/// The one version there is.
const VERSION: u8 = 1;

/// What a device says, for one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Always 1.
    v: u8,
    /// Which device.
    pub device: DeviceSays,
    /// Which connection.
    pub bind: Bind,
    /// When the facts were collected, Unix seconds.
    pub collected_at: u64,
    /// Who collected them, and how the device's key is kept.
    pub agent: Agent,
    /// The facts.
    pub facts: Facts,
    /// What another checker on the device concluded.
    #[serde(default)]
    pub policies: Vec<Policy>,
}

/// What the device says it is. Nothing of it is believed over the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceSays {
    /// Its name in the inventory.
    pub uid: Text,
    /// The name it has for itself.
    pub hostname: Text,
    /// `laptop` or `host`.
    #[serde(rename = "type")]
    pub kind: Text,
    /// Whether it was enrolled as one that the firm looks after.
    pub is_managed: bool,
    /// Whether it was enrolled as its owner's own.
    pub is_personal: bool,
    /// The maker's number, where it can be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Text>,
    /// The operator it was enrolled for.
    pub owner: Text,
}

/// Which connection the report was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// The SSH session identifier (RFC 4253 section 7.2), as the client gave it to the agent.
    pub session_id: Hex,
    /// SHA-256 of the server's plain host key in its RFC 4253 form, also where it was shown in a certificate.
    pub hostkey_sha256: Hex,
    /// Whether the agent's connection had been forwarded. Always false, else there would be no report.
    pub is_forwarding: bool,
    /// The running system's boot identifier.
    pub boot_id: Text,
    /// The certificate's serial.
    pub seq: u64,
}

/// Who made the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The agent's version.
    pub version: Text,
    /// What keeps the device's key.
    pub key: Keeper,
    /// Where the facts are from.
    pub facts: Source,
}

/// What keeps a device's private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keeper {
    /// A trusted platform module.
    Tpm,
    /// A secure enclave.
    Enclave,
    /// A token behind PKCS#11.
    Pkcs11,
    /// A file that only its owner may read.
    File,
}

impl Keeper {
    /// As the report writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tpm => "tpm",
            Self::Enclave => "enclave",
            Self::Pkcs11 => "pkcs11",
            Self::File => "file",
        }
    }
}

/// Where the facts of a report are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The agent's own collectors.
    Own,
    /// osquery on the device, for the tables that it has; the agent's own collectors for the others.
    Osquery,
    /// A file that the device's configuration names in place of the collectors.
    File,
}

/// What another checker concluded, as Fleet reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its number at that checker.
    pub id: u64,
    /// Its name.
    pub name: Text,
    /// What it concluded.
    pub response: Response,
    /// Whether it matters that much.
    pub critical: bool,
}

/// A policy's outcome. Fleet leaves it empty where it was not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Response {
    /// It holds.
    Pass,
    /// It does not.
    Fail,
    /// It was not run.
    #[serde(rename = "")]
    NotRun,
}

/// Why a report was not taken or not made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Too large.
    #[error("report refused: {size} bytes, more than {LARGEST}; ask for fewer facts")]
    Large {
        /// Bytes.
        size: usize,
    },
    /// Not the JSON of a report.
    #[error("report refused: {0}; it must be the strict JSON of a report")]
    Json(#[from] serde_json::Error),
    /// Another version.
    #[error("report refused: version {found}, not {VERSION}; bring agent and bastion to one version")]
    Version {
        /// Its version.
        found: u8,
    },
    /// Too many rows.
    #[error("report refused: table {table} has more than {MOST_ROWS} rows; ask for fewer")]
    Rows {
        /// The table.
        table: Table,
    },
    /// Too many policies.
    #[error("report refused: {count} policies, more than {MOST_POLICIES}; send fewer")]
    Policies {
        /// How many.
        count: usize,
    },
}

impl Report {
    /// A report of the parts.
    #[must_use]
    pub fn new(device: DeviceSays, bind: Bind, collected_at: u64, agent: Agent, facts: Facts) -> Self {
        Self { v: VERSION, device, bind, collected_at, agent, facts, policies: Vec::new() }
    }

    /// Reads a report from JSON: nothing unknown, nothing twice, nothing after it, everything within its bound.
    ///
    /// # Errors
    /// [`ReportError`], naming what is wrong.
    pub fn parse(json: &[u8]) -> Result<Self, ReportError> {
        sized(json.len())?;
        let report: Self = serde_json::from_slice(json)?;
        report.bounded()?;
        Ok(report)
    }

    /// The report as it is sent.
    ///
    /// # Errors
    /// When it is larger than [`LARGEST`] or has more rows than a report may.
    pub fn to_json(&self) -> Result<String, ReportError> {
        self.bounded()?;
        let json = serde_json::to_string(self)?;
        sized(json.len())?;
        Ok(json)
    }

    fn bounded(&self) -> Result<(), ReportError> {
        if self.v != VERSION {
            return Err(ReportError::Version { found: self.v });
        }
        if let Some(table) = self.facts.overlong() {
            return Err(ReportError::Rows { table });
        }
        let count = self.policies.len();
        if count > MOST_POLICIES { Err(ReportError::Policies { count }) } else { Ok(()) }
    }
}

fn sized(size: usize) -> Result<(), ReportError> {
    if size > LARGEST { Err(ReportError::Large { size }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
