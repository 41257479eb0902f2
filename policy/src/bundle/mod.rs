//! The access bundle: files in, one checked value out, with an index over its grants and its rules compiled.
//! Never half of it: a bundle holds in full or is refused with the first thing that is wrong.

mod draft;
mod error;
mod gateways;
mod grant;
mod host_key;
mod level;
mod login;
mod operator;
mod patterns;
mod require;
mod target;
mod written;

use std::collections::{BTreeMap, BTreeSet};

pub use error::{BundleError, SourceFile};
pub(crate) use error::{Place, whole};
pub use grant::Grant;
pub use login::Login;
pub use operator::Operator;
pub use require::Require;
pub use target::{Recording, Target, TargetLogin};

use crate::index::Index;
use crate::names::{Level, OperatorName, RoleName, TargetName};
use crate::posture::{FactsNeeded, Levels};
use crate::rules::Rules;
use draft::Draft;

/// Who and what exists, and who may do what. Holds everything a decision needs.
#[derive(Debug)]
pub struct Bundle {
    login: Login,
    host_patterns: Vec<String>,
    operators: BTreeMap<OperatorName, Operator>,
    targets: BTreeMap<TargetName, Target>,
    grants: Vec<Grant>,
    levels: Levels,
    index: Index,
    rules: Rules,
}

impl Bundle {
    /// Reads and checks a bundle. `*.toml` says who and what, `*.cedar` what is forbidden; the order of files does not
    /// matter. No files at all are a bundle that permits nothing.
    ///
    /// # Errors
    /// The first thing that is wrong; see [`BundleError`].
    pub fn parse(files: &[SourceFile]) -> Result<Self, BundleError> {
        draft::bounds(files)?;
        let mut files: Vec<&SourceFile> = files.iter().collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let mut draft = Draft::new()?;
        let mut cedar = Vec::new();
        for file in files {
            match file.name.rsplit_once('.') {
                Some((_, "toml")) => draft.add(file)?,
                Some((_, "cedar")) => cedar.push(file),
                _ => {
                    let remedy = "keep only *.toml and *.cedar in it";
                    return Err(whole(
                        format_args!("has a file {:?} that it cannot read", file.name),
                        remedy,
                    ));
                }
            }
        }
        draft.links()?;
        let rules = Rules::compile(&cedar, &draft)?;
        let levels = draft.settled()?;
        let index = Index::of(&draft.grants);
        let Draft { login, host_patterns, operators, targets, grants, .. } = draft;
        Ok(Self {
            login: login.unwrap_or_default(),
            host_patterns,
            operators,
            targets,
            grants,
            levels,
            index,
            rules,
        })
    }

    /// What every connection needs before any target is known.
    #[must_use]
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// The names, with `*`, for which our host CA may be trusted by clients; never `*` alone.
    #[must_use]
    pub fn host_patterns(&self) -> &[String] {
        &self.host_patterns
    }

    /// Everybody the bundle names, by name.
    pub fn operators(&self) -> impl ExactSizeIterator<Item = &Operator> {
        self.operators.values()
    }

    /// Whether the bundle says who exists. Then nobody else does, and `operator add` does not work.
    #[must_use]
    pub fn names_operators(&self) -> bool {
        !self.operators.is_empty()
    }

    /// The operator of this name.
    #[must_use]
    pub fn operator(&self, name: &OperatorName) -> Option<&Operator> {
        self.operators.get(name)
    }

    /// All targets, by name.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = &Target> {
        self.targets.values()
    }

    /// The target of this name.
    #[must_use]
    pub fn target(&self, name: &TargetName) -> Option<&Target> {
        self.targets.get(name)
    }

    /// The target of this name, which may be anything.
    pub(crate) fn target_named(&self, name: &str) -> Option<&Target> {
        self.targets.get(name)
    }

    /// All grants: by file name, then in the order written.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// All levels of posture there are, by name: `managed`, `healthy` and the bundle's own.
    pub fn levels(&self) -> impl Iterator<Item = &Level> {
        self.levels.names()
    }

    /// The facts that some check of some level names: what devices are to be asked for, and no more.
    #[must_use]
    pub fn facts_needed(&self) -> FactsNeeded {
        self.levels.needed()
    }

    pub(crate) fn posture(&self) -> &Levels {
        &self.levels
    }

    /// The ids of the bundle's own rules.
    #[must_use]
    pub fn rule_ids(&self) -> &[String] {
        self.rules.special()
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The grants that name this operator, or one of these roles, for this target.
    pub(crate) fn naming<'a>(
        &'a self,
        operator: &OperatorName,
        roles: &BTreeSet<RoleName>,
        target: &Target,
    ) -> Vec<&'a Grant> {
        self.at(&self.index.candidates(operator, roles, target))
            .filter(|grant| grant.names_operator(operator, roles) && grant.names_target(target))
            .collect()
    }

    /// The grants that name this target for anybody.
    pub(crate) fn naming_target<'a>(&'a self, target: &Target) -> Vec<&'a Grant> {
        self.at(&self.index.of_target(target)).filter(|grant| grant.names_target(target)).collect()
    }

    fn at<'a>(&'a self, places: &BTreeSet<u32>) -> impl Iterator<Item = &'a Grant> {
        places.iter().filter_map(|place| self.grants.get(usize::try_from(*place).ok()?))
    }
}

#[cfg(test)]
mod tests;
