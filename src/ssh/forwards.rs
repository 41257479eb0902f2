//! Forwards of one connection: streams that the client opens, places where the target is to listen, the agent and the screen.
//! Never binds, listens or connects anywhere: what is permitted is asked of the target.

use std::collections::HashMap;
use std::time::Duration;

use russh::server::{ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId, ChannelOpenFailure};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::calling::Client;
use super::handler::{Handler, Phase};
use super::inlet::FromInlet;
use super::tunnel::Tunnel;
use crate::channel::{Asked, End, Start, Stream};
use crate::session::{self, Listening};

/// The longest that a request to listen may hold up its connection: SSH wants these answered in order, and russh at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// Places where the targets of one connection may listen.
const LISTENING: usize = 16;
/// Refused requests of one connection that are decided, and so logged, one by one. Beyond it they are refused unseen.
const ASKED: u32 = 1024;

/// What one connection has asked for.
#[derive(Default)]
pub(super) struct Forwards {
    listening: HashMap<End, Listening>,
    /// Agents, screens and places to listen that were asked for.
    asked: u32,
}

impl Forwards {
    /// The target is to listen there no more; `false` where it does not.
    pub(super) async fn cancel(&mut self, end: &End, gone: &CancellationToken) -> bool {
        let Some(listening) = self.listening.remove(end) else { return false };
        tokio::select! {
            biased;
            () = gone.cancelled() => false,
            stopped = timeout(PATIENCE, listening.stop()) => stopped.is_ok(),
        }
    }
}

impl Handler {
    /// A stream to somewhere behind the target; answered when the target has answered.
    pub(super) async fn forward(
        &mut self,
        channel: Channel<Msg>,
        stream: Stream,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) {
        // Where nothing is open, the dropped reply refuses.
        let Phase::Open(connection) = &self.phase else { return };
        let carried = if self.conduct.opens() { self.channels.carry(channel) } else { None };
        let Some((inlet, half)) = carried else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return;
        };
        let gone = self.channels.gone().clone();
        let tunnel = Tunnel::new(FromInlet::new(inlet, gone.clone()), half, Some(reply), gone.clone());
        let client = Client::new(session.handle(), self.confirmed.clone(), gone);
        let asked = Box::new(Asked::from(Start::Forward(stream)));
        tokio::spawn(session::run(self.bastion.clone(), connection.carry(), asked, tunnel, client));
    }

    /// The target is to listen; answers the port where it does, 0 where there is none to tell.
    pub(super) async fn listen(&mut self, end: End, session: &mut Session) -> Option<u32> {
        self.forwards.listening.retain(|_, listening| !listening.is_over());
        self.forwards.asked += 1;
        let Phase::Open(connection) = &self.phase else { return None };
        let full = self.forwards.listening.len() >= LISTENING || self.forwards.asked > ASKED;
        if full || self.forwards.listening.contains_key(&end) {
            return None;
        }
        let gone = self.channels.gone().clone();
        let client = Client::new(session.handle(), self.confirmed.clone(), gone.clone());
        // A task of its own: when nobody waits for it any more it still ends in order, and listens no more.
        let listening =
            tokio::spawn(session::listen(self.bastion.clone(), connection.carry(), end.clone(), client));
        // Russh's loop waits here and so does everything on this connection, so it must not be for long.
        let listening = tokio::select! {
            biased;
            () = gone.cancelled() => return None,
            () = connection.cutter.ending().cancelled() => return None,
            listening = timeout(PATIENCE, listening) => listening.ok()?.ok()??,
        };
        let port = listening.port();
        let end = match end {
            End::Tcp { host, port: 0 } => End::Tcp { host, port },
            other => other,
        };
        self.forwards.listening.insert(end, listening);
        Some(port)
    }

    /// Whether a session channel that has not begun may also use this of the operator's. A no is logged, and the session goes on.
    pub(super) async fn may_also(&mut self, channel: ChannelId, start: Start) -> bool {
        self.forwards.asked += 1;
        if !self.channels.asks(channel) || self.forwards.asked > ASKED {
            return false;
        }
        let Phase::Open(connection) = &self.phase else { return false };
        connection.route.target.is_some() && session::may(&self.bastion, connection, start.into()).await
    }
}
