//! `[[level]]`: a state that a device can be in, and the checks it takes to be in it.
//! Never a check that is half read: over the built-in ones a bundle's are laid whole, and read as one.

use std::collections::BTreeSet;

use toml::Spanned;

use crate::bundle::error::{BundleError, Place, SourceFile, whole};
use crate::bundle::grant::{one_or_more, optional};
use crate::bundle::written::{Word, WrittenCheck, WrittenLevel, read};
use crate::names::Level;
use crate::posture::{Check, Conditions, DeviceKind, Mode, Rows, TABLES, Table, Wording, plain};

/// The most levels a bundle may have: each may be missing, alone or with others.
pub(super) const MOST_LEVELS: usize = 16;
/// The most checks in all: each is asked at every login.
pub(super) const MOST_CHECKS: usize = 64;
/// The longest name of a check.
const LONGEST_NAME: usize = 40;

/// A level as one place of the bundle has it.
pub(super) struct Written {
    pub(super) name: Level,
    pub(super) includes: BTreeSet<Level>,
    pub(super) checks: Vec<Check>,
}

impl Written {
    /// Reads a level of the bundle.
    pub(super) fn check(
        written: &WrittenLevel,
        conditions: &Conditions,
        place: Place<'_>,
    ) -> Result<Self, BundleError> {
        let at = written.name.span();
        let name = Level::parse(written.name.get_ref()).map_err(|e| place.told(at.clone(), "name", &e))?;
        if name == Level::managed() {
            let problem = "is built in: the inventory alone says what is managed";
            return Err(place.wrong(Some(at), problem, "give your level another name"));
        }
        let includes: BTreeSet<Level> =
            optional(written.includes.as_ref(), "includes", MOST_LEVELS, place, Level::parse)?;
        if written.check.is_empty() && includes.is_empty() {
            let remedy = "add [[level.check]] or includes";
            return Err(place.wrong(Some(at), "has no check", remedy));
        }
        let mut names = BTreeSet::new();
        if let Some(twin) = written.check.iter().find(|check| !names.insert(check.name.get_ref())) {
            let problem = format_args!("has the check {:?} twice", twin.name.get_ref());
            return Err(place.wrong(Some(twin.name.span()), problem, "keep one of them"));
        }
        let laid =
            if name == Level::healthy() { over_built_in(&written.check)? } else { written.check.clone() };
        let checks = laid.iter().map(|check| one(check, conditions, place)).collect::<Result<_, _>>()?;
        Ok(Self { name, includes, checks })
    }

    /// The level `healthy` of a bundle that does not speak of it.
    pub(super) fn built_in(conditions: &Conditions) -> Result<Self, BundleError> {
        let file = SourceFile { name: "the built-in healthy.toml".to_owned(), text: HEALTHY.to_owned() };
        let place = Place { file: &file, thing: &"level \"healthy\"" };
        let checks =
            built_in()?.iter().map(|check| one(check, conditions, place)).collect::<Result<_, _>>()?;
        Ok(Self { name: Level::healthy(), includes: BTreeSet::new(), checks })
    }
}

const HEALTHY: &str = include_str!("../posture/healthy.toml");

/// The checks of `healthy` that every bundle begins with.
fn built_in() -> Result<Vec<WrittenCheck>, BundleError> {
    let broken = |why: &str| whole(format_args!("cannot be checked: {why}"), "install an intact build");
    let written = read(HEALTHY).map_err(|unreadable| broken(&unreadable.message))?;
    let level = written.level.into_iter().next().ok_or_else(|| broken("the built-in level is gone"))?;
    Ok(level.check)
}

/// The bundle's checks of `healthy`: those with the name of a built-in one change of it what they say, others come on top.
fn over_built_in(own: &[WrittenCheck]) -> Result<Vec<WrittenCheck>, BundleError> {
    let mut checks = built_in()?;
    // What is not the bundle's text is complained about where the bundle names the check, or where it begins.
    let begin = own.first().map_or(0, |check| check.name.span().start);
    checks.iter_mut().for_each(|check| moved(check, begin));
    for change in own {
        let name = change.name.get_ref();
        match checks.iter_mut().find(|check| check.name.get_ref() == name) {
            Some(check) => {
                moved(check, change.name.span().start);
                laid_over(check, change);
            }
            None => checks.push(change.clone()),
        }
    }
    Ok(checks)
}

