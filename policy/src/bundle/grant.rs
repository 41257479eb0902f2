//! `[[grant]]`: who may do what on which accounts of which targets, and under which conditions.
//! Never a condition that is half read: what cannot be understood refuses the whole bundle.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use toml::Spanned;

use crate::Target;
use crate::bundle::error::{BundleError, Place};
use crate::bundle::patterns::Patterns;
use crate::bundle::require::Require;
use crate::bundle::target::labels;
use crate::bundle::written::{Word, WrittenGrant};
use crate::channel::{Capability, ChannelKind};
use crate::destination::Destination;
use crate::hours::Hours;
use crate::names::{AccountName, GrantName, OperatorName, RoleName};
use crate::pattern::{Labels, TargetPattern};
use crate::span;

/// The most entries in a list of names.
const MOST_NAMES: usize = 1_024;
/// The most entries in any other list.
const MOST: usize = 64;

/// A stored entitlement.
#[derive(Debug, Clone)]
pub struct Grant {
    name: GrantName,
    roles: BTreeSet<RoleName>,
    operators: BTreeSet<OperatorName>,
    targets: Vec<TargetPattern>,
    labels: Labels,
    accounts: BTreeSet<AccountName>,
    allow: BTreeSet<Capability>,
    forward_to: Vec<Destination>,
    require: Require,
    hours: Option<Hours>,
    until: Option<Timestamp>,
    max_session: Option<Duration>,
}

impl Grant {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &GrantName {
        &self.name
    }

    /// The roles it is for; an operator with one of them is named.
    #[must_use]
    pub fn roles(&self) -> &BTreeSet<RoleName> {
        &self.roles
    }

    /// The operators it is for besides those of its roles.
    #[must_use]
    pub fn operators(&self) -> &BTreeSet<OperatorName> {
        &self.operators
    }

    /// The targets by name; empty when it goes by labels alone.
    #[must_use]
    pub fn targets(&self) -> &[TargetPattern] {
        &self.targets
    }

    /// The labels a target must have, all of them; empty when it goes by names alone.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The accounts.
    #[must_use]
    pub fn accounts(&self) -> &BTreeSet<AccountName> {
        &self.accounts
    }

    /// What may be done.
    #[must_use]
    pub fn allow(&self) -> &BTreeSet<Capability> {
        &self.allow
    }

    /// Where `forward` may lead, as seen from the target; not empty exactly when `forward` is allowed.
    #[must_use]
    pub fn forward_to(&self) -> &[Destination] {
        &self.forward_to
    }

    /// The conditions.
    #[must_use]
    pub fn require(&self) -> &Require {
        &self.require
    }

    /// When in the week it holds.
    #[must_use]
    pub fn hours(&self) -> Option<&Hours> {
        self.hours.as_ref()
    }

    /// The instant at which it ends.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// How long a session by it may last.
    #[must_use]
    pub fn max_session(&self) -> Option<Duration> {
        self.max_session
    }

    /// Whether it is for this operator: by name, or by one of these roles.
    #[must_use]
    pub fn names_operator(&self, operator: &OperatorName, roles: &BTreeSet<RoleName>) -> bool {
        self.operators.contains(operator) || !self.roles.is_disjoint(roles)
    }

    /// Whether it is for this target: by name where it has names, and by all its labels where it has labels.
    #[must_use]
    pub fn names_target(&self, target: &Target) -> bool {
        let by_name = self.targets.is_empty() || self.targets.iter().any(|p| p.matches(target.name()));
        let by_labels = self.labels.iter().all(|(key, value)| target.labels().get(key) == Some(value));
        by_name && by_labels && !(self.targets.is_empty() && self.labels.is_empty())
    }

    /// Whether it allows everything that this kind of channel needs, and for a forward also names where it leads.
    #[must_use]
    pub fn allows(&self, kind: &ChannelKind) -> bool {
        kind.needs().iter().all(|needed| self.allow.contains(needed)) && self.leads_to(kind)
    }

    /// Whether a forward of this kind leads where the grant says; yes for what is no forward.
    #[must_use]
    pub fn leads_to(&self, kind: &ChannelKind) -> bool {
        kind.destination().is_none_or(|destination| self.forward_to.contains(destination))
    }

