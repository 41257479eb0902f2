//! The levels of a bundle, each with what it includes and its checks, and what devices are to be asked for.
//! Never a level that rests on itself or on one that is not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::Level;
use crate::posture::check::Check;
use crate::posture::table::PROGRAMS;

/// The levels of a bundle. INVARIANT: `managed` is among them, and every level includes it.
#[derive(Debug)]
pub(crate) struct Levels {
    levels: BTreeMap<Level, Standard>,
}

/// What it takes to be at a level.
#[derive(Debug)]
struct Standard {
    /// With itself, and everything that those include.
    includes: BTreeSet<Level>,
    checks: Vec<Check>,
}

/// What devices are to be asked for: nothing else is of use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactsNeeded {
    tables: BTreeMap<&'static str, BTreeSet<&'static str>>,
    programs: BTreeSet<String>,
}

impl FactsNeeded {
    /// Columns by table, by osquery's names; `policies` is what Fleet concluded.
    #[must_use]
    pub fn tables(&self) -> &BTreeMap<&'static str, BTreeSet<&'static str>> {
        &self.tables
    }

    /// The programs of which the table `processes` is to tell whether they run.
    #[must_use]
    pub fn programs(&self) -> &BTreeSet<String> {
        &self.programs
    }
}

/// A level includes itself, by way of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Circle(pub(crate) Level);

impl Levels {
    /// Joins levels with what they include. Names in `includes` that are not there were refused before.
    pub(crate) fn of(defined: BTreeMap<Level, (BTreeSet<Level>, Vec<Check>)>) -> Result<Self, Circle> {
        let direct: BTreeMap<Level, BTreeSet<Level>> =
            defined.iter().map(|(level, (includes, _))| (level.clone(), includes.clone())).collect();
        let managed = Standard { includes: [Level::managed()].into(), checks: Vec::new() };
        let mut levels = BTreeMap::from([(Level::managed(), managed)]);
        for (level, (_, checks)) in defined {
            let includes = closure(&level, &direct)?;
            levels.insert(level, Standard { includes, checks });
        }
        Ok(Self { levels })
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Level> {
        self.levels.keys()
    }

    /// Every check with its level.
    pub(crate) fn checks(&self) -> impl Iterator<Item = (&Level, &Check)> {
        self.levels
            .iter()
            .flat_map(|(level, standard)| standard.checks.iter().map(move |check| (level, check)))
    }

    /// The levels that a device at this one is at: itself, and what it includes.
    pub(crate) fn included(&self, level: &Level) -> BTreeSet<Level> {
        self.levels.get(level).map_or_else(|| [level.clone()].into(), |standard| standard.includes.clone())
    }

    /// The levels that nobody is at who is not at this one: itself, and those that include it.
    pub(crate) fn resting_on(&self, level: &Level) -> BTreeSet<Level> {
        let rests = |(_, standard): &(&Level, &Standard)| standard.includes.contains(level);
        self.levels.iter().filter(rests).map(|(name, _)| name.clone()).collect()
    }

    /// What the checks name, and nothing else.
    pub(crate) fn needed(&self) -> FactsNeeded {
        let mut needed = FactsNeeded::default();
        for (_, check) in self.checks() {
            let Some(table) = check.table else { continue };
            let columns = check.condition.columns().iter().copied().chain(check.failed.columns());
            needed.tables.entry(table.name).or_default().extend(columns.map(|column| column.told()));
            if table.name == PROGRAMS {
                needed.programs.extend(check.condition.programs().iter().cloned());
            }
        }
        needed
    }
}

fn closure(level: &Level, direct: &BTreeMap<Level, BTreeSet<Level>>) -> Result<BTreeSet<Level>, Circle> {
    let mut found = BTreeSet::from([level.clone(), Level::managed()]);
    let mut left: Vec<&Level> = direct.get(level).into_iter().flatten().collect();
    while let Some(next) = left.pop() {
        if next == level {
            return Err(Circle(level.clone()));
        }
        if found.insert(next.clone()) {
            left.extend(direct.get(next).into_iter().flatten());
        }
    }
    Ok(found)
}
