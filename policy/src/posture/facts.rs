//! What is known of a device: what the inventory has on record, and what the device told of itself.
//! Never says whether a fact is good or bad, and never takes more of them than it can judge in short time.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use thiserror::Error;

use crate::names::{DeviceName, OperatorName};
use crate::posture::table::Table;

/// The most tables.
const MOST_TABLES: usize = 32;
/// The most rows of a table.
const MOST_ROWS: usize = 64;
/// The most columns of a row.
const MOST_COLUMNS: usize = 32;
/// The longest text, in bytes.
const LONGEST: usize = 255;

/// A person's machine or a service's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// A person sits at it.
    Laptop,
    /// A service runs on it.
    Host,
}

/// A word that names no kind of device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{word:?} is no kind of device; write laptop or host")]
pub struct DeviceKindError {
    word: String,
}

impl DeviceKind {
    /// Every kind there is.
    pub const ALL: [Self; 2] = [Self::Laptop, Self::Host];

    /// Reads a kind: `laptop`, `host`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(word: &str) -> Result<Self, DeviceKindError> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == word);
        found.ok_or_else(|| DeviceKindError { word: word.chars().take(64).collect() })
    }

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Laptop => "laptop",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the inventory has on record about a device. Nothing here is the device's own word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnRecord {
    /// Its name.
    pub name: DeviceName,
    /// A person's machine or a service's.
    pub kind: DeviceKind,
    /// Whose it is.
    pub owner: OperatorName,
    /// Enrolled, active, not locked, and looked after: what the level `managed` means.
    pub managed: bool,
    /// Bought by its owner.
    pub personal: bool,
}

/// What a device told of itself, as a proven report has it. All texts are the device's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When the facts were collected, Unix seconds.
    pub collected_at: u64,
    /// The name it has for itself.
    pub hostname: String,
    /// The maker's number.
    pub serial: Option<String>,
    /// The agent's version.
    pub agent: String,
    /// What keeps the device's key: `tpm`, `enclave`, `pkcs11`, `file`.
    pub key: String,
    /// Where the facts are from: `own`, `osquery`, `file`.
    pub collector: String,
    /// Tables by osquery's names, each a list of rows, each from column to text. A table that is absent was not collected;
    /// one that is empty was. What Fleet concluded stands in `policies`, with `id`, `name`, `response` and `critical`
    /// (`0` or `1`); no such table where the report has none.
    pub tables: BTreeMap<String, Vec<BTreeMap<String, String>>>,
}

/// Everything a device is judged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    on_record: OnRecord,
    told: Option<Told>,
    asked: Timestamp,
}

/// Why what a device told is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FactsError {
    /// Too much of something.
    #[error("facts refused: more than {most} {what}; send those that the policy names")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The most there may be.
        most: usize,
    },
    /// A text that is too long or would move a cursor.
    #[error(
        "facts refused: {0} is longer than 255 bytes or holds a control character; bring the agent to the bastion's version"
    )]
    Text(&'static str),
}

impl Facts {
    /// Of a device that told nothing: every check that applies to it fails.
    #[must_use]
    pub fn untold(on_record: OnRecord) -> Self {
        Self { on_record, told: None, asked: Timestamp::UNIX_EPOCH }
    }

    /// Of a device that proved this report. `asked` is the moment it is judged for, from which the age of the facts is
    /// counted: that of the login, or that at which a channel was asked for. Tables that no check can name are left out.
    ///
    /// # Errors
    /// When there is too much, or a text is no text.
    pub fn told(on_record: OnRecord, mut told: Told, asked: Timestamp) -> Result<Self, FactsError> {
        few(told.tables.len(), MOST_TABLES, "tables")?;
        told.tables.retain(|name, _| Table::named(name).is_some());
        for row in told.tables.values().flatten() {
            few(row.len(), MOST_COLUMNS, "columns")?;
            row.iter().try_for_each(|(column, value)| {
                plain(column).and_then(|()| plain(value)).ok_or(FactsError::Text("a row"))
            })?;
        }
        for rows in told.tables.values() {
            few(rows.len(), MOST_ROWS, "rows in a table")?;
        }
        let words = [
            (Some(&told.hostname), "its name"),
            (told.serial.as_ref(), "its serial"),
            (Some(&told.agent), "the agent's version"),
            (Some(&told.key), "the keeper of its key"),
            (Some(&told.collector), "the source of its facts"),
        ];
        for (word, what) in words {
            if word.is_some_and(|word| plain(word).is_none()) {
                return Err(FactsError::Text(what));
            }
        }
        Ok(Self { on_record, told: Some(told), asked })
    }

    /// The same facts, judged for another moment: a channel that is asked for later on the same connection. For a channel
    /// that already runs it stays the moment at which it was asked for; a channel does not grow stale by running.
    #[must_use]
    pub fn asked_at(self, asked: Timestamp) -> Self {
        Self { asked, ..self }
    }

    /// What the inventory has on record.
    #[must_use]
    pub fn on_record(&self) -> &OnRecord {
        &self.on_record
    }

    pub(crate) fn what_was_told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    /// Seconds from the collection of the facts to the moment they are judged for; less than 0 where clocks differ.
    pub(crate) fn age(&self, told: &Told) -> i64 {
        self.asked.as_second().saturating_sub(told.collected())
    }
}

impl Told {
    pub(crate) fn collected(&self) -> i64 {
        i64::try_from(self.collected_at).unwrap_or(i64::MAX)
    }
}

fn few(count: usize, most: usize, what: &'static str) -> Result<(), FactsError> {
    if count > most { Err(FactsError::TooMany { what, most }) } else { Ok(()) }
}

fn plain(text: &str) -> Option<()> {
    (text.len() <= LONGEST && !text.chars().any(char::is_control)).then_some(())
}
