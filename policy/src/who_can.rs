//! Who can reach a target, and what each would still need: the answer to a reviewer's first question.
//! Never an opinion of its own: each line is what the same engine would decide for an operator with nothing in hand.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde::Serialize;

use crate::channel::{Capability, ChannelKind};
use crate::decide::decide;
use crate::denial::{Cause, Denial, Missing};
use crate::names::{AccountName, GrantName, OperatorName, RoleName, TenantName};
use crate::request::Request;
use crate::{Bundle, Grant, Operator, Target};

/// An operator that the store knows, for a bundle that names none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: OperatorName,
    /// The roles.
    pub roles: BTreeSet<RoleName>,
    /// The tenant.
    pub tenant: TenantName,
    /// Neither disabled nor revoked.
    pub enabled: bool,
}

impl Person {
    /// What they ask with nothing in hand: no device, no factor, no reason, no approval.
    #[must_use]
    pub fn empty_handed<'a>(
        &'a self,
        target: &'a Target,
        account: &'a AccountName,
        kind: &'a ChannelKind,
        now: Timestamp,
    ) -> Request<'a> {
        Request {
            operator: &self.name,
            roles: &self.roles,
            tenant: &self.tenant,
            enabled: self.enabled,
            device: None,
            target: target.name().as_str(),
            account: Some(account),
            kind,
            factors: &[],
            assurance: 0,
            source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            reason: None,
            approvals: 0,
            now,
            since: None,
        }
    }
}

/// One operator, one account, one kind of channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Who.
    pub operator: OperatorName,
    /// As whom on the target.
    pub account: AccountName,
    /// What.
    pub kind: ChannelKind,
    /// On which terms.
    pub answer: Answer,
}

/// On which terms somebody can.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// With these conditions met, by this grant.
    Needs {
        /// The grant.
        grant: GrantName,
        /// What must be brought along; never empty, since every login needs two factors.
        missing: Vec<Missing>,
    },
    /// A grant is there, but this rule holds it back.
    HeldBack {
        /// The rule's id.
        rule: String,
    },
}

/// Everybody who can do anything on a target, at this time, with what it takes. `people` are those of the store and
/// count only where the bundle names no operators; its `enabled` counts for both. With an account only that account.
/// Empty when there is no such target.
#[must_use]
pub fn who_can(
    bundle: &Bundle,
    people: &[Person],
    target: &str,
    account: Option<&AccountName>,
    now: Timestamp,
) -> Vec<Reach> {
    let Some(target) = bundle.target_named(target) else { return Vec::new() };
    let grants = bundle.naming_target(target);
    let kinds = kinds(&grants);
    let named: Vec<Person>;
    let people = if bundle.names_operators() {
        let disabled: HashSet<&OperatorName> =
            people.iter().filter(|p| !p.enabled).map(|p| &p.name).collect();
        named = bundle.operators().map(|operator| person(operator, &disabled)).collect();
        &named
    } else {
        people
    };
    let mut reach = Vec::new();
    for person in people {
        if !grants.iter().any(|grant| grant.names_operator(&person.name, &person.roles)) {
            continue;
        }
        for account in target.accounts().iter().filter(|one| account.is_none_or(|only| only == *one)) {
            for kind in &kinds {
                reach.extend(ask(bundle, person, target, account, kind, now));
            }
        }
    }
    reach
}

/// An operator of the bundle, disabled when the store says so.
fn person(operator: &Operator, disabled: &HashSet<&OperatorName>) -> Person {
    Person {
        name: operator.name().clone(),
        roles: operator.roles().clone(),
        tenant: operator.tenant().clone(),
        enabled: !disabled.contains(operator.name()),
    }
}

/// The kinds of channel that any of these grants speaks of.
pub(crate) fn kinds(grants: &[&Grant]) -> BTreeSet<ChannelKind> {
    let mut kinds = BTreeSet::from([ChannelKind::Shell, ChannelKind::Exec, ChannelKind::Sftp]);
    for capability in grants.iter().flat_map(|grant| grant.allow()) {
        match capability {
            Capability::Subsystem(name) => kinds.insert(ChannelKind::Subsystem(name.clone())),
            Capability::ReverseForward => kinds.insert(ChannelKind::ReverseForward),
            Capability::Agent => kinds.insert(ChannelKind::Agent),
            Capability::X11 => kinds.insert(ChannelKind::X11),
            _ => false,
        };
    }
    let places = grants.iter().flat_map(|grant| grant.forward_to());
    kinds.extend(places.cloned().map(ChannelKind::Forward));
    kinds
}

fn ask(
    bundle: &Bundle,
    person: &Person,
    target: &Target,
    account: &AccountName,
    kind: &ChannelKind,
    now: Timestamp,
) -> Option<Reach> {
    let request = person.empty_handed(target, account, kind, now);
    let answer = match decide(bundle, &request) {
        Ok(permit) => Answer::Needs { grant: permit.grant, missing: Vec::new() },
        Err(Denial { cause: Cause::Missing, missing, grant: Some(grant) }) => {
            Answer::Needs { grant, missing }
        }
        Err(Denial { cause: Cause::Forbidden { rule } | Cause::RuleError { rule }, .. }) => {
            Answer::HeldBack { rule }
        }
        Err(_) => return None,
    };
    Some(Reach { operator: person.name.clone(), account: account.clone(), kind: kind.clone(), answer })
}
