//! One check: what it asks of a device, how much it counts, and what a person is told when it fails.
//! Never passes for want of facts: what is missing, unreadable or errs has failed.

use std::collections::{BTreeMap, BTreeSet};

use crate::posture::condition::{Condition, Unanswered};
use crate::posture::facts::{DeviceKind, Facts};
use crate::posture::mode::Mode;
use crate::posture::table::Table;
use crate::posture::wording::Wording;

/// What to do where a table is missing: the agent hears by it that the table is asked for.
const REFRESH: &str =
    "run `bartizan-agent refresh`, connect again; where that does not help, update bartizan-agent";
/// What to do where an agent that can tell is missing.
const UPDATE: &str = "update bartizan-agent, run `bartizan-agent refresh`, connect again";

/// A check.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: String,
    /// The kinds of device it applies to.
    pub(crate) on: BTreeSet<DeviceKind>,
    pub(crate) table: Option<&'static Table>,
    pub(crate) rows: Rows,
    pub(crate) condition: Condition,
    pub(crate) mode: Mode,
    pub(crate) failed: Wording,
    pub(crate) remedy: String,
}

/// For which rows of the table the condition must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    /// For all, and there is one.
    Every,
    /// For one at least.
    Any,
    /// For none; there need be no row.
    None,
}

/// That a check failed, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) failed: String,
    pub(crate) remedy: String,
}

impl Rows {
    /// Reads `every`, `any` or `none`.
    pub(crate) fn parse(word: &str) -> Result<Self, String> {
        match word {
            "every" => Ok(Self::Every),
            "any" => Ok(Self::Any),
            "none" => Ok(Self::None),
            _ => Err(format!("{word:?} is none; write \"every\", \"any\" or \"none\"")),
        }
    }
}

impl Check {
    /// What is wrong with this device; none when the check passes or does not apply to it.
    pub(crate) fn failing(&self, facts: &Facts) -> Option<Found> {
        if !self.on.contains(&facts.on_record().kind) {
            return None;
        }
        let Some(told) = facts.what_was_told() else {
            let failed = "this device told nothing about itself".to_owned();
            let remedy = "install bartizan-agent on it and connect with that".to_owned();
            return Some(Found { failed, remedy });
        };
        let holds = |row: Option<&BTreeMap<String, String>>| self.condition.holds(facts, told, row);
        let verdict = match self.table {
            None => holds(None).map(|holds| (!holds).then(|| self.found(None))),
            Some(table) => match told.tables.get(table.name) {
                None => Ok(Some(Found {
                    failed: format!("it did not tell its {}", table.name),
                    remedy: REFRESH.to_owned(),
                })),
                Some(rows) => self.over(rows, |row| holds(Some(row))),
            },
        };
        verdict.unwrap_or_else(|unanswered| Some(self.unanswered(unanswered)))
    }

    /// The first row that errs, or else the first that fails the check.
    fn over(
        &self,
        rows: &[BTreeMap<String, String>],
        holds: impl Fn(&BTreeMap<String, String>) -> Result<bool, Unanswered>,
    ) -> Result<Option<Found>, Unanswered> {
        let answers: Vec<bool> = rows.iter().map(holds).collect::<Result<_, _>>()?;
        let first =
            |wanted: bool| rows.iter().zip(&answers).find(|(_, holds)| **holds == wanted).map(|(row, _)| row);
        Ok(match self.rows {
            Rows::Every if rows.is_empty() => Some(self.empty()),
            Rows::Every => first(false).map(|row| self.found(Some(row))),
            Rows::Any => first(true).is_none().then(|| self.found(None)),
            Rows::None => first(true).map(|row| self.found(Some(row))),
        })
    }

    fn found(&self, row: Option<&BTreeMap<String, String>>) -> Found {
        Found { failed: self.failed.about(row.unwrap_or(&BTreeMap::new())), remedy: self.remedy.clone() }
    }

    fn empty(&self) -> Found {
        let table = self.table.map_or("", |table| table.name);
        Found { failed: format!("its {table} names nothing"), remedy: self.remedy.clone() }
    }

    fn unanswered(&self, unanswered: Unanswered) -> Found {
        let (failed, remedy) = match unanswered {
            Unanswered::Unreadable => ("what it told cannot be read", UPDATE),
            Unanswered::Erred => ("this could not be judged", "ask those who write the access rules"),
        };
        Found { failed: failed.to_owned(), remedy: remedy.to_owned() }
    }
}
