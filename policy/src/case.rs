//! One request against one target and account, in the form that rules see, and what it would be if a condition were met.
//! Never permits: a changed copy only serves to say what is missing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::channel::ChannelKind;
use crate::denial::Missing;
use crate::factor::{DeviceFacts, Evidence, Factor, Held};
use crate::names::{AccountName, Level, OperatorName, RoleName, TenantName};
use crate::{Bundle, Grant, Request, Target};

/// What is known of one request against one target and account.
#[derive(Debug, Clone)]
pub(crate) struct Case<'a> {
    pub(crate) operator: &'a OperatorName,
    pub(crate) roles: &'a BTreeSet<RoleName>,
    pub(crate) tenant: &'a TenantName,
    pub(crate) enabled: bool,
    pub(crate) target: &'a Target,
    pub(crate) account: &'a AccountName,
    pub(crate) kind: &'a ChannelKind,
    pub(crate) device: Option<DeviceView<'a>>,
    /// With `Code` wherever there is `Recovery`.
    pub(crate) factors: BTreeSet<Factor>,
    pub(crate) code_age: Option<Duration>,
    pub(crate) assurance: u8,
    pub(crate) approvals: u32,
    pub(crate) reason: Option<&'a str>,
    pub(crate) source: IpAddr,
    pub(crate) now: Timestamp,
    pub(crate) since: Timestamp,
    /// Conditions of a grant that are taken as met, to see whether anything else is missing.
    waived: BTreeSet<Missing>,
}

/// A device as rules see it.
#[derive(Debug, Clone)]
pub(crate) struct DeviceView<'a> {
    pub(crate) name: &'a str,
    pub(crate) tenant: &'a TenantName,
    pub(crate) evidence: Evidence,
    pub(crate) levels: BTreeSet<Level>,
}

