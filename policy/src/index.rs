//! Finds the few grants that may matter among very many: by who they are for, and by what they name.
//! Never decides: everything it hands out is checked again, and it never leaves out a grant that fits.

use std::collections::{BTreeSet, HashMap};

use crate::names::{OperatorName, RoleName};
use crate::pattern::TargetPattern;
use crate::{Grant, Target};

/// Places in the bundle's list of grants, ascending.
type Places = Vec<u32>;

/// Two views of the same grants. A grant that fits stands in one list of each, so the fitting ones are where two lists
/// meet. The size is linear in the bundle, whatever its grants multiply out to.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_operator: HashMap<OperatorName, Places>,
    by_role: HashMap<RoleName, Places>,
    by_target: HashMap<Box<str>, Places>,
    /// By what a glob's matches begin with.
    by_prefix: HashMap<Box<str>, Places>,
    /// By one label of those the grant asks for, where it names no target.
    by_label: HashMap<Box<str>, HashMap<Box<str>, Places>>,
}

impl Index {
    pub(crate) fn of(grants: &[Grant]) -> Self {
        let mut index = Self::default();
        for (place, grant) in (0_u32..).zip(grants) {
            index.add(place, grant);
        }
        index
    }

    fn add(&mut self, place: u32, grant: &Grant) {
        for operator in grant.operators() {
            put(self.by_operator.entry(operator.clone()).or_default(), place);
        }
        for role in grant.roles() {
            put(self.by_role.entry(role.clone()).or_default(), place);
        }
        for pattern in grant.targets() {
            match pattern {
                TargetPattern::Exact(name) => {
                    put(self.by_target.entry(name.as_str().into()).or_default(), place)
                }
                TargetPattern::Glob(glob) => {
                    put(self.by_prefix.entry(glob.prefix().into()).or_default(), place)
                }
            }
        }
        if grant.targets().is_empty()
            && let Some((key, value)) = grant.labels().iter().next()
        {
            let values = self.by_label.entry(key.as_str().into()).or_default();
            put(values.entry(value.as_str().into()).or_default(), place);
        }
    }

    /// The places of all grants that could name this operator, or one of these roles, for this target. May hold some
    /// that do not.
    pub(crate) fn candidates(
        &self,
        operator: &OperatorName,
        roles: &BTreeSet<RoleName>,
        target: &Target,
    ) -> BTreeSet<u32> {
        let mut who: Vec<&[u32]> =
            roles.iter().filter_map(|role| self.by_role.get(role)).map(Vec::as_slice).collect();
        who.extend(self.by_operator.get(operator).map(Vec::as_slice));
        let what = self.naming(target);
        let mut found = BTreeSet::new();
        for subject in &who {
            for object in &what {
                meet(subject, object, &mut found);
            }
        }
        found
    }

    /// The places of all grants that could name this target, for anybody.
    pub(crate) fn of_target(&self, target: &Target) -> BTreeSet<u32> {
        self.naming(target).into_iter().flatten().copied().collect()
    }

    fn naming(&self, target: &Target) -> Vec<&[u32]> {
        let name = target.name().as_str();
        let mut lists: Vec<&[u32]> = self.by_target.get(name).map(Vec::as_slice).into_iter().collect();
        let beginnings = (0..=name.len()).filter_map(|length| name.get(..length));
        lists.extend(beginnings.filter_map(|beginning| self.by_prefix.get(beginning)).map(Vec::as_slice));
        let labels = target.labels().iter();
        lists.extend(
            labels
                .filter_map(|(key, value)| self.by_label.get(key.as_str())?.get(value.as_str()))
                .map(Vec::as_slice),
        );
        lists
    }
}

/// A grant with several globs of one beginning comes several times in a row.
fn put(places: &mut Places, place: u32) {
    if places.last() != Some(&place) {
        places.push(place);
    }
}

/// Adds what both ascending lists hold. Walks the shorter one and searches the rest of the longer.
fn meet(one: &[u32], other: &[u32], found: &mut BTreeSet<u32>) {
    let (short, mut long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    for place in short {
        let at = gallop(long, *place);
        long = long.get(at..).unwrap_or_default();
        match long.first() {
            Some(first) if first == place => {
                found.insert(*place);
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// How many of the ascending list are less than this, in steps that double: cheap when the answer is near.
fn gallop(list: &[u32], place: u32) -> usize {
    let mut reach = 1_usize;
    while list.get(reach).is_some_and(|other| *other < place) {
        reach = reach.saturating_mul(2);
    }
    let end = reach.saturating_add(1).min(list.len());
    list.get(..end).map_or(0, |near| near.partition_point(|other| *other < place))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lists_meet_in_exactly_what_both_hold(
            one in proptest::collection::btree_set(0_u32..300, 0..80),
            other in proptest::collection::btree_set(0_u32..300, 0..80),
        ) {
            let (left, right): (Vec<u32>, Vec<u32>) = (one.iter().copied().collect(), other.iter().copied().collect());
            let mut found = BTreeSet::new();
            meet(&left, &right, &mut found);
            prop_assert_eq!(found, one.intersection(&other).copied().collect::<BTreeSet<u32>>());
        }
    }
}
