//! What the policy said yes to: who may do what, on which terms.
//! It never comes from anywhere but the decision.

use std::sync::Arc;

use jiff::Timestamp;
use ledger::log::Event;
use policy::{AccountName, Bundle, ChannelKind, DeviceName, OperatorName, Permit, TargetName};

use super::about;
use super::asked::describe_stream;
use crate::bastion::Bastion;
use crate::channel::Asked;
use crate::login::{Authenticated, Reason};

/// A channel that the policy permits.
#[derive(Debug)]
pub struct Permitted {
    pub(super) authenticated: Arc<Authenticated>,
    pub(super) reason: Option<Reason>,
    pub(super) asked: Asked,
    pub(super) permit: Permit,
    pub(super) at: Timestamp,
    pub(super) warnings: Vec<String>,
}

impl Permitted {
    /// The policy's yes and its terms.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// What the operator is to be told of their device: what will bar it on a day to come. Lines without line ends.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// When it was asked for.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether the channel ends when it cannot be recorded.
    pub fn strict(&self, bundle: &Bundle) -> bool {
        bundle.target(self.target()).is_none_or(|target| target.recording() == policy::Recording::Strict)
    }

    /// All that was asked for.
    pub fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Who.
    pub fn operator(&self) -> &OperatorName {
        self.permit.operator()
    }

    /// From which device, when one was proven.
    pub fn device(&self) -> Option<&DeviceName> {
        self.permit.device()
    }

    /// To which target.
    pub fn target(&self) -> &TargetName {
        self.permit.target()
    }

    /// On which account.
    pub fn account(&self) -> &AccountName {
        self.permit.account()
    }

    /// To do what.
    pub fn kind(&self) -> &ChannelKind {
        self.permit.kind()
    }

    /// All that must go on being permitted for the channel to go on.
    pub fn kinds(&self) -> Vec<ChannelKind> {
        let mut kinds = vec![self.kind().clone()];
        kinds.extend(self.asked.agent.then_some(ChannelKind::Agent));
        kinds.extend(self.asked.screen.is_some().then_some(ChannelKind::X11));
        kinds
    }

    /// The login it rests on.
    pub fn authenticated(&self) -> &Arc<Authenticated> {
        &self.authenticated
    }

    /// Why they go there, where a reason was asked for.
    pub fn reason(&self) -> Option<&Reason> {
        self.reason.as_ref()
    }

    /// An event of `kind` that names who may do what.
    pub fn event(&self, bastion: &Bastion, kind: &str) -> Event {
        let mut event = about(bastion, kind, &self.authenticated);
        event.target = Some(self.target().to_string());
        event.account = Some(self.account().to_string());
        event
    }

    /// Says of the channel itself what it is.
    pub fn describe(&self, event: &mut Event) {
        event.detail.insert("kind".into(), self.kind().word().into());
        event.detail.insert("grant".into(), self.permit.grant().as_str().into());
        if let Some(reason) = &self.reason {
            event.detail.insert("reason".into(), reason.as_str().into());
        }
        describe_stream(event, &self.asked.start);
    }
}
