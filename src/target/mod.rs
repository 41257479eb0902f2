//! Recorded -> Connected: the bastion's own connection to a registered target, one for each channel that it is asked for.
//! Never trusts a host key it was not told of, on whatever way it reaches the server, never shows a target anything of the operator's, and takes no channel that a
//! target opens but those that the operator asked for and the policy permits.

mod algorithms;
mod arrivals;
mod asks;
mod dial;
mod gate;
mod hostkey;
mod leg;
mod line;
mod login;
mod means;
mod passage;
mod places;
mod request;
mod road;
mod scan;
mod visit;

use std::time::Duration;

use jiff::Timestamp;
use keys::Allow;
use policy::TargetName;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bastion::Bastion;
use crate::channel::{End, Start};
use crate::recording::Recorded;

use arrivals::Expects;
use visit::{Errand, Visit};

pub use arrivals::{Arrival, Arrivals};
pub use asks::{Answer, Asks};
pub use leg::Leg;
pub use places::Places;
pub use scan::{check, scan};

/// The longest that key exchange, host key check and login may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a target was not reached. What the operator is told says no more than they could see by themselves.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The registered address does not resolve, or to nothing that could be a server.
    #[error("the registered address is of no use: {why}")]
    Address {
        /// What the resolver said.
        why: String,
    },
    /// Nobody answers there.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// The address that was tried; the registered one where there were several.
        address: String,
        /// What the system said, of each.
        why: String,
    },
    /// It took too long.
    #[error("the target took too long: {step}")]
    Timeout {
        /// What was waited for.
        step: &'static str,
    },
    /// It is not the registered server.
    #[error("the server at {address} is not the registered target: {why}")]
    HostKey {
        /// Where it was reached.
        address: String,
        /// What did not fit.
        why: String,
    },
    /// It does not let us in.
    #[error("the target refused the login as {account} with {with}: {why}")]
    Login {
        /// The login name.
        account: String,
        /// What was tried.
        with: String,
        /// What it said, and what to look at.
        why: String,
    },
    /// What the bundle says the login is made with is not to be had.
    #[error("no secret for the login: {why}")]
    Vault {
        /// What is wrong.
        why: String,
    },
    /// It asks its operator, and there is no terminal to ask on.
    #[error("the target asks its operator (login = \"ask\"), and there is no terminal to ask on")]
    NoTerminal,
    /// It asked, and nobody answered.
    #[error("the target asked its operator, who gave no answer")]
    Unanswered,
    /// The target that it is reached via was not reached itself.
    #[error("the gateway {gateway} cannot be gone through: {why} [{}]", .why.code())]
    Gateway {
        /// The gateway.
        gateway: TargetName,
        /// What failed there.
        why: Box<Self>,
    },
    /// The gateway lets nobody through.
    #[error(
        "the gateway {gateway} does not forward to {address}: allow it there (AllowTcpForwarding, PermitOpen)"
    )]
    Barred {
        /// The gateway.
        gateway: TargetName,
        /// Where it should have led.
        address: String,
    },
    /// It does not do what was asked for.
    #[error("the target refused {what}")]
    Request {
        /// What was asked for.
        what: &'static str,
    },
    /// Nobody takes the forward where it leads.
    #[error("the target could not connect to where the forward leads")]
    NotThere,
    /// No certificate could be made for the login.
    #[error("no certificate for the login: {why}")]
    Certificate {
        /// What `keys` said.
        why: String,
    },
    /// The bundle's host key or CA for this target cannot be read.
    #[error("the registered host keys cannot be read: {why}; mend the target in the access bundle")]
    Registered {
        /// Which and why.
        why: String,
    },
    /// The session was cut, or the operator has gone: nothing more is done there.
    #[error("the session ended before the target was reached")]
    Stopped,
    /// Something else in the protocol.
    #[error("talking to the target failed: {why}")]
    Protocol {
        /// What the library said.
        why: String,
    },
}

impl ConnectError {
    /// What went wrong in the protocol, in the library's words.
    fn protocol(why: impl std::fmt::Display) -> Self {
        Self::Protocol { why: why.to_string() }
    }

