//! Targets that are reached via others: the way is short, ends, and stays within one tenant.
//! Never looks for another way: a bundle with one that does not hold is refused.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::bundle::{Target, TargetLogin};
use crate::names::TargetName;

/// The most gateways on the way to a target.
pub(super) const MOST: usize = 3;

/// Why a way does not hold. Displayed as what is wrong with the target.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Wrong {
    /// It leads back.
    #[error("is reached in a circle: {0}")]
    Circle(String),
    /// Too many.
    #[error("is reached via more than {MOST} gateways: {0}")]
    Long(String),
    /// Another tenant's.
    #[error("is reached via {0}, which is of another tenant")]
    Tenant(TargetName),
    /// Nobody knows as whom to log in there.
    #[error("is reached via {0}, which has no default_account")]
    Account(TargetName),
    /// Nobody sits there who could answer.
    #[error("is reached via {0}, which asks whoever logs in")]
    Asks(TargetName),
}

impl Wrong {
    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Circle(_) => "take one via out",
            Self::Long(_) => "name a gateway that is nearer",
            Self::Tenant(_) => "name a gateway of the target's own tenant",
            Self::Asks(_) => "give the gateway another login than \"ask\"",
            Self::Account(_) => "give it one: the account by which the bastion goes through it",
        }
    }
}

/// Follows the gateways of `target`. Every name on the way is known to be borne by a target.
pub(super) fn check(all: &BTreeMap<TargetName, Target>, target: &Target) -> Result<(), Wrong> {
    let mut way = vec![target.name()];
    let mut here = target;
    while let Some((name, gateway)) = here.via().and_then(|name| all.get_key_value(name)) {
        let circle = way.contains(&name);
        way.push(name);
        if circle {
            return Err(Wrong::Circle(written(&way)));
        }
        if way.len() > MOST + 1 {
            return Err(Wrong::Long(written(&way)));
        }
        if gateway.tenant() != target.tenant() {
            return Err(Wrong::Tenant(name.clone()));
        }
        if gateway.default_account().is_none() {
            return Err(Wrong::Account(name.clone()));
        }
        if *gateway.login() == TargetLogin::Ask {
            return Err(Wrong::Asks(name.clone()));
        }
        here = gateway;
    }
    Ok(())
}

fn written(way: &[&TargetName]) -> String {
    way.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" via ")
}