    pub(super) fn check(
        written: &WrittenGrant,
        patterns: &mut Patterns,
        place: Place<'_>,
    ) -> Result<Self, BundleError> {
        let name = &written.name;
        let allow = one_or_more(&written.allow, "allow", MOST, place, Capability::parse)?;
        let grant = Self {
            name: GrantName::parse(name.get_ref()).map_err(|e| place.told(name.span(), "name", &e))?,
            roles: optional(written.roles.as_ref(), "roles", MOST_NAMES, place, RoleName::parse)?,
            operators: optional(
                written.operators.as_ref(),
                "operators",
                MOST_NAMES,
                place,
                OperatorName::parse,
            )?,
            targets: optional(written.targets.as_ref(), "targets", MOST_NAMES, place, |text| {
                patterns.read(text)
            })?,
            labels: match &written.labels {
                Some(list) if list.get_ref().is_empty() => {
                    return Err(place.wrong(
                        Some(list.span()),
                        "has empty labels",
                        "name a label or leave it out",
                    ));
                }
                Some(list) => labels(list.get_ref(), place)?,
                None => Labels::new(),
            },
            accounts: one_or_more(&written.accounts, "accounts", MOST, place, AccountName::parse)?,
            forward_to: optional(written.forward_to.as_ref(), "forward_to", MOST, place, Destination::parse)?,
            allow,
            require: Require::check(written.require.as_ref(), place)?,
            hours: hours(written.hours.as_ref(), place)?,
            until: written.until.as_ref().map(|value| until(value, place)).transpose()?,
            max_session: max_session(written.max_session.as_ref(), place)?,
        };
        grant.whole(written, place)?;
        Ok(grant)
    }

    /// What only the whole grant can be wrong about.
    fn whole(&self, written: &WrittenGrant, place: Place<'_>) -> Result<(), BundleError> {
        let at = Some(written.name.span());
        if self.roles.is_empty() && self.operators.is_empty() {
            return Err(place.wrong(at, "names nobody", "give roles or operators"));
        }
        if self.targets.is_empty() && self.labels.is_empty() {
            return Err(place.wrong(at, "names no target", "give targets or labels"));
        }
        match (self.allow.contains(&Capability::Forward), self.forward_to.is_empty()) {
            (true, true) => {
                let remedy = "give forward_to, like [\"127.0.0.1:5432\"]";
                Err(place.wrong(at, "allows \"forward\" but not where to", remedy))
            }
            (false, false) => {
                let remedy = "add \"forward\" to allow or remove forward_to";
                Err(place.wrong(at, "has forward_to but does not allow \"forward\"", remedy))
            }
            _ => Ok(()),
        }
    }
}

/// Reads a list that must not be empty.
pub(super) fn one_or_more<T, E: std::fmt::Display, C: FromIterator<T>>(
    list: &Spanned<Vec<Word>>,
    key: &str,
    most: usize,
    place: Place<'_>,
    mut read: impl FnMut(&str) -> Result<T, E>,
) -> Result<C, BundleError> {
    let words = list.get_ref();
    if words.is_empty() {
        let problem = format_args!("has an empty {key}");
        return Err(place.wrong(Some(list.span()), problem, format_args!("put something into {key}")));
    }
    if words.len() > most {
        let problem = format_args!("has {} entries in {key}, more than {most}", words.len());
        return Err(place.wrong(Some(list.span()), problem, "split it into several grants"));
    }
    let entry = |word: &Word| {
        read(word.get_ref()).map_err(|e| place.told(word.span(), &format!("entry in {key}"), &e))
    };
    words.iter().map(entry).collect()
}

/// Reads a list that may be left out, but not be empty.
pub(super) fn optional<T, E: std::fmt::Display, C: FromIterator<T>>(
    list: Option<&Spanned<Vec<Word>>>,
    key: &str,
    most: usize,
    place: Place<'_>,
    read: impl FnMut(&str) -> Result<T, E>,
) -> Result<C, BundleError> {
    match list {
        None => Ok(std::iter::empty().collect()),
        Some(list) => one_or_more(list, key, most, place, read),
    }
}

fn hours(word: Option<&Word>, place: Place<'_>) -> Result<Option<Hours>, BundleError> {
    word.map(|word| Hours::parse(word.get_ref()).map_err(|e| place.told(word.span(), "hours", &e)))
        .transpose()
}

/// A string, or a date or time as TOML knows them.
fn until(value: &Spanned<toml::Value>, place: Place<'_>) -> Result<Timestamp, BundleError> {
    let text = match value.get_ref() {
        toml::Value::String(text) => text.clone(),
        toml::Value::Datetime(time) => time.to_string(),
        _ => "a value of another type".to_owned(),
    };
    span::until(&text).map_err(|e| place.told(value.span(), "until", &e))
}

fn max_session(word: Option<&Word>, place: Place<'_>) -> Result<Option<Duration>, BundleError> {
    let Some(word) = word else { return Ok(None) };
    let length = span::duration(word.get_ref()).map_err(|e| place.told(word.span(), "max_session", &e))?;
    if length < Duration::from_secs(1) {
        return Err(place.wrong(Some(word.span()), "has a max_session of nothing", "give at least \"1s\""));
    }
    Ok(Some(length))
}