    /// The refusal's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "TARGET-001",
            Self::Unreachable { .. } | Self::Protocol { .. } | Self::Stopped => "TARGET-002",
            Self::Timeout { .. } => "TARGET-003",
            Self::HostKey { .. } | Self::Registered { .. } => "TARGET-004",
            Self::Login { .. } | Self::Certificate { .. } => "TARGET-005",
            Self::Request { .. } => "TARGET-006",
            Self::NotThere => "TARGET-007",
            Self::Vault { .. } => "TARGET-008",
            Self::Gateway { .. } => "TARGET-009",
            Self::Barred { .. } => "TARGET-010",
            Self::NoTerminal | Self::Unanswered => "TARGET-011",
        }
    }

    /// What the operator is told.
    pub fn told(&self) -> &'static str {
        match self {
            Self::Address { .. } => "the target's registered address is of no use; ask its owner",
            Self::Unreachable { .. } | Self::Protocol { .. } | Self::Stopped => {
                "the target cannot be reached; ask its owner"
            }
            Self::Timeout { .. } => "the target did not answer in time; try again, or ask its owner",
            Self::HostKey { .. } | Self::Registered { .. } => {
                "the server there is not the registered target; nothing was sent to it; tell your administrator"
            }
            Self::Login { .. } | Self::Certificate { .. } => "the target refused the login; ask its owner",
            Self::Request { .. } => "the target refused what was asked for",
            Self::NotThere => "nobody answers where this leads",
            Self::Vault { .. } => {
                "the bastion has no key or password for this target; tell your administrator"
            }
            Self::Gateway { .. } => "the gateway to this target cannot be used; ask its owner",
            Self::Barred { .. } => "the gateway to this target does not let it be reached; ask its owner",
            Self::NoTerminal => "this target asks you itself, on a terminal: connect with `ssh -t`",
            Self::Unanswered => "the target asked, and there was no answer",
        }
    }
}

/// A channel on a target that runs what was permitted, and the recording it rests on.
pub struct Connected {
    recorded: Recorded,
    leg: Leg,
    visit: Visit,
    /// Closes the socket when the connection is left.
    killer: DropGuard,
}

/// What is left when a target was not reached: the recording, to be sealed, and the reason.
pub struct Unconnected {
    /// The recording, which holds nothing but its beginning.
    pub recorded: Recorded,
    /// Why.
    pub why: ConnectError,
}

impl Connected {
    /// The two parts the relay works with at the same time.
    pub fn parts(&mut self) -> (&Recorded, &mut Leg) {
        (&self.recorded, &mut self.leg)
    }

    /// The channels that the target opens on this connection, as far as they are expected; `None` when they were asked for
    /// before.
    pub fn arrivals(&mut self) -> Option<Arrivals> {
        self.visit.arrivals.take()
    }

    /// Takes leave of the target and gives the recording back.
    pub async fn leave(self) -> Recorded {
        let Self { recorded, leg, visit, killer } = self;
        // Opens the gate, so that the connection's loop hears the goodbye.
        drop(leg);
        visit.leave().await;
        drop(killer);
        recorded
    }

    /// Ends the program and the connection, and gives the recording back. Nothing of what the target has yet to say or to
    /// take is waited for: the socket is reset, so that the target learns of it at once.
    pub async fn cut(self) -> Recorded {
        let Self { recorded, leg, visit, killer } = self;
        let program = recorded.permitted().asked().start.is_session();
        visit.cut(program.then_some(leg)).await;
        drop(killer);
        recorded
    }
}

/// What ends the way to a target before it is reached.
#[derive(Debug, Clone)]
pub struct Stop {
    /// Cancelled when the session is cut.
    pub ending: CancellationToken,
    /// Cancelled when the operator's connection has ended.
    pub gone: CancellationToken,
}

/// Dials, checks the host key, logs in and starts what was asked for, unless it is stopped.
/// What the target asks meanwhile is answered by `asks`, where the bundle lets it ask.
pub async fn connect(
    bastion: &Bastion,
    recorded: Box<Recorded>,
    stop: &Stop,
    asks: Option<&mut dyn Asks>,
) -> Result<Box<Connected>, Box<Unconnected>> {
    let kill = CancellationToken::new();
    // Whatever way this is left without a connection, the socket is closed with it.
    let killer = kill.clone().drop_guard();
    let reached = tokio::select! {
        biased;
        () = stop.ending.cancelled() => Err(ConnectError::Stopped),
        () = stop.gone.cancelled() => Err(ConnectError::Stopped),
        reached = reach(bastion, &recorded, kill, asks) => reached,
    };
    match reached {
        Ok((leg, visit)) => {
            let recorded = recorded.reached(visit.reached.clone());
            Ok(Box::new(Connected { recorded, leg, visit, killer }))
        }
        Err(why) => Err(Box::new(Unconnected { recorded: *recorded, why })),
    }
}

