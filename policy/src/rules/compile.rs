//! Reads the shipped rules and the bundle's `*.cedar`, and checks them against the schema.
//! Never takes a rule that opens: what a bundle opens stands in its grants, where it can be listed and counted.

use std::str::FromStr;

use cedar_policy::{
    Effect, EntityTypeName, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationResult, Validator,
};
use miette::Diagnostic;

use crate::bundle::{BundleError, Place, SourceFile, whole};
use crate::rules::levels::levels_named;
use crate::rules::{Nouns, Rules};

/// What a rule may name: things that are looked up in the bundle.
pub(crate) trait Known {
    /// Whether there is such an operator; yes when the bundle names none.
    fn operator(&self, name: &str) -> bool;
    /// Whether there is such a target.
    fn target(&self, name: &str) -> bool;
    /// Whether there is such a level of posture.
    fn level(&self, name: &str) -> bool;
}

/// The most rules a bundle may hold: each is evaluated for every decision.
const MOST_RULES: usize = 1_000;
/// The most text of rules in all, in bytes.
const MOST_TEXT: usize = 1 << 20;
/// The longest rule, in bytes.
const LONGEST_RULE: usize = 8 << 10;

impl Rules {
    /// Compiles the shipped rules and those of these files.
    pub(crate) fn compile(files: &[&SourceFile], known: &dyn Known) -> Result<Self, BundleError> {
        let mut guards = shipped(include_str!("guards.cedar"))?;
        let guard_schema = schema(include_str!("guards.cedarschema"))?;
        if files.iter().map(|file| file.text.len()).sum::<usize>() > MOST_TEXT {
            return Err(whole("has more than 1 MiB of rules", "remove some"));
        }
        let validator = Validator::new(guard_schema.clone());
        let mut special = Vec::new();
        for file in files {
            let set = parsed(file)?;
            if special.len().saturating_add(set.num_of_policies()) > MOST_RULES {
                return Err(whole(format_args!("has more than {MOST_RULES} rules"), "remove some"));
            }
            for policy in checked(file, &set, &validator, known)? {
                let id = policy.id().to_string();
                let place = Place { file, thing: &format!("rule \"{id}\"") };
                if guards.add(policy).is_err() {
                    return Err(place.wrong(None, "stands twice", "give one of them another @id"));
                }
                special.push(id);
            }
        }
        if special.len() > MOST_RULES {
            return Err(whole(
                format_args!("has {} rules, more than {MOST_RULES}", special.len()),
                "remove some",
            ));
        }
        let grant = shipped(include_str!("grant.cedar"))?;
        let grant_schema = schema(include_str!("grant.cedarschema"))?;
        Ok(Self { guards, guard_schema, grant, grant_schema, nouns: nouns()?, special })
    }
}

/// A shipped text that does not compile is a broken build; it refuses every bundle.
fn broken(what: &str, error: impl std::fmt::Display) -> BundleError {
    whole(format_args!("cannot be checked: the shipped {what} is broken: {error}"), "install an intact build")
}

fn schema(text: &str) -> Result<Schema, BundleError> {
    Ok(Schema::from_cedarschema_str(text).map_err(|e| broken("schema", e))?.0)
}

/// Shipped rules, under the ids of their `@id`.
fn shipped(text: &str) -> Result<PolicySet, BundleError> {
    let read = PolicySet::from_str(text).map_err(|e| broken("rules", e))?;
    let mut set = PolicySet::new();
    for policy in read.policies() {
        let id = policy.annotation("id").unwrap_or("shipped").to_owned();
        set.add(policy.new_id(PolicyId::new(id))).map_err(|e| broken("rules", e))?;
    }
    Ok(set)
}

fn nouns() -> Result<Nouns, BundleError> {
    let noun = |name: &str| EntityTypeName::from_str(name).map_err(|e| broken("schema", e));
    Ok(Nouns {
        action: noun("Action")?,
        grant: noun("Grant")?,
        operator: noun("Operator")?,
        role: noun("Role")?,
        target: noun("Target")?,
    })
}

/// The rules of one file as written.
fn parsed(file: &SourceFile) -> Result<PolicySet, BundleError> {
    let place = Place { file, thing: &"a rule" };
    if let Some(at) = too_deep(&file.text) {
        let problem = format_args!("is nested more than {DEEPEST} deep or longer than {LONGEST_RULE} bytes");
        return Err(place.wrong(Some(at..at), problem, "split it into several rules"));
    }
    let set = PolicySet::from_str(&file.text).map_err(|error| {
        let at = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
        let problem = format_args!("cannot be read: {error}");
        place.wrong(at.map(|at| at..at), problem, "correct it (docs/access-bundle.md shows the form)")
    })?;
    if let Some(template) = set.templates().next() {
        let at = found(file, &template.to_cedar());
        return Err(place.wrong(
            at,
            "has a slot",
            "write out whom and what it is about instead of ?principal",
        ));
    }
    Ok(set)
}

