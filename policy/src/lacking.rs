//! What is missing: the decision made again, with conditions taken as met, until the smallest set is found that permits.
//! Never makes a permit: what is found here is only told.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::Grant;
use crate::decide::Scene;
use crate::denial::{Cause, Denial, Missing};
use crate::rules::No;

/// How many grants are looked at.
const MOST_GRANTS: usize = 1_000;
/// How many different sets are tried; the smallest come first.
const MOST_SETS: usize = 16;
/// How many of the smallest sets are widened by what only a rule demands.
const MOST_WIDENED: usize = 4;
/// How often the rules are asked in all, so that being denied stays cheap for us. Spent, a set may come out larger than
/// need be, and still is enough.
const MOST_QUESTIONS: u32 = 150;

type Set = BTreeSet<Missing>;

/// What is missing in this scene, or the rule that forbids whatever is added. `forbidden` is the rule that forbids it now.
pub(crate) fn lacking(scene: &Scene<'_>, forbidden: Option<String>) -> Denial {
    let grants = scene.grants.iter().take(MOST_GRANTS);
    let mut sets: Vec<(Set, &Grant)> =
        grants.map(|grant| (scene.case.missing(scene.bundle, grant), *grant)).collect();
    sets.sort_by_cached_key(|(set, grant)| (rank(set), grant.name().clone()));
    sets.dedup_by(|(one, _), (other, _)| one == other);
    sets.truncate(MOST_SETS);
    let search = Search { scene, questions: Cell::new(MOST_QUESTIONS) };
    let mut rule = forbidden;
    let (mut enough, mut not_enough) = (None, Vec::new());
    for (set, grant) in sets {
        match search.would(&set, grant) {
            Ok(()) => {
                enough = Some((set, grant));
                break;
            }
            Err(No::Forbidden(by)) => {
                rule = rule.or(Some(by));
                not_enough.push((set, grant));
            }
            Err(No::Error(rule)) => return Denial::because(Cause::RuleError { rule }),
        }
    }
    // A smaller set that a rule holds back may, with what the rule demands, still be smaller.
    let widened = not_enough.into_iter().take(MOST_WIDENED);
    let widened = widened.filter_map(|(set, grant)| Some((search.widened(&set, grant)?, grant)));
    match enough.into_iter().chain(widened).min_by_key(|(set, _)| rank(set)) {
        Some((set, grant)) => Denial::lacking(&set, grant.name()),
        None => {
            let rule = rule.unwrap_or_else(|| "shipped:grant".to_owned());
            Denial::because(Cause::Forbidden { rule })
        }
    }
}

struct Search<'a, 'b> {
    scene: &'a Scene<'b>,
    questions: Cell<u32>,
}

impl Search<'_, '_> {
    /// The smallest set above this one that would permit, where a rule demands what no grant does. One question, with
    /// everything added, rules most of them out: a rule that forbids even then does not wait for anything.
    fn widened(&self, set: &Set, grant: &Grant) -> Option<Set> {
        let extras = self.scene.case.could_add(self.scene.bundle);
        let mut all: Set = set.iter().chain(&extras).cloned().collect();
        self.would(&all, grant).ok()?;
        for extra in extras.iter().rev().filter(|extra| !set.contains(extra)) {
            all.remove(extra);
            if self.would(&all, grant).is_err() {
                all.insert(extra.clone());
            }
        }
        // Nothing can be taken away from it any more. Where a rule has an "or", another set may still be smaller.
        let ones = grown(set, &extras);
        let twos = || {
            ones.iter().flat_map(|one| grown(one, &extras)).collect::<BTreeSet<Set>>().into_iter().collect()
        };
        let smaller: Vec<Set> = match all.len().saturating_sub(set.len()) {
            0 | 1 => Vec::new(),
            2 => ones,
            _ => [ones.clone(), twos()].concat(),
        };
        smaller.into_iter().find(|set| self.would(set, grant).is_ok()).or(Some(all))
    }

    /// Whether it would be permitted by this grant if these conditions were met.
    fn would(&self, set: &Set, grant: &Grant) -> Result<(), No> {
        let left = self.questions.get().checked_sub(1);
        self.questions.set(left.unwrap_or(0));
        if left.is_none() {
            return Err(No::Forbidden("shipped:enough-asked".to_owned()));
        }
        let case = self.scene.case.with(self.scene.bundle, set);
        self.scene.bundle.rules().guard(&case)?;
        self.scene.bundle.rules().grant(self.scene.bundle, grant, &case).map(|_| ())
    }
}

/// What cannot be met from here last, then the fewest, then the easiest.
fn rank(set: &Set) -> (usize, usize, Set) {
    (set.iter().filter(|condition| condition.out_of_reach()).count(), set.len(), set.clone())
}

fn grown(set: &Set, extras: &[Missing]) -> Vec<Set> {
    let with = |extra: &Missing| {
        let mut wider = set.clone();
        wider.insert(extra.clone()).then_some(wider)
    };
    let mut sets: Vec<Set> = extras.iter().filter_map(with).collect();
    sets.sort_by_cached_key(rank);
    sets
}
