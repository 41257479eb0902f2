//! The decision: from a request to a permit or a denial that says what is missing.
//! Never says yes where any step could not be made: a [`Permit`] is made in one place, after the guards and the grant rule.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use crate::case::Case;
use crate::denial::{Cause, Denial};
use crate::lacking::lacking;
use crate::names::{AccountName, OperatorName, RoleName};
use crate::permit::Permit;
use crate::request::Request;
use crate::rules::No;
use crate::{Bundle, Grant, Target};

/// A decision: what is permitted, or why not.
pub type Decision = Result<Permit, Denial>;

/// Decides one channel.
///
/// # Errors
/// A [`Denial`] with its cause; with [`Cause::Missing`] also the smallest set of conditions that would permit, those
/// that the operator can meet from where they sit before those that they cannot.
pub fn decide(bundle: &Bundle, request: &Request<'_>) -> Decision {
    let scene = Scene::set(bundle, request)?;
    if scene.grants.is_empty() {
        return Err(Denial::because(Cause::NoGrant));
    }
    match bundle.rules().guard(&scene.case) {
        Ok(()) => match scene.holding()? {
            Some((grant, rules)) => Ok(scene.permit(request, grant, rules)),
            None => Err(lacking(&scene, None)),
        },
        Err(No::Forbidden(rule)) => Err(lacking(&scene, Some(rule))),
        Err(No::Error(rule)) => Err(Denial::because(Cause::RuleError { rule })),
    }
}

/// The freshest code that any grant for this operator on this target and account asks for, and never more than
/// `[login] fresh`, which alone counts where there is no such grant. Without a target it is `[login] fresh`.
#[must_use]
pub fn login_fresh(
    bundle: &Bundle,
    operator: &OperatorName,
    roles: &BTreeSet<RoleName>,
    target: Option<&str>,
    account: Option<&AccountName>,
) -> Duration {
    let fresh = bundle.login().fresh();
    let Some(target) = target.and_then(|name| bundle.target_named(name)) else { return fresh };
    let Some(account) = account.or(target.default_account()) else { return fresh };
    let Some(roles) = effective_roles(bundle, operator, roles) else { return fresh };
    bundle
        .naming(operator, roles, target)
        .into_iter()
        .filter(|grant| grant.accounts().contains(account))
        .filter_map(|grant| grant.require().fresh())
        .fold(fresh, Duration::min)
}

/// The roles that count; none when the bundle says who exists and this operator does not.
fn effective_roles<'a>(
    bundle: &'a Bundle,
    operator: &OperatorName,
    given: &'a BTreeSet<RoleName>,
) -> Option<&'a BTreeSet<RoleName>> {
    if bundle.names_operators() { bundle.operator(operator).map(crate::Operator::roles) } else { Some(given) }
}

/// A request whose names are all known, with the grants that are about it.
pub(crate) struct Scene<'a> {
    pub(crate) bundle: &'a Bundle,
    pub(crate) case: Case<'a>,
    /// The grants that name this operator for this target.
    pub(crate) naming: Vec<&'a Grant>,
    /// Those of them that are for this account and allow everything the channel needs.
    pub(crate) grants: Vec<&'a Grant>,
}

impl<'a> Scene<'a> {
    pub(crate) fn set(bundle: &'a Bundle, request: &Request<'a>) -> Result<Self, Denial> {
        if !request.enabled {
            return Err(Denial::because(Cause::Disabled));
        }
        let target =
            bundle.target_named(request.target).ok_or_else(|| Denial::because(Cause::UnknownTarget))?;
        if !one_tenant(bundle, request, target) {
            return Err(Denial::because(Cause::OtherTenant));
        }
        let account = request
            .account
            .or(target.default_account())
            .filter(|account| target.accounts().contains(account))
            .ok_or_else(|| Denial::because(Cause::UnknownAccount))?;
        let roles = effective_roles(bundle, request.operator, request.roles)
            .ok_or_else(|| Denial::because(Cause::NoGrant))?;
        let naming = bundle.naming(request.operator, roles, target);
        let mut grants = naming.clone();
        grants.retain(|grant| grant.accounts().contains(account) && grant.allows(request.kind));
        Ok(Self { bundle, case: Case::of(request, roles, target, account), naming, grants })
    }

    /// The grant that holds now and ends last, asked of the rules as well.
    fn holding(&self) -> Result<Option<(&'a Grant, Vec<String>)>, Denial> {
        let mut best: Option<(&Grant, Timestamp)> = None;
        for grant in self.grants.iter().filter(|grant| self.case.missing(self.bundle, grant).is_empty()) {
            let ends = self.case.ends(grant);
            if best.is_none_or(|(_, latest)| ends.is_none_or(|end| end > latest)) {
                best = Some((grant, ends.unwrap_or(Timestamp::MAX)));
            }
            if ends.is_none() {
                break;
            }
        }
        let Some((best, _)) = best else { return Ok(None) };
        // The rule has the last word. That it should disagree with what was counted here is an error, and so a no.
        match self.bundle.rules().grant(self.bundle, best, &self.case) {
            Ok(rules) => Ok(Some((best, rules))),
            Err(No::Forbidden(rule) | No::Error(rule)) => Err(Denial::because(Cause::RuleError { rule })),
        }
    }

    fn permit(&self, request: &Request<'_>, grant: &Grant, rules: Vec<String>) -> Permit {
        Permit {
            operator: request.operator.clone(),
            device: request.device.map(|device| device.name.clone()),
            target: self.case.target.name().clone(),
            account: self.case.account.clone(),
            kind: request.kind.clone(),
            grant: grant.name().clone(),
            ends: self.case.ends(grant),
            decided: request.now,
            rules,
        }
    }
}

/// Operator, device and target are of one tenant, and the operator is of the one the bundle says.
fn one_tenant(bundle: &Bundle, request: &Request<'_>, target: &Target) -> bool {
    let tenant = request.tenant;
    let named = bundle.operator(request.operator).is_none_or(|operator| operator.tenant() == tenant);
    let device = request.device.is_none_or(|device| &device.tenant == tenant);
    named && device && target.tenant() == tenant
}
