//! The question: who, from which device, wants what on which account of which target, with which proofs, now.
//! Never holds a secret, and nothing in it is believed to be well-formed beyond its type.

use std::collections::BTreeSet;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::channel::ChannelKind;
use crate::factor::{DeviceFacts, Held};
use crate::names::{AccountName, OperatorName, RoleName, TenantName};

/// One question to [`crate::decide`].
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asks.
    pub operator: &'a OperatorName,
    /// The roles of an operator that the store knows. A bundle that names operators speaks for itself: then its roles
    /// count and these do not.
    pub roles: &'a BTreeSet<RoleName>,
    /// The operator's tenant.
    pub tenant: &'a TenantName,
    /// Whether the operator is neither disabled nor revoked.
    pub enabled: bool,
    /// The proven device; none when the connection proved none.
    pub device: Option<&'a DeviceFacts>,
    /// The target's name as asked for, known or not.
    pub target: &'a str,
    /// The account; none asks for the target's default.
    pub account: Option<&'a AccountName>,
    /// What the channel asks for.
    pub kind: &'a ChannelKind,
    /// The proofs, with their ages at the moment the channel was asked for (see [`Held`]).
    pub factors: &'a [Held],
    /// The assurance these proofs reach, 0 to 3.
    pub assurance: u8,
    /// The address of the operator's end of the connection.
    pub source: IpAddr,
    /// The reason the operator gave.
    pub reason: Option<&'a str>,
    /// How many *other* people approved. The caller never counts the operator's own approval.
    pub approvals: u32,
    /// The time of the decision.
    pub now: Timestamp,
    /// When the session this channel belongs to began; none when it begins with this channel. `max_session` runs from
    /// here, so deciding a running session again does not prolong it.
    pub since: Option<Timestamp>,
}