fn moved(check: &mut WrittenCheck, to: usize) {
    let words = [
        &mut check.table,
        &mut check.rows,
        &mut check.when,
        &mut check.mode,
        &mut check.failed,
        &mut check.remedy,
    ];
    for word in words.into_iter().flatten().chain([&mut check.name]) {
        *word = Spanned::new(to..to, word.get_ref().clone());
    }
    if let Some(on) = &mut check.on {
        *on = Spanned::new(to..to, on.get_ref().clone());
    }
}

fn laid_over(check: &mut WrittenCheck, change: &WrittenCheck) {
    let WrittenCheck { name, on, table, rows, when, mode, failed, remedy } = change.clone();
    check.name = name;
    check.on = on.or(check.on.take());
    for (word, change) in [
        (&mut check.table, table),
        (&mut check.rows, rows),
        (&mut check.when, when),
        (&mut check.mode, mode),
        (&mut check.failed, failed),
        (&mut check.remedy, remedy),
    ] {
        if change.is_some() {
            *word = change;
        }
    }
}

/// Reads one check.
fn one(written: &WrittenCheck, conditions: &Conditions, place: Place<'_>) -> Result<Check, BundleError> {
    let name = written.name.get_ref();
    let thing = format!("{}, check {name:?}", place.thing);
    let place = Place { file: place.file, thing: &thing };
    let at = written.name.span();
    let fits = |c: char| c == ' ' || c.is_ascii_alphanumeric() || "._/-".contains(c);
    if name.trim() != name || name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        let remedy = format_args!("use 1 to {LONGEST_NAME} of A-Z, a-z, 0-9, blank, '.', '_', '/', '-'");
        return Err(place.wrong(Some(at), "has a wrong name", remedy));
    }
    let table = table(written.table.as_ref(), place)?;
    let rows = rows(written, table, place)?;
    let when = needed(written.when.as_ref(), written, "when", "a Cedar expression", place)?;
    let mode = needed(
        written.mode.as_ref(),
        written,
        "mode",
        "\"observe\", \"warn until DATE\" or \"block\"",
        place,
    )?;
    let failed = needed(written.failed.as_ref(), written, "failed", "what to tell when it fails", place)?;
    let remedy = needed(written.remedy.as_ref(), written, "do", "what the operator should do then", place)?;
    Ok(Check {
        name: name.clone(),
        on: match &written.on {
            None => DeviceKind::ALL.into(),
            Some(list) => one_or_more(list, "on", DeviceKind::ALL.len(), place, DeviceKind::parse)?,
        },
        condition: conditions.compile(when.get_ref(), table).map_err(|wrong| {
            place.wrong(Some(when.span()), format_args!("has a wrong when: {}", wrong.problem), wrong.remedy)
        })?,
        mode: Mode::parse(mode.get_ref()).map_err(|e| place.told(mode.span(), "mode", &e))?,
        failed: Wording::parse(failed.get_ref(), table.filter(|_| rows != Rows::Any))
            .map_err(|e| place.told(failed.span(), "failed", &e))?,
        remedy: plain(remedy.get_ref()).map_err(|e| place.told(remedy.span(), "do", &e))?,
        table,
        rows,
    })
}

fn needed<'a>(
    word: Option<&'a Word>,
    check: &WrittenCheck,
    key: &str,
    what: &str,
    place: Place<'_>,
) -> Result<&'a Word, BundleError> {
    let missing =
        || place.wrong(Some(check.name.span()), format_args!("has no {key}"), format_args!("give {what}"));
    word.ok_or_else(missing)
}

fn table(word: Option<&Word>, place: Place<'_>) -> Result<Option<&'static Table>, BundleError> {
    let Some(word) = word else { return Ok(None) };
    Table::named(word.get_ref()).map(Some).ok_or_else(|| {
        let known: Vec<&str> = TABLES.iter().map(|table| table.name).collect();
        let problem = format_args!("is about a table {:?} that is not known", word.get_ref());
        place.wrong(Some(word.span()), problem, format_args!("write one of {}", known.join(", ")))
    })
}

fn rows(
    written: &WrittenCheck,
    table: Option<&'static Table>,
    place: Place<'_>,
) -> Result<Rows, BundleError> {
    match (&written.rows, table) {
        (None, _) => Ok(Rows::Every),
        (Some(word), None) => {
            Err(place.wrong(Some(word.span()), "has rows but no table", "name the table or leave out rows"))
        }
        (Some(word), Some(_)) => Rows::parse(word.get_ref()).map_err(|e| place.told(word.span(), "rows", &e)),
    }
}
