//! What a device says of itself, in osquery's tables and columns, so that any source can fill them.
//! It never says that a fact is good or bad: that is the policy's. A table that is absent was not collected, one that is empty
//! was, and holds nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::words::{Flag, Number, Text};

/// The most rows of one table.
pub const MOST_ROWS: usize = 64;

/// The tables that a report may hold, all by osquery's names and columns. `None`: not collected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Facts {
    /// Which system it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub os_version: Option<Vec<OsVersion>>,
    /// The disks that hold its files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_encryption: Option<Vec<DiskEncryption>>,
    /// Whether the firmware checks what it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secureboot: Option<Vec<SecureBoot>>,
    /// Whether the screen locks by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screenlock: Option<Vec<ScreenLock>>,
    /// Whether it filters what comes in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firewall: Option<Vec<Firewall>>,
    /// Security updates that are not installed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patches: Option<Vec<Patches>>,
    /// Of the programs asked for, those that run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Process>>,
}

/// A row of `os_version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OsVersion {
    /// `debian`, `ubuntu`, `rhel`, `darwin`; os-release's `ID`.
    pub platform: Text,
    /// `12`; os-release's `VERSION_ID`, or `rolling`.
    pub version: Text,
}

/// A row of `disk_encryption`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskEncryption {
    /// The block device, `/dev/dm-0`.
    pub name: Text,
    /// Whether what is written to it is encrypted.
    pub encrypted: Flag,
}

/// A row of `secureboot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecureBoot {
    /// Whether it is on.
    pub secure_boot: Flag,
}

/// A row of `screenlock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScreenLock {
    /// Whether the screen locks when idle.
    pub enabled: Flag,
    /// Seconds without a touch until a password is needed; `-1` when it does not lock.
    pub grace_period: Number,
}

/// A row of `firewall`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Firewall {
    /// Whether something filters what comes in.
    pub enabled: Flag,
}

/// A row of `patches`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Patches {
    /// How many security updates wait.
    pub pending_security: Number,
    /// When the list of updates was last fetched, Unix seconds.
    pub checked_at: Number,
}

/// A row of `processes`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// The program's name.
    pub name: Text,
}

/// The name of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    /// `os_version`
    OsVersion,
    /// `disk_encryption`
    DiskEncryption,
    /// `secureboot`
    Secureboot,
    /// `screenlock`
    Screenlock,
    /// `firewall`
    Firewall,
    /// `patches`
    Patches,
    /// `processes`
    Processes,
}

/// Not the name of a table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{name:?} is not a table of facts; it is one of os_version, disk_encryption, secureboot, screenlock, firewall, \
     patches, processes"
)]
pub struct TableError {
    name: String,
}

impl Table {
    /// All tables, in the report's order.
    pub const ALL: [Self; 7] = [
        Self::OsVersion,
        Self::DiskEncryption,
        Self::Secureboot,
        Self::Screenlock,
        Self::Firewall,
        Self::Patches,
        Self::Processes,
    ];

    /// osquery's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OsVersion => "os_version",
            Self::DiskEncryption => "disk_encryption",
            Self::Secureboot => "secureboot",
            Self::Screenlock => "screenlock",
            Self::Firewall => "firewall",
            Self::Patches => "patches",
            Self::Processes => "processes",
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Table {
    type Err = TableError;

    fn from_str(name: &str) -> Result<Self, TableError> {
        let unknown = || TableError { name: name.to_owned() };
        Self::ALL.into_iter().find(|table| table.as_str() == name).ok_or_else(unknown)
    }
}

impl Facts {
    /// These facts without the tables that nobody asked for.
    #[must_use]
    pub fn only(self, wanted: &BTreeSet<Table>) -> Self {
        fn keep<T>(rows: Option<T>, table: Table, wanted: &BTreeSet<Table>) -> Option<T> {
            rows.filter(|_| wanted.contains(&table))
        }
        Self {
            os_version: keep(self.os_version, Table::OsVersion, wanted),
            disk_encryption: keep(self.disk_encryption, Table::DiskEncryption, wanted),
            secureboot: keep(self.secureboot, Table::Secureboot, wanted),
            screenlock: keep(self.screenlock, Table::Screenlock, wanted),
            firewall: keep(self.firewall, Table::Firewall, wanted),
            patches: keep(self.patches, Table::Patches, wanted),
            processes: keep(self.processes, Table::Processes, wanted),
        }
    }

    /// The table with more than [`MOST_ROWS`] rows, if there is one.
    pub(super) fn overlong(&self) -> Option<Table> {
        let rows = |table| match table {
            Table::OsVersion => self.os_version.as_ref().map(Vec::len),
            Table::DiskEncryption => self.disk_encryption.as_ref().map(Vec::len),
            Table::Secureboot => self.secureboot.as_ref().map(Vec::len),
            Table::Screenlock => self.screenlock.as_ref().map(Vec::len),
            Table::Firewall => self.firewall.as_ref().map(Vec::len),
            Table::Patches => self.patches.as_ref().map(Vec::len),
            Table::Processes => self.processes.as_ref().map(Vec::len),
        };
        Table::ALL.into_iter().find(|table| rows(*table).is_some_and(|rows| rows > MOST_ROWS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_is_written() {
        for table in Table::ALL {
            assert_eq!(table.as_str().parse(), Ok(table));
            assert_eq!(serde_json::to_value(table).unwrap(), table.as_str());
        }
        assert!("users".parse::<Table>().is_err());
    }

    #[test]
    fn only_what_was_asked_for_is_kept() {
        let all: Facts = serde_json::from_str(
            r#"{"secureboot":[{"secure_boot":"1"}],"firewall":[{"enabled":"0"}],"processes":[]}"#,
        )
        .unwrap();
        let kept = all.only(&BTreeSet::from([Table::Firewall, Table::Patches]));
        assert_eq!(serde_json::to_string(&kept).unwrap(), r#"{"firewall":[{"enabled":"0"}]}"#);
    }

    #[test]
    fn a_column_or_table_that_nobody_knows_is_refused() {
        for text in [
            r#"{"users":[]}"#,
            r#"{"firewall":[{"enabled":"1","x":"1"}]}"#,
            r#"{"firewall":[{"enabled":true}]}"#,
        ] {
            assert!(serde_json::from_str::<Facts>(text).is_err(), "{text}");
        }
    }
}
