//! What is missing: the decision made again, with conditions taken as met, until the smallest set is found that permits.
//! Never makes a permit: what is found here is only told.

use std::collections::BTreeSet;

use crate::Grant;
use crate::decide::Scene;
use crate::denial::{Cause, Denial, Missing};
use crate::rules::No;

/// How many different sets are tried; the smallest come first.
const MOST_SETS: usize = 16;
/// How many of the smallest sets are widened by what only a rule demands.
const MOST_WIDENED: usize = 4;

type Set = BTreeSet<Missing>;

impl Scene<'_> {
    /// What is missing, or the rule that forbids whatever is added. `forbidden` is the rule that forbids it now.
    pub(crate) fn lacking(&self, forbidden: Option<String>) -> Denial {
        let mut sets: Vec<(Set, &Grant)> =
            self.grants.iter().map(|grant| (self.facts.missing(self.bundle, grant), *grant)).collect();
        sets.sort_by_cached_key(|(set, grant)| (rank(set), grant.name().clone()));
        sets.dedup_by(|(one, _), (other, _)| one == other);
        sets.truncate(MOST_SETS);
        let mut rule = forbidden;
        let (mut enough, mut not_enough) = (None, Vec::new());
        for (set, grant) in sets {
            match self.would(&set, grant) {
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
        let widened = widened.filter_map(|(set, grant)| Some((self.widened(&set, grant)?, grant)));
        match enough.into_iter().chain(widened).min_by_key(|(set, _)| rank(set)) {
            Some((set, grant)) => Denial::lacking(&set, grant.name()),
            None => {
                let rule = rule.unwrap_or_else(|| "shipped:grant".to_owned());
                Denial::because(Cause::Forbidden { rule })
            }
        }
    }

    /// The smallest set above this one that would permit, where a rule demands what no grant does. One question, with
    /// everything added, rules most of them out: a rule that forbids even then does not wait for anything.
    fn widened(&self, set: &Set, grant: &Grant) -> Option<Set> {
        let extras = self.facts.could_add();
        let mut all: Set = set.iter().chain(&extras).cloned().collect();
        self.would(&all, grant).ok()?;
        let ones = grown(set, &extras);
        let twos: BTreeSet<Set> = ones.iter().flat_map(|one| grown(one, &extras)).collect();
        for mut wider in [ones, twos.into_iter().collect()] {
            wider.sort_by_cached_key(rank);
            if let Some(found) = wider.into_iter().find(|wider| self.would(wider, grant).is_ok()) {
                return Some(found);
            }
        }
        // Three or more: take away what is not needed, the hardest first.
        for extra in extras.iter().rev().filter(|extra| !set.contains(extra)) {
            all.remove(extra);
            if self.would(&all, grant).is_err() {
                all.insert(extra.clone());
            }
        }
        Some(all)
    }

    /// Whether it would be permitted by this grant if these conditions were met.
    fn would(&self, set: &Set, grant: &Grant) -> Result<(), No> {
        let facts = self.facts.with(set);
        self.bundle.rules().guard(&facts)?;
        self.bundle.rules().grant(self.bundle, grant, &facts).map(|_| ())
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
    extras.iter().filter_map(with).collect()
}