/// The rules of one file, in order, held against the schema and the bundle.
fn checked(
    file: &SourceFile,
    set: &PolicySet,
    validator: &Validator,
    known: &dyn Known,
) -> Result<Vec<Policy>, BundleError> {
    let validated = validator.validate(set, ValidationMode::Strict);
    let mut policies: Vec<(usize, Policy)> =
        set.policies().map(|policy| (number(policy), policy.clone())).collect();
    policies.sort_by_key(|(number, _)| *number);
    policies.into_iter().map(|(number, policy)| one(file, number, &policy, &validated, known)).collect()
}

/// One rule, under its `@id` or `file#n`.
fn one(
    file: &SourceFile,
    number: usize,
    policy: &Policy,
    validated: &ValidationResult,
    known: &dyn Known,
) -> Result<Policy, BundleError> {
    let given = policy.annotation("id").filter(|id| !id.is_empty());
    let id = given.map_or_else(|| format!("{}#{}", file.name, number.saturating_add(1)), ToOwned::to_owned);
    let at = policy.to_cedar().and_then(|text| found(file, &text));
    let place = Place { file, thing: &format!("rule \"{id}\"") };
    let fits =
        |id: &str| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if given.is_some_and(|id| !fits(id)) {
        return Err(place.wrong(at, "has a wrong @id", "use 1 to 64 of A-Z, a-z, 0-9, '.', '_', '-'"));
    }
    if policy.effect() == Effect::Permit {
        let remedy = "write a [[grant]] for what it should open, and keep rules for what is forbidden";
        return Err(place.wrong(at, "permits, and rules only forbid", remedy));
    }
    complaint(policy, validated, &place, at.clone())?;
    for literal in policy.entity_literals() {
        let name = literal.id().unescaped().to_owned();
        let there = match literal.type_name().to_string().as_str() {
            "Operator" => known.operator(&name),
            "Target" => known.target(&name),
            _ => true,
        };
        if !there {
            let problem = format_args!("names {literal}, which the bundle does not have");
            return Err(place.wrong(at, problem, "correct the name or remove the rule"));
        }
    }
    let text = policy.to_cedar().unwrap_or_default();
    if let Some(level) = levels_named(&text).into_iter().find(|level| !known.level(level)) {
        let problem = format_args!("names the level {level:?}, which the bundle does not have");
        return Err(place.wrong(at, problem, "add [[level]] or correct the name"));
    }
    Ok(policy.new_id(PolicyId::new(id)))
}

/// What the validator says of this rule. Its warnings count as errors: a rule that can never match, or that reads as
/// something else than it says, forbids nothing while looking as if it did.
fn complaint(
    policy: &Policy,
    validated: &ValidationResult,
    place: &Place<'_>,
    at: Option<std::ops::Range<usize>>,
) -> Result<(), BundleError> {
    let errors = validated
        .validation_errors()
        .filter(|error| error.policy_id() == policy.id())
        .map(ToString::to_string);
    let warnings = validated
        .validation_warnings()
        .filter(|warning| warning.policy_id() == policy.id())
        .map(ToString::to_string);
    match errors.chain(warnings).next() {
        None => Ok(()),
        Some(text) => {
            let own = format!("for policy `{}`, ", policy.id());
            let text = text.strip_prefix(&own).unwrap_or(&text);
            let problem = format_args!("does not hold against the schema: {text}");
            Err(place.wrong(at, problem, "correct it (docs/access-bundle.md lists what a rule can see)"))
        }
    }
}

/// The n of Cedar's own `policyn`: its place in the file.
fn number(policy: &Policy) -> usize {
    let id: &str = policy.id().as_ref();
    id.strip_prefix("policy").and_then(|digits| digits.parse().ok()).unwrap_or(usize::MAX)
}

fn found(file: &SourceFile, text: &str) -> Option<std::ops::Range<usize>> {
    file.text.find(text).map(|at| at..at.saturating_add(text.len()))
}

/// How deep brackets may nest.
const DEEPEST: usize = 32;

/// Where a rule is nested so deep, or runs so long, that reading it could exhaust the stack. Brackets and semicolons in
/// quotes and comments do not count.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut began, mut within) = (0_usize, 0_usize, Within::Rule);
    let mut before = b' ';
    for (at, byte) in text.bytes().enumerate() {
        let next = match (&within, byte) {
            (Within::Rule, b'"') => Within::Quotes,
            (Within::Rule, b'/') if before == b'/' => Within::Comment,
            (Within::Quotes, b'\\') => Within::Escape,
            (Within::Quotes, b'"') | (Within::Comment, b'\n' | b'\r') => Within::Rule,
            (Within::Escape, _) => Within::Quotes,
            (Within::Rule, b'(' | b'[' | b'{') => {
                depth = depth.saturating_add(1);
                Within::Rule
            }
            (Within::Rule, b')' | b']' | b'}') => {
                depth = depth.saturating_sub(1);
                Within::Rule
            }
            (Within::Rule, b';') => {
                began = at;
                Within::Rule
            }
            _ => within,
        };
        (within, before) = (next, byte);
        if depth > DEEPEST || at.saturating_sub(began) > LONGEST_RULE {
            return Some(at);
        }
    }
    None
}

/// Where in a rule's text a byte stands.
#[derive(Clone, Copy)]
enum Within {
    Rule,
    Quotes,
    Escape,
    Comment,
}
