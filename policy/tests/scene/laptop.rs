//! A laptop of alice's and what it tells, for the tests of posture.
//! Never a level by decree: it is at those that its facts bring it to.

use std::collections::BTreeMap;

use policy::{
    Assessment, Bundle, DeviceKind, DeviceName, Facts, FactsError, OnRecord, OperatorName, Told, assess,
};

use super::at;

/// When it is judged: the time at which alice asks.
pub(crate) const ASKED: &str = "2026-11-23T12:00:00Z";

/// When its facts were collected: a minute before.
pub(crate) fn collected() -> u64 {
    u64::try_from(at(ASKED).as_second()).unwrap() - 60
}

#[derive(Debug, Clone)]
pub(crate) struct Laptop {
    pub(crate) on_record: OnRecord,
    pub(crate) told: Told,
}

/// Managed, and with nothing that the built-in checks find fault with.
pub(crate) fn sound() -> Laptop {
    let checked_at = (collected() - 3_600).to_string();
    let on_record = OnRecord {
        name: DeviceName::parse("lt-1").unwrap(),
        kind: DeviceKind::Laptop,
        owner: OperatorName::parse("alice").unwrap(),
        managed: true,
        personal: false,
    };
    let told = Told {
        collected_at: collected(),
        hostname: "lt-1.example".to_owned(),
        serial: Some("PF3".to_owned()),
        agent: "0.1.0".to_owned(),
        key: "file".to_owned(),
        collector: "own".to_owned(),
        tables: BTreeMap::new(),
    };
    Laptop { on_record, told }
        .rows("os_version", &[&[("platform", "debian"), ("version", "12")]])
        .rows("disk_encryption", &[&[("name", "/dev/dm-0"), ("encrypted", "1")]])
        .rows("secureboot", &[&[("secure_boot", "1")]])
        .rows("screenlock", &[&[("enabled", "1"), ("grace_period", "0")]])
        .rows("firewall", &[&[("enabled", "1")]])
        .rows("patches", &[&[("pending_security", "0"), ("checked_at", &checked_at)]])
}

/// Sound, with its key in hardware and a sensor running.
pub(crate) fn guarded() -> Laptop {
    let mut laptop = sound().rows("processes", &[&[("name", "sensor")]]);
    laptop.told.key = "tpm".to_owned();
    laptop
}

impl Laptop {
    pub(crate) fn rows(mut self, table: &str, rows: &[&[(&str, &str)]]) -> Self {
        let row =
            |row: &&[(&str, &str)]| row.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.told.tables.insert(table.to_owned(), rows.iter().map(row).collect());
        self
    }

    pub(crate) fn cell(mut self, table: &str, column: &str, value: &str) -> Self {
        self.told
            .tables
            .get_mut(table)
            .and_then(|rows| rows.first_mut())
            .unwrap()
            .insert(column.to_owned(), value.to_owned());
        self
    }

    pub(crate) fn without(mut self, table: &str) -> Self {
        self.told.tables.remove(table);
        self
    }

    pub(crate) fn kind(mut self, kind: DeviceKind) -> Self {
        self.on_record.kind = kind;
        self
    }

    pub(crate) fn managed(mut self, managed: bool) -> Self {
        self.on_record.managed = managed;
        self
    }

    pub(crate) fn try_facts(self) -> Result<Facts, FactsError> {
        Facts::told(self.on_record, self.told, at(ASKED))
    }

    pub(crate) fn facts(&self) -> Facts {
        self.clone().try_facts().unwrap()
    }

    pub(crate) fn judged(&self, bundle: &Bundle) -> Assessment {
        assess(bundle, &self.facts(), at(ASKED))
    }
}

/// A level `own` with one check; `check` is what it has besides name, mode and texts.
pub(crate) fn own(check: &str) -> String {
    let mut text = "[[level]]\nname = \"own\"\n[[level.check]]\nname = \"c\"\n".to_owned();
    for (key, value) in [("mode", "block"), ("failed", "it failed"), ("do", "mend it")] {
        if !check.lines().any(|line| line.starts_with(key)) {
            text += &format!("{key} = \"{value}\"\n");
        }
    }
    text + check + "\n"
}
