//! Asks the one rule that opens anything: may this operator rely on this grant?
//! Never trusts that the grant was found by the right road: who and what it names is held against it again.

use cedar_policy::{Context, Entities, Entity, Request as Query, RestrictedExpression as Expression};

use crate::facts::Facts;
use crate::rules::{No, Rules, long, seconds, uid, unaskable};
use crate::{Bundle, Capability, Grant};

impl Rules {
    /// The ids of the rules by which the grant holds.
    pub(crate) fn grant(&self, bundle: &Bundle, grant: &Grant, facts: &Facts<'_>) -> Result<Vec<String>, No> {
        let entities = Entities::from_entities([self.terms(bundle, grant)?], Some(&self.grant_schema))
            .map_err(unaskable)?;
        let query = Query::new(
            uid(&self.nouns.operator, facts.operator.as_str()),
            uid(&self.nouns.action, "rely"),
            uid(&self.nouns.grant, grant.name().as_str()),
            held_against(grant, facts)?,
            Some(&self.grant_schema),
        )
        .map_err(unaskable)?;
        Self::ask(&query, &self.grant, &entities)
    }

    fn terms(&self, bundle: &Bundle, grant: &Grant) -> Result<Entity, No> {
        let require = grant.require();
        let factors = Facts::needed_factors(bundle, grant);
        let mut terms = vec![
            ("accounts", texts(grant.accounts())),
            ("allow", texts(grant.allow())),
            ("factors", texts(&factors)),
            ("assurance", Expression::new_long(long(require.assurance().into()))),
            ("approvals", Expression::new_long(long(require.approvals().into()))),
            ("reason", Expression::new_bool(require.reason())),
        ];
        terms.extend(require.fresh().map(|fresh| ("fresh", Expression::new_long(long(fresh.as_secs())))));
        terms.extend(require.posture().map(|level| ("posture", Expression::new_string(level.to_string()))));
        let terms = terms.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Entity::new(uid(&self.nouns.grant, grant.name().as_str()), terms, [].into()).map_err(unaskable)
    }
}

fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Expression {
    Expression::new_set(values.into_iter().map(|value| Expression::new_string(value.to_string())))
}

fn held_against(grant: &Grant, facts: &Facts<'_>) -> Result<Context, No> {
    let needs: Vec<Capability> = facts.kind.needs();
    let levels = facts.device.iter().flat_map(|device| &device.levels);
    let mut pairs = vec![
        ("names_operator", Expression::new_bool(grant.names_operator(facts.operator, facts.roles))),
        ("names_target", Expression::new_bool(grant.names_target(facts.target))),
        ("account", Expression::new_string(facts.account.to_string())),
        ("needs", texts(&needs)),
        ("factors", texts(&facts.factors)),
        ("levels", texts(levels)),
        ("assurance", Expression::new_long(long(facts.assurance.into()))),
        ("approvals", Expression::new_long(long(facts.approvals.into()))),
        ("reason", Expression::new_bool(facts.reason.is_some())),
        ("in_hours", Expression::new_bool(facts.in_hours(grant))),
        ("from_source", Expression::new_bool(facts.source_fits(grant))),
        ("not_ended", Expression::new_bool(facts.not_ended(grant))),
    ];
    pairs.extend(facts.code_age.map(|age| ("code_age", Expression::new_long(seconds(age)))));
    Context::from_pairs(pairs.into_iter().map(|(key, value)| (key.to_owned(), value))).map_err(unaskable)
}
