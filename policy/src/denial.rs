//! A decision's no: the cause for the log, what is missing, and the one calm line for the operator.
//! Never tells an operator whether a target or an account exists unless a grant names that operator for that target.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::factor::Factor;
use crate::names::{GrantName, Level};

/// One condition that is not met.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// A one-time code, given now.
    FreshCode,
    /// A reason.
    Reason,
    /// A kind of proof.
    Factor(Factor),
    /// A device at this level.
    Posture(Level),
    /// A login of this assurance.
    Assurance(u8),
    /// This many approvals by others.
    Approval(u32),
    /// It is outside the grant's hours.
    Hours,
    /// The connection comes from another network.
    Source,
    /// The grant, or the time a session by it may last, has ended.
    Expired,
}

impl Missing {
    /// Whether the operator can do nothing about it from where they sit.
    pub(crate) fn out_of_reach(&self) -> bool {
        matches!(self, Self::Hours | Self::Source | Self::Expired)
    }

    /// What the operator is told to do.
    fn remedy(&self) -> String {
        match self {
            Self::FreshCode => "connect again and give a one-time code".to_owned(),
            Self::Reason => "give a reason".to_owned(),
            Self::Factor(factor) => format!("log in with a {factor} as well"),
            Self::Posture(level) => format!("use a device that is {level}"),
            Self::Assurance(level) => format!("log in with assurance {level}"),
            Self::Approval(1) => "get the approval of another person".to_owned(),
            Self::Approval(count) => format!("get the approval of {count} other people"),
            Self::Hours => "wait for the hours of your grant".to_owned(),
            Self::Source => "connect from a network your grant names".to_owned(),
            Self::Expired => "your grant or its session time has ended: ask for a new one".to_owned(),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FreshCode => f.write_str("a fresh one-time code"),
            Self::Reason => f.write_str("a reason"),
            Self::Factor(factor) => write!(f, "the factor {factor}"),
            Self::Posture(level) => write!(f, "a device that is {level}"),
            Self::Assurance(level) => write!(f, "assurance {level}"),
            Self::Approval(count) => write!(f, "approval by {count}"),
            Self::Hours => f.write_str("the hours of the grant"),
            Self::Source => f.write_str("a source of the grant"),
            Self::Expired => f.write_str("time left in the grant"),
        }
    }
}

/// Why not, for the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// No target of this name.
    UnknownTarget,
    /// No such account on the target, or none was named and it has no default.
    UnknownAccount,
    /// No grant names this operator for this target, account and kind of channel.
    NoGrant,
    /// A rule forbids it.
    Forbidden {
        /// The rule's id.
        rule: String,
    },
    /// A grant would permit it if the conditions of [`Denial::missing`] were met.
    Missing,
    /// A rule could not be evaluated.
    RuleError {
        /// The rule's id.
        rule: String,
    },
    /// The operator is disabled or revoked.
    Disabled,
    /// Operator, device and target are not of one tenant.
    OtherTenant,
}

/// A decision's no. `Display` is for the log; the operator gets [`Denial::told`].
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
pub struct Denial {
    /// Why.
    pub cause: Cause,
    /// With [`Cause::Missing`], the smallest set of conditions that would permit; else empty.
    pub missing: Vec<Missing>,
    /// With [`Cause::Missing`], the grant that would then permit.
    pub grant: Option<GrantName>,
}

impl Denial {
    /// A no without anything missing.
    #[must_use]
    pub(crate) fn because(cause: Cause) -> Self {
        Self { cause, missing: Vec::new(), grant: None }
    }

    pub(crate) fn lacking(missing: &BTreeSet<Missing>, grant: &GrantName) -> Self {
        Self { cause: Cause::Missing, missing: missing.iter().cloned().collect(), grant: Some(grant.clone()) }
    }

    /// The code for the log.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.cause {
            Cause::UnknownTarget => "ACCESS-001",
            Cause::NoGrant => "ACCESS-002",
            Cause::UnknownAccount => "ACCESS-003",
            Cause::Forbidden { .. } => "ACCESS-004",
            Cause::Missing => "ACCESS-005",
            Cause::RuleError { .. } => "ACCESS-006",
            Cause::Disabled => "ACCESS-007",
            Cause::OtherTenant => "ACCESS-008",
        }
    }

    /// The code the operator sees: one and the same for everything that would tell what exists.
    #[must_use]
    pub fn told_code(&self) -> &'static str {
        if self.hides() { "ACCESS-000" } else { self.code() }
    }

    /// The line the operator sees, without code and reference.
    #[must_use]
    pub fn told(&self) -> String {
        match &self.cause {
            _ if self.hides() => {
                "there is nothing you may reach by this name; check it, or ask for a grant".to_owned()
            }
            Cause::Missing => {
                let remedies: Vec<String> = self.missing.iter().map(Missing::remedy).collect();
                format!("not yet permitted: {}", remedies.join(", and "))
            }
            Cause::Forbidden { .. } => "a rule forbids this; ask those who write the access rules".to_owned(),
            Cause::RuleError { .. } => {
                "this could not be decided; ask those who write the access rules".to_owned()
            }
            _ => "your access is disabled; ask an administrator".to_owned(),
        }
    }

    fn hides(&self) -> bool {
        matches!(
            self.cause,
            Cause::UnknownTarget | Cause::UnknownAccount | Cause::NoGrant | Cause::OtherTenant
        )
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::UnknownTarget => f.write_str("no such target"),
            Cause::UnknownAccount => f.write_str("no such account on the target"),
            Cause::NoGrant => {
                f.write_str("no grant names this operator for this target, account and kind of channel")
            }
            Cause::Forbidden { rule } => write!(f, "rule {rule} forbids it"),
            Cause::RuleError { rule } => write!(f, "rule {rule} could not be evaluated"),
            Cause::Disabled => f.write_str("the operator is disabled"),
            Cause::OtherTenant => f.write_str("operator, device and target are not of one tenant"),
            Cause::Missing => {
                let names: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
                write!(f, "missing: {}", names.join(", "))?;
                self.grant.as_ref().map_or(Ok(()), |grant| write!(f, " (grant {grant})"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_exist_and_what_is_not_granted_are_told_in_the_same_words() {
        let hidden = [Cause::UnknownTarget, Cause::UnknownAccount, Cause::NoGrant, Cause::OtherTenant];
        let told: BTreeSet<(String, &str)> =
            hidden.iter().map(|c| Denial::because(c.clone())).map(|d| (d.told(), d.told_code())).collect();
        assert_eq!(told.len(), 1);
        let logged: BTreeSet<&str> = hidden.iter().map(|c| Denial::because(c.clone()).code()).collect();
        assert_eq!(logged.len(), hidden.len(), "the log tells them apart");
    }
}