/// A target that listens for the operator, and the recording it rests on.
pub struct Listener {
    recorded: Recorded,
    visit: Visit,
    end: End,
    port: u32,
    killer: DropGuard,
}

impl Listener {
    /// The port, where the target chose it; else 0.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Where it listens, with the port it chose.
    pub fn place(&self) -> End {
        match &self.end {
            End::Tcp { host, port: 0 } => End::Tcp { host: host.clone(), port: self.port },
            other => other.clone(),
        }
    }

    /// When the permit ends.
    pub fn ends(&self) -> Option<Timestamp> {
        self.recorded.permitted().permit().ends()
    }

    /// The streams that come there; `None` when they were asked for before.
    pub fn arrivals(&mut self) -> Option<Arrivals> {
        self.visit.arrivals.take()
    }

    /// Asks the target to listen no more, within a bounded time.
    pub async fn stop(&self) {
        self.visit.listen_no_more(&self.end, self.port).await;
    }

    /// Takes leave of the target, with all streams that came there, and gives the recording back.
    pub async fn leave(self) -> Recorded {
        let Self { recorded, visit, killer, .. } = self;
        visit.leave().await;
        drop(killer);
        recorded
    }

    /// Ends the connection with all streams that came there, and gives the recording back. Nothing is waited for.
    pub async fn cut(self) -> Recorded {
        let Self { recorded, visit, killer, .. } = self;
        visit.cut(None).await;
        drop(killer);
        recorded
    }
}

/// Dials, checks the host key, logs in and asks the target to listen, unless it is stopped.
pub async fn listen(
    bastion: &Bastion,
    recorded: Box<Recorded>,
    stop: &Stop,
) -> Result<Listener, Unconnected> {
    let kill = CancellationToken::new();
    let killer = kill.clone().drop_guard();
    let Start::Listen(end) = recorded.permitted().asked().start.clone() else {
        return Err(Unconnected { recorded: *recorded, why: ConnectError::Request { what: "to listen" } });
    };
    let asking = async {
        let visit = arrive(bastion, &recorded, kill, None).await?;
        let port = visit.listen(&end).await?;
        Ok((visit, port))
    };
    let asked = tokio::select! {
        biased;
        () = stop.ending.cancelled() => Err(ConnectError::Stopped),
        () = stop.gone.cancelled() => Err(ConnectError::Stopped),
        asked = asking => asked,
    };
    match asked {
        Ok((visit, port)) => {
            Ok(Listener { recorded: recorded.reached(visit.reached.clone()), visit, end, port, killer })
        }
        Err(why) => Err(Unconnected { recorded: *recorded, why }),
    }
}

async fn reach(
    bastion: &Bastion,
    recorded: &Recorded,
    kill: CancellationToken,
    asks: Option<&mut dyn Asks>,
) -> Result<(Leg, Visit), ConnectError> {
    let permitted = recorded.permitted();
    let visit = arrive(bastion, recorded, kill, asks).await?;
    let asked = permitted.asked();
    let leg = match permitted.kind().destination() {
        Some(destination) => visit.forward(destination, asked.start.origin()).await?,
        None => visit.run(asked).await?,
    };
    Ok((leg, visit))
}

/// A connection for what is recorded here.
async fn arrive(
    bastion: &Bastion,
    recorded: &Recorded,
    kill: CancellationToken,
    asks: Option<&mut dyn Asks>,
) -> Result<Visit, ConnectError> {
    let permitted = recorded.permitted();
    let bundle = bastion.access.bundle();
    let target = bundle
        .target(permitted.target())
        .ok_or_else(|| ConnectError::Registered { why: "the target is no longer registered".into() })?;
    let asked = permitted.asked();
    let errand = Errand {
        bundle: &bundle,
        target,
        account: permitted.account(),
        key_id: format!("bartizan session={} operator={}", recorded.session(), permitted.operator()),
        allow: Allow {
            agent: asked.agent,
            x11: asked.screen.is_some(),
            forward: matches!(asked.start, Start::Forward(_) | Start::Listen(_)),
        },
        expects: Expects::of(asked),
        is_gateway: false,
    };
    visit::open(bastion, errand, kill, asks).await
}
