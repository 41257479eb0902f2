//! Channels that a target opens: let in only where the operator asked for that kind on this very connection.
//! Never answers one by itself: whoever takes it accepts it, and one that is dropped is refused.

use std::sync::Arc;

use russh::Channel;
use russh::client::{ChannelOpenHandle, Msg};
use tokio::sync::mpsc;

use super::gate::Gate;
use super::leg::Leg;
use crate::channel::{Asked, End, Start, Stream};
use crate::recording::Reached;

/// Channels of one connection that may wait to be looked at.
const WAITING: usize = 16;

/// What a target may open on one connection.
#[derive(Debug, Default)]
pub(super) struct Expects {
    agent: bool,
    screen: bool,
    /// Where it was asked to listen. Nothing else is asked for on that connection.
    listening: Option<End>,
}

impl Expects {
    /// What follows from what was asked for.
    pub(super) fn of(asked: &Asked) -> Self {
        let listening = match &asked.start {
            Start::Listen(end) => Some(end.clone()),
            _ => None,
        };
        Self { agent: asked.agent, screen: asked.screen.is_some(), listening }
    }

    fn includes(&self, start: &Start) -> bool {
        match start {
            Start::Agent => self.agent,
            Start::X11(_) => self.screen,
            Start::Return(Stream { to, .. }) => match (&self.listening, to) {
                // The port is the target's choice where none was asked for.
                (Some(End::Tcp { host, port: 0 }), End::Tcp { host: at, .. }) => host == at,
                (Some(asked), to) => asked == to,
                (None, _) => false,
            },
            Start::Shell | Start::Exec(_) | Start::Subsystem(_) | Start::Forward(_) | Start::Listen(_) => {
                false
            }
        }
    }
}

/// Channels that were let in, in the order they came.
/// Boxed, since room for a few is made at once and hardly ever used.
pub struct Arrivals(mpsc::Receiver<Box<Arrival>>);

impl Arrivals {
    /// The next one; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Arrival> {
        self.0.recv().await.map(|arrival| *arrival)
    }
}

/// A channel that the target opens and that is not yet answered.
pub struct Arrival {
    start: Start,
    channel: Channel<Msg>,
    reply: ChannelOpenHandle,
    gate: Arc<Gate>,
    reached: Reached,
}

impl Arrival {
    /// What it is.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// How the target was reached.
    pub fn reached(&self) -> Reached {
        self.reached.clone()
    }

    /// Confirms it to the target.
    pub async fn accept(self) -> Leg {
        let (read, write) = self.channel.split();
        let leg = Leg::new(read, write, self.gate, Default::default());
        self.reply.accept().await;
        leg
    }
}

/// The side that lets them in.
pub(super) struct Porter {
    expects: Expects,
    to: mpsc::Sender<Box<Arrival>>,
    gate: Arc<Gate>,
    reached: Reached,
}

/// Both sides of the door for one connection.
pub(super) fn arrivals(expects: Expects, gate: Arc<Gate>, reached: Reached) -> (Porter, Arrivals) {
    let (to, from) = mpsc::channel(WAITING);
    (Porter { expects, to, gate, reached }, Arrivals(from))
}

impl Porter {
    /// Lets a channel in, or refuses it: what is not expected, and what is too much.
    pub(super) fn knocks(&self, start: Start, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        if self.expects.includes(&start) {
            let (gate, reached) = (self.gate.clone(), self.reached.clone());
            let _ = self.to.try_send(Box::new(Arrival { start, channel, reply, gate, reached }));
        } else {
            tracing::warn!(
                kind = start.word(),
                "a target opened a channel that nobody asked for; it was refused"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(host: &str, port: u32) -> End {
        End::Tcp { host: host.into(), port }
    }

    fn returned(host: &str, port: u32) -> Start {
        Start::Return(Stream { to: tcp(host, port), from: None })
    }

    #[test]
    fn what_was_not_asked_for_is_not_let_in() {
        let nothing = Expects::of(&Asked::from(Start::Shell));
        let all = [Start::Agent, Start::X11(tcp("a", 1)), returned("localhost", 80), returned("", 80)];
        assert!(!all.iter().any(|start| nothing.includes(start)));
        let agent = Expects::of(&Asked { agent: true, ..Asked::from(Start::Shell) });
        assert_eq!(all.iter().filter(|start| agent.includes(start)).count(), 1);
    }

    #[test]
    fn a_returned_stream_is_held_against_where_the_target_was_asked_to_listen() {
        let fixed = Expects::of(&Asked::from(Start::Listen(tcp("localhost", 8080))));
        assert!(fixed.includes(&returned("localhost", 8080)));
        assert!(!fixed.includes(&returned("localhost", 8081)) && !fixed.includes(&returned("", 8080)));
        assert!(!fixed.includes(&Start::Agent) && !fixed.includes(&Start::X11(tcp("a", 1))));
        let any = Expects::of(&Asked::from(Start::Listen(tcp("localhost", 0))));
        assert!(any.includes(&returned("localhost", 40_001)) && !any.includes(&returned("0.0.0.0", 40_001)));
        let unix = Expects::of(&Asked::from(Start::Listen(End::Unix("/run/x".into()))));
        let at = |path: &str| Start::Return(Stream { to: End::Unix(path.into()), from: None });
        assert!(unix.includes(&at("/run/x")) && !unix.includes(&at("/run/y")));
    }
}