impl<'a> Case<'a> {
    pub(crate) fn of(
        request: &Request<'a>,
        roles: &'a BTreeSet<RoleName>,
        target: &'a Target,
        account: &'a AccountName,
    ) -> Self {
        let device = request.device.map(|device: &'a DeviceFacts| DeviceView {
            name: device.name.as_str(),
            tenant: &device.tenant,
            evidence: device.evidence,
            levels: device.levels.clone(),
        });
        Self {
            operator: request.operator,
            roles,
            tenant: request.tenant,
            enabled: request.enabled,
            target,
            account,
            kind: request.kind,
            device,
            factors: kinds(request.factors),
            code_age: request.factors.iter().filter(|held| is_code(held.factor)).map(|held| held.age).min(),
            assurance: request.assurance,
            approvals: request.approvals,
            reason: request.reason.map(str::trim).filter(|reason| !reason.is_empty()),
            source: request.source.to_canonical(),
            now: request.now,
            since: request.since.map_or(request.now, |since| since.min(request.now)),
            waived: BTreeSet::new(),
        }
    }

    /// The kinds of proof that a channel by this grant needs.
    pub(crate) fn needed_factors(bundle: &Bundle, grant: &Grant) -> BTreeSet<Factor> {
        bundle.login().factors().union(grant.require().factors()).copied().collect()
    }

    /// The levels that the device must be at for a channel by this grant.
    pub(crate) fn needed_levels(bundle: &Bundle, grant: &Grant) -> BTreeSet<Level> {
        bundle.login().posture().into_iter().chain(grant.require().posture()).cloned().collect()
    }

    /// The conditions of this grant that are not met.
    pub(crate) fn missing(&self, bundle: &Bundle, grant: &Grant) -> BTreeSet<Missing> {
        let require = grant.require();
        let mut missing = BTreeSet::new();
        let stale = require.fresh().is_some_and(|fresh| self.code_age.is_none_or(|age| age > fresh));
        if stale {
            missing.insert(Missing::FreshCode);
        }
        for factor in Self::needed_factors(bundle, grant) {
            // A fresh code is a code: asking for both would ask twice.
            let asked = stale && factor == Factor::Code;
            if !asked && !self.factors.contains(&factor) {
                missing.insert(Missing::Factor(factor));
            }
        }
        let levels = Self::needed_levels(bundle, grant);
        let lacked: BTreeSet<&Level> = levels.iter().filter(|level| !self.at_level(level)).collect();
        // Who is told of a level is not told of those that it includes.
        let within = |level: &Level| {
            lacked.iter().any(|other| *other != level && bundle.posture().included(other).contains(level))
        };
        missing.extend(
            lacked.iter().filter(|level| !within(level)).map(|level| Missing::Posture((*level).clone())),
        );
        if self.assurance < require.assurance() {
            missing.insert(Missing::Assurance(require.assurance()));
        }
        if self.approvals < require.approvals() {
            missing.insert(Missing::Approval(require.approvals()));
        }
        if require.reason() && self.reason.is_none() {
            missing.insert(Missing::Reason);
        }
        let outer = [
            (self.in_hours(grant), Missing::Hours),
            (self.source_fits(grant), Missing::Source),
            (self.not_ended(grant), Missing::Expired),
        ];
        missing.extend(outer.into_iter().filter(|(met, _)| !met).map(|(_, condition)| condition));
        missing
    }

    pub(crate) fn at_level(&self, level: &Level) -> bool {
        self.device.as_ref().is_some_and(|device| device.levels.contains(level))
    }

    pub(crate) fn in_hours(&self, grant: &Grant) -> bool {
        self.waived.contains(&Missing::Hours) || grant.hours().is_none_or(|hours| hours.contains(self.now))
    }

    pub(crate) fn source_fits(&self, grant: &Grant) -> bool {
        let networks = grant.require().source();
        self.waived.contains(&Missing::Source)
            || networks.is_empty()
            || networks.iter().any(|network| network.contains(self.source))
    }

    pub(crate) fn not_ended(&self, grant: &Grant) -> bool {
        let before = |end: Option<Timestamp>| end.is_none_or(|end| self.now < end);
        self.waived.contains(&Missing::Expired) || (before(grant.until()) && before(self.session_end(grant)))
    }

    /// When `max_session` ends this session.
    fn session_end(&self, grant: &Grant) -> Option<Timestamp> {
        grant.max_session().map(|most| self.since.checked_add(most).unwrap_or(Timestamp::MAX))
    }

    /// The earliest end of a channel by this grant; none when nothing ends it.
    pub(crate) fn ends(&self, grant: &Grant) -> Option<Timestamp> {
        let hours = grant.hours().and_then(|hours| hours.ends(self.now));
        [grant.until(), hours, self.session_end(grant)].into_iter().flatten().min()
    }

    /// The case as it would be if these conditions were met.
    pub(crate) fn with(&self, bundle: &Bundle, given: &BTreeSet<Missing>) -> Self {
        let mut case = self.clone();
        for condition in given {
            case.give(bundle, condition);
        }
        case
    }

    fn give(&mut self, bundle: &Bundle, condition: &Missing) {
        match condition {
            Missing::FreshCode => {
                self.factors.insert(Factor::Code);
                self.code_age = Some(Duration::ZERO);
            }
            Missing::Factor(factor) => {
                self.factors.insert(*factor);
                if *factor == Factor::Code {
                    self.code_age = Some(Duration::ZERO);
                }
            }
            Missing::Posture(level) => {
                let tenant = self.tenant;
                let bare =
                    || DeviceView { name: "", tenant, evidence: Evidence::Key, levels: BTreeSet::new() };
                self.device.get_or_insert_with(bare).levels.extend(bundle.posture().included(level));
            }
            Missing::Assurance(level) => self.assurance = self.assurance.max(*level),
            Missing::Approval(count) => self.approvals = self.approvals.max(*count),
            Missing::Reason => self.reason = self.reason.or(Some("a reason")),
            outer @ (Missing::Hours | Missing::Source | Missing::Expired) => {
                self.waived.insert(outer.clone());
            }
        }
    }

    /// Everything the operator could still add, for rules that demand what no grant does.
    pub(crate) fn could_add(&self, bundle: &Bundle) -> Vec<Missing> {
        let mut all = Vec::new();
        if self.code_age != Some(Duration::ZERO) {
            all.push(Missing::FreshCode);
        }
        if self.reason.is_none() {
            all.push(Missing::Reason);
        }
        let proofs = [Factor::Key, Factor::Password, Factor::Presence];
        all.extend(proofs.into_iter().filter(|factor| !self.factors.contains(factor)).map(Missing::Factor));
        // Those that include least come first: what comes late is the first to be found needless.
        let mut levels: Vec<&Level> = bundle.levels().filter(|level| !self.at_level(level)).collect();
        levels.sort_by_key(|level| bundle.posture().included(level).len());
        all.extend(levels.into_iter().cloned().map(Missing::Posture));
        all.extend((1..=3).filter(|level| *level > self.assurance).map(Missing::Assurance));
        all.extend((1..=3).filter(|count| *count > self.approvals).map(Missing::Approval));
        all
    }
}

fn is_code(factor: Factor) -> bool {
    matches!(factor, Factor::Code | Factor::Recovery)
}

fn kinds(held: &[Held]) -> BTreeSet<Factor> {
    let mut factors: BTreeSet<Factor> = held.iter().map(|held| held.factor).collect();
    if factors.contains(&Factor::Recovery) {
        factors.insert(Factor::Code);
    }
    factors
}
