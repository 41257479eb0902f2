//! The judgement of a device: which levels it is at, and in words why not at the others.
//! Never decides what may be done with a level: that is for grants and rules.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::Bundle;
use crate::names::Level;
use crate::posture::check::Found;
use crate::posture::facts::Facts;
use crate::posture::mode::{Mode, Weight};

/// What came of judging a device. That something failed says nothing by itself: it counts for those levels alone that are
/// asked for, at login or by a grant; see [`Assessment::barring`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Assessment {
    /// The levels it is at.
    pub levels: BTreeSet<Level>,
    /// What bars it from a level.
    pub failed: Vec<Failed>,
    /// What will bar it from a level when its day comes.
    pub warned: Vec<Failed>,
    /// What is only noted.
    pub observed: Vec<Failed>,
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// Its name: `disk encryption`.
    pub check: String,
    /// The level it belongs to.
    pub level: Level,
    /// Every level that rests on it: its own, and those that include that one.
    pub levels: BTreeSet<Level>,
    /// How much it counts.
    pub mode: Mode,
    /// What was found: `/dev/sda2 is not encrypted`. Printable, one line.
    pub failed: String,
    /// What the operator can do; the bundle's `do`. Printable, one line.
    #[serde(rename = "do")]
    pub do_: String,
}

/// Judges a device by every check of every level. `now` is the time of the judgement, from which warnings become bars.
#[must_use]
pub fn assess(bundle: &Bundle, facts: &Facts, now: Timestamp) -> Assessment {
    let levels = bundle.posture();
    let (mut failed, mut warned, mut observed) = (Vec::new(), Vec::new(), Vec::new());
    if !facts.on_record().managed {
        failed.push(unmanaged(levels.names().cloned().collect()));
    }
    for (level, check) in levels.checks() {
        let Some(Found { failed: found, remedy }) = check.failing(facts) else { continue };
        let one = Failed {
            check: check.name.clone(),
            level: level.clone(),
            levels: levels.resting_on(level),
            mode: check.mode,
            failed: found,
            do_: remedy,
        };
        match check.mode.weight(now) {
            Weight::Noted => observed.push(one),
            Weight::Told => warned.push(one),
            Weight::Bars => failed.push(one),
        }
    }
    let barred: BTreeSet<&Level> = failed.iter().flat_map(|one| &one.levels).collect();
    let levels = levels.names().filter(|level| !barred.contains(level)).cloned().collect();
    Assessment { levels, failed, warned, observed }
}

impl Assessment {
    /// What bars the device from this level: to be told when it is asked for. Empty exactly when it is at the level, for
    /// every level the bundle has.
    pub fn barring<'a>(&'a self, level: &'a Level) -> impl Iterator<Item = &'a Failed> {
        self.failed.iter().filter(move |one| one.levels.contains(level))
    }

    /// What will bar the device from this level when its day comes: to be told when it is asked for.
    pub fn warning<'a>(&'a self, level: &'a Level) -> impl Iterator<Item = &'a Failed> {
        self.warned.iter().filter(move |one| one.levels.contains(level))
    }
}

fn unmanaged(levels: BTreeSet<Level>) -> Failed {
    Failed {
        check: "managed device".to_owned(),
        level: Level::managed(),
        levels,
        mode: Mode::Block,
        failed: "this device is not one that is looked after here".to_owned(),
        do_: "use one that is, or ask your administrator to enrol this one".to_owned(),
    }
}
