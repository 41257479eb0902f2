//! Asks the one rule that opens anything: may this operator rely on this grant?
//! Never trusts that the grant was found by the right road: who and what it names is held against it again.

use cedar_policy::{Context, Entities, Entity, Request as Query, RestrictedExpression as Expression};

use crate::case::Case;
use crate::rules::{No, Rules, ask, long, seconds, uid, unaskable};
use crate::{Bundle, Capability, Grant};

impl Rules {
    /// The ids of the rules by which the grant holds.
    pub(crate) fn grant(&self, bundle: &Bundle, grant: &Grant, case: &Case<'_>) -> Result<Vec<String>, No> {
        let entities = Entities::from_entities([self.terms(bundle, grant)?], Some(&self.grant_schema))
            .map_err(unaskable)?;
        let query = Query::new(
            uid(&self.nouns.operator, case.operator.as_str()),
            uid(&self.nouns.action, "rely"),
            uid(&self.nouns.grant, grant.name().as_str()),
            held_against(grant, case)?,
            Some(&self.grant_schema),
        )
        .map_err(unaskable)?;
        ask(&query, &self.grant, &entities)
    }

    fn terms(&self, bundle: &Bundle, grant: &Grant) -> Result<Entity, No> {
        let require = grant.require();
        let factors = Case::needed_factors(bundle, grant);
        let levels = Case::needed_levels(bundle, grant);
        let mut terms = vec![
            ("accounts", texts(grant.accounts())),
            ("allow", texts(grant.allow())),
            ("factors", texts(&factors)),
            ("levels", texts(&levels)),
            ("assurance", Expression::new_long(long(require.assurance().into()))),
            ("approvals", Expression::new_long(long(require.approvals().into()))),
            ("reason", Expression::new_bool(require.reason())),
        ];
        terms.extend(require.fresh().map(|fresh| ("fresh", Expression::new_long(long(fresh.as_secs())))));
        let terms = terms.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        Entity::new(uid(&self.nouns.grant, grant.name().as_str()), terms, [].into()).map_err(unaskable)
    }
}

fn texts<T: ToString>(values: impl IntoIterator<Item = T>) -> Expression {
    Expression::new_set(values.into_iter().map(|value| Expression::new_string(value.to_string())))
}

fn held_against(grant: &Grant, case: &Case<'_>) -> Result<Context, No> {
    let needs: Vec<Capability> = case.kind.needs();
    let levels = case.device.iter().flat_map(|device| &device.levels);
    let mut pairs = vec![
        ("names_operator", Expression::new_bool(grant.names_operator(case.operator, case.roles))),
        ("names_target", Expression::new_bool(grant.names_target(case.target))),
        ("account", Expression::new_string(case.account.to_string())),
        ("needs", texts(&needs)),
        ("leads_there", Expression::new_bool(grant.leads_to(case.kind))),
        ("factors", texts(&case.factors)),
        ("levels", texts(levels)),
        ("assurance", Expression::new_long(long(case.assurance.into()))),
        ("approvals", Expression::new_long(long(case.approvals.into()))),
        ("reason", Expression::new_bool(case.reason.is_some())),
        ("in_hours", Expression::new_bool(case.in_hours(grant))),
        ("from_source", Expression::new_bool(case.source_fits(grant))),
        ("not_ended", Expression::new_bool(case.not_ended(grant))),
    ];
    pairs.extend(case.code_age.map(|age| ("code_age", Expression::new_long(seconds(age)))));
    Context::from_pairs(pairs.into_iter().map(|(key, value)| (key.to_owned(), value))).map_err(unaskable)
}
