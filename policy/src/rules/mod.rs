//! Asks Cedar: first the guards (shipped ones and the bundle's), then the one grant rule.
//! Never reads an error as anything but a no: Cedar skips a rule that errs, which would open what it forbids.

mod compile;
mod grant;
mod guard;
mod levels;

use cedar_policy::{Authorizer, Entities, PolicyId, PolicySet, Request as Query, Schema};
use cedar_policy::{EntityId, EntityTypeName, EntityUid};

pub(crate) use compile::{Known, too_deep};

/// The rules of one bundle, compiled.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Shipped guards and the bundle's rules.
    guards: PolicySet,
    guard_schema: Schema,
    grant: PolicySet,
    grant_schema: Schema,
    nouns: Nouns,
    /// The ids of the bundle's own rules, in order.
    special: Vec<String>,
}

/// The entity types, read once.
#[derive(Debug)]
struct Nouns {
    action: EntityTypeName,
    grant: EntityTypeName,
    operator: EntityTypeName,
    role: EntityTypeName,
    target: EntityTypeName,
}

/// Why the rules say no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum No {
    /// This guard matched, or the grant rule did not.
    Forbidden(String),
    /// This rule could not be evaluated.
    Error(String),
}

impl Rules {
    /// The ids of the bundle's own rules.
    pub(crate) fn special(&self) -> &[String] {
        &self.special
    }

    /// Whether the guard of this id looks at the reason that the operator gave.
    pub(crate) fn reads_reason(&self, id: &str) -> bool {
        let rule = self.guards.policy(&PolicyId::new(id));
        rule.is_some_and(|rule| levels::says(&rule.to_string(), "reason"))
    }
}

/// One evaluation. Hands back the ids of the rules that permitted.
pub(crate) fn ask(query: &Query, rules: &PolicySet, entities: &Entities) -> Result<Vec<String>, No> {
    let answer = Authorizer::new().is_authorized(query, rules, entities);
    let diagnostics = answer.diagnostics();
    if let Some(cedar_policy::AuthorizationError::PolicyEvaluationError(error)) = diagnostics.errors().next()
    {
        return Err(No::Error(error.policy_id().to_string()));
    }
    let mut reasons: Vec<String> = diagnostics.reason().map(ToString::to_string).collect();
    reasons.sort();
    match answer.decision() {
        cedar_policy::Decision::Allow => Ok(reasons),
        cedar_policy::Decision::Deny => {
            Err(No::Forbidden(reasons.into_iter().next().unwrap_or_else(|| "shipped:grant".to_owned())))
        }
    }
}

/// The facts themselves could not be put to Cedar: that is a rule that cannot be evaluated, so a no.
fn unaskable(_: impl std::error::Error) -> No {
    No::Error("shipped:facts".to_owned())
}

fn uid(noun: &EntityTypeName, name: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(noun.clone(), EntityId::new(name))
}

fn long(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Whole seconds, rounded up: a code is never made younger than it is.
fn seconds(age: std::time::Duration) -> i64 {
    long(age.as_secs().saturating_add(u64::from(age.subsec_nanos() > 0)))
}
