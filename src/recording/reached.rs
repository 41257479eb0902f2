//! How a target was reached, as the end of a channel's entry tells it: where, with what, and via which gateways.
//! Never holds a secret: a login is told by the name of what it was made with.

use std::fmt;

use policy::{AccountName, TargetLogin, TargetName};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The way to a target.
#[derive(Debug, Clone)]
pub struct Reached {
    /// The address that was dialled; behind a gateway the registered one, as the gateway resolved it.
    pub address: String,
    /// What the login was made with.
    pub login: TargetLogin,
    /// The gateways, in the order they were gone through.
    pub via: Vec<Through>,
}

/// A gateway on the way.
#[derive(Debug, Clone, Serialize)]
pub struct Through {
    /// Its name.
    pub target: TargetName,
    /// As whom the bastion went through it.
    pub account: AccountName,
    /// The address that was dialled.
    pub address: String,
}

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address)?;
        self.via.iter().rev().try_for_each(|gateway| write!(f, " via {}", gateway.target))
    }
}

/// Says it of a channel that ends; where it never was reached, that.
pub(super) fn describe(reached: Option<&Reached>, detail: &mut Map<String, Value>) {
    detail.insert("address".into(), reached.map(|reached| reached.address.as_str()).into());
    let Some(reached) = reached else { return };
    detail.insert("target_login".into(), reached.login.to_string().into());
    if !reached.via.is_empty() {
        detail.insert("via".into(), json!(reached.via));
    }
}
