//! What the request of a channel becomes in each phase of its connection.
//! Never decides: an open connection's channel goes to `session`, and what no phase provides for is refused.

use std::sync::Arc;

use russh::ChannelId;
use russh::server::Session;

use super::calling::Client;
use super::handler::{Handler, Phase};
use super::inner::{Names, Outer};
use super::words::{self, Speaker};
use crate::channel::Start;
use crate::session;

impl Handler {
    pub(super) fn begin(
        &mut self,
        channel: ChannelId,
        start: Start,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if matches!(
            self.phase,
            Phase::Login(_) | Phase::Arriving(_) | Phase::Stepping(_) | Phase::Dismissed | Phase::Ended
        ) {
            return session.channel_failure(channel);
        }
        let Some((asked, operator)) = self.channels.begin(channel, start, session.handle()) else {
            return session.channel_failure(channel);
        };
        let bastion = self.bastion.clone();
        let client = Client::new(session.handle(), self.confirmed.clone(), self.channels.gone().clone());
        match &mut self.phase {
            Phase::Open(connection) if connection.route.target.is_none() => {
                let speaker = Speaker::Operator(connection.clone());
                words::begin(bastion, &self.talking, speaker, asked, operator, client);
            }
            Phase::Open(connection) => {
                // Counted before the task runs: the connection does not end before its channels do.
                tokio::spawn(session::run(bastion, connection.carry(), Box::new(asked), operator, client));
            }
            Phase::Enrolling(guest) => {
                let speaker = Speaker::Guest(guest.clone());
                words::begin(bastion, &self.talking, speaker, asked, operator, client);
            }
            Phase::Remediation(remediation) => remediation.show(operator),
            Phase::DeviceAlone(visit) => visit.begin(&bastion, asked.start, operator),
            Phase::Login(_) | Phase::Arriving(_) | Phase::Stepping(_) | Phase::Dismissed | Phase::Ended => {}
        }
        Ok(())
    }

    pub(super) fn may_open_channels(&self) -> bool {
        match &self.phase {
            Phase::Open(_) | Phase::Enrolling(_) => true,
            Phase::Remediation(remediation) => remediation.has_room(),
            Phase::DeviceAlone(visit) => visit.has_room(),
            Phase::Login(_) | Phase::Arriving(_) | Phase::Stepping(_) | Phase::Dismissed | Phase::Ended => {
                false
            }
        }
    }

    /// What a jump from here rests on; `None` where none leads on.
    pub(super) fn jump_from(&mut self) -> Option<(Arc<Names>, Outer)> {
        let names = self.names.clone()?;
        match &mut self.phase {
            // A login name that names a target leads there and nowhere else.
            Phase::Open(connection) if connection.route.target.is_none() => {
                Some((names, Outer::Open(connection.clone())))
            }
            Phase::Remediation(told) => {
                let text = told.text().to_owned();
                told.told_elsewhere().then_some((names, Outer::Remediation(text)))
            }
            Phase::Open(_)
            | Phase::Login(_)
            | Phase::Arriving(_)
            | Phase::Stepping(_)
            | Phase::Enrolling(_)
            | Phase::DeviceAlone(_)
            | Phase::Dismissed
            | Phase::Ended => None,
        }
    }
}
