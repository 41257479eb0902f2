//! A decision's yes, with its terms.
//! Never made outside this crate, never copied, never read back from a file.

use jiff::Timestamp;

use crate::channel::ChannelKind;
use crate::names::{AccountName, DeviceName, GrantName, OperatorName, TargetName};

/// One operator, from one device, on one account of one target, for one kind of channel, until it ends.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    pub(crate) operator: OperatorName,
    pub(crate) device: Option<DeviceName>,
    pub(crate) target: TargetName,
    pub(crate) account: AccountName,
    pub(crate) kind: ChannelKind,
    pub(crate) grant: GrantName,
    pub(crate) ends: Option<Timestamp>,
    pub(crate) decided: Timestamp,
    pub(crate) rules: Vec<String>,
}

impl Permit {
    /// Who.
    #[must_use]
    pub fn operator(&self) -> &OperatorName {
        &self.operator
    }

    /// From which device; none when the connection proved none and the grant asks for none.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceName> {
        self.device.as_ref()
    }

    /// Where.
    #[must_use]
    pub fn target(&self) -> &TargetName {
        &self.target
    }

    /// As whom there; the default account when none was asked for.
    #[must_use]
    pub fn account(&self) -> &AccountName {
        &self.account
    }

    /// What.
    #[must_use]
    pub fn kind(&self) -> &ChannelKind {
        &self.kind
    }

    /// By which grant.
    #[must_use]
    pub fn grant(&self) -> &GrantName {
        &self.grant
    }

    /// The earliest of the grant's `until`, the end of its hours and its `max_session`. At that instant the channel is
    /// to be decided again, and to end unless that says yes.
    #[must_use]
    pub fn ends(&self) -> Option<Timestamp> {
        self.ends
    }

    /// When it was decided.
    #[must_use]
    pub fn decided(&self) -> Timestamp {
        self.decided
    }

    /// The ids of the rules that said yes.
    #[must_use]
    pub fn rules(&self) -> &[String] {
        &self.rules
    }
}
