//! Why a decision is what it is: every grant that names this operator for this target, and what each lacks.
//! Never for the operator's eyes: it tells what exists.

use serde::Serialize;

use crate::decide::{Decision, Scene, decide};
use crate::denial::Missing;
use crate::names::{AccountName, GrantName};
use crate::request::Request;
use crate::{Bundle, Capability};

/// A decision with everything that was considered.
#[derive(Debug)]
pub struct Explanation {
    /// What [`decide`] says.
    pub decision: Decision,
    /// The account it is about, when the target and the account exist.
    pub account: Option<AccountName>,
    /// Every grant that names this operator for this target.
    pub considered: Vec<Considered>,
    /// The ids of the bundle's own rules, all of which were asked.
    pub rules: Vec<String>,
}

/// One grant that names this operator for this target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// The grant.
    pub grant: GrantName,
    /// Whether it is for this account.
    pub account: bool,
    /// What the channel needs and it does not allow.
    pub not_allowed: Vec<Capability>,
    /// Whether a forward leads to a place that it lists; true for what is no forward.
    pub leads_there: bool,
    /// Its conditions that are not met.
    pub missing: Vec<Missing>,
}

/// Answers like [`decide`] and shows the way there.
#[must_use]
pub fn explain(bundle: &Bundle, request: &Request<'_>) -> Explanation {
    let decision = decide(bundle, request);
    let rules = bundle.rule_ids().to_vec();
    let Ok(scene) = Scene::set(bundle, request) else {
        return Explanation { decision, account: None, considered: Vec::new(), rules };
    };
    let needs = request.kind.needs();
    let considered = scene
        .naming
        .iter()
        .map(|grant| Considered {
            grant: grant.name().clone(),
            account: grant.accounts().contains(scene.case.account),
            not_allowed: needs.iter().filter(|needed| !grant.allow().contains(*needed)).cloned().collect(),
            leads_there: grant.leads_to(request.kind),
            missing: scene.case.missing(bundle, grant).into_iter().collect(),
        })
        .collect();
    Explanation { decision, account: Some(scene.case.account.clone()), considered, rules }
}
