//! Recorded -> Connected: the bastion's own connection to a registered target, one for each session channel.
//! Never trusts a host key it was not told of, never shows a target anything of the operator's, and takes no channel that
//! a target opens.

mod algorithms;
mod dial;
mod gate;
mod hostkey;
mod leg;
mod line;
mod login;
mod places;
mod request;
mod scan;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use policy::Target;
use russh::client::{self, Handle};
use ssh_key::PublicKey;
use tokio::io::BufReader;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::bastion::Bastion;
use crate::recording::Recorded;

use gate::{Gate, Gated};
use hostkey::KnownHost;
use line::Line;
use login::{Purpose, Visitor};
use request::Asking;

pub use leg::Leg;
pub use places::Places;
pub use scan::{check, scan};

/// The longest that key exchange, host key check and login may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes read from a socket at once.
const READ_AHEAD: usize = 64 << 10;
/// How long a target may take to hear that we leave.
const GOODBYE: Duration = Duration::from_millis(200);
/// The same when a session is cut: both legs are gone within a second, so little is left for manners.
const CUT: Duration = Duration::from_millis(100);

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
        /// The address that was tried last.
        address: SocketAddr,
        /// What the system said.
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
        /// The address it was dialled at.
        address: SocketAddr,
        /// What did not fit.
        why: String,
    },
    /// It does not let us in.
    #[error(
        "the target refused the login as {account}: does it trust the user CA (`bartizan ca show user`)?"
    )]
    Login {
        /// The login name.
        account: String,
    },
    /// It does not do what was asked for.
    #[error("the target refused {what}")]
    Request {
        /// What was asked for.
        what: &'static str,
    },
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
    /// The refusal's code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Address { .. } => "TARGET-001",
            Self::Unreachable { .. } | Self::Protocol { .. } | Self::Stopped => "TARGET-002",
            Self::Timeout { .. } => "TARGET-003",
            Self::HostKey { .. } | Self::Registered { .. } => "TARGET-004",
            Self::Login { .. } | Self::Certificate { .. } => "TARGET-005",
            Self::Request { .. } => "TARGET-006",
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
        }
    }
}

/// A channel on a target that runs what was permitted, and the recording it rests on.
pub struct Connected {
    recorded: Recorded,
    leg: Leg,
    connection: Handle<Visitor>,
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

    /// Takes leave of the target and gives the recording back.
    pub async fn leave(self) -> Recorded {
        let Self { recorded, leg, connection, killer } = self;
        // Opens the gate, so that the connection's loop hears the goodbye.
        drop(leg);
        let _ = timeout(GOODBYE, goodbye(connection)).await;
        drop(killer);
        recorded
    }

    /// Ends the program and the connection, and gives the recording back. Nothing of what the target has yet to say or to
    /// take is waited for: the socket is reset, so that the target learns of it at once.
    pub async fn cut(self) -> Recorded {
        let Self { recorded, leg, connection, killer } = self;
        let _ = timeout(CUT, async {
            leg.hang_up().await;
            goodbye(connection).await;
        })
        .await;
        drop(killer);
        recorded
    }
}

/// Says goodbye; returns when it is said and the connection is closed.
async fn goodbye(connection: Handle<Visitor>) {
    if connection.disconnect(russh::Disconnect::ByApplication, "", "").await.is_ok() {
        let _ = connection.await;
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
pub async fn connect(bastion: &Bastion, recorded: Recorded, stop: &Stop) -> Result<Connected, Unconnected> {
    let kill = CancellationToken::new();
    // Whatever way this is left without a connection, the socket is closed with it.
    let killer = kill.clone().drop_guard();
    let reached = tokio::select! {
        biased;
        () = stop.ending.cancelled() => Err(ConnectError::Stopped),
        () = stop.gone.cancelled() => Err(ConnectError::Stopped),
        reached = reach(bastion, &recorded, kill) => reached,
    };
    match reached {
        Ok((leg, connection, address)) => {
            Ok(Connected { recorded: recorded.reached(address), leg, connection, killer })
        }
        Err(why) => Err(Unconnected { recorded, why }),
    }
}

async fn reach(
    bastion: &Bastion,
    recorded: &Recorded,
    kill: CancellationToken,
) -> Result<(Leg, Handle<Visitor>, SocketAddr), ConnectError> {
    let permitted = recorded.permitted();
    let bundle = bastion.access.bundle();
    let target = bundle
        .target(permitted.target())
        .ok_or_else(|| ConnectError::Registered { why: "the target is no longer registered".into() })?;
    // Servers shed logins that come too many at once (`MaxStartups`): they wait here instead.
    let place = bastion.targets.place(target.name());
    let _place = timeout(PATIENCE, place)
        .await
        .map_err(|_| ConnectError::Timeout { step: "waiting for other logins" })?;
    let (stream, address) = dial::dial(&target.address().to_string()).await?;
    let local = stream.local_addr().map_err(|why| ConnectError::Protocol { why: why.to_string() })?.ip();
    let known = known_host(target)?;
    let now = bastion.clock.now();
    let certificate = login::certify(
        bastion,
        &Purpose {
            account: permitted.account(),
            key_id: format!("bartizan session={} operator={}", recorded.session(), permitted.operator()),
            sources: sources(target, local),
            now,
        },
    )?;
    let gate = Arc::new(Gate::default());
    let stranger = Arc::new(OnceLock::new());
    let config = Arc::new(algorithms::config(&known));
    let visitor = Visitor { known, now, gate: gate.clone(), stranger: stranger.clone() };
    let stream = BufReader::with_capacity(READ_AHEAD, Line::new(stream));
    let stream = Gated::new(stream, gate.clone(), kill);
    let logging_in = async {
        let mut handle = client::connect_stream(config, stream, visitor).await.map_err(|why| {
            let why = stranger.get().map_or_else(|| why.to_string(), ToString::to_string);
            if stranger.get().is_some() {
                ConnectError::HostKey { address, why }
            } else {
                ConnectError::Protocol { why }
            }
        })?;
        login::login(&mut handle, permitted.account(), &certificate).await?;
        let channel = handle
            .channel_open_session()
            .await
            .map_err(|why| ConnectError::Protocol { why: why.to_string() })?;
        Ok((handle, channel))
    };
    let (handle, channel) =
        timeout(PATIENCE, logging_in).await.map_err(|_| ConnectError::Timeout { step: "logging in" })??;
    let (mut read, write) = channel.split();
    let early = Asking { read: &mut read, write: &write, gate: &gate }.ask(permitted.asked()).await?;
    Ok((Leg::new(read, write, gate, early), handle, address))
}

/// How the target sees the bastion: as the bundle says, else by the socket's own address.
fn sources(target: &Target, local: IpAddr) -> Vec<IpAddr> {
    // Ranges were refused when the bundle was applied.
    let named: Vec<IpAddr> =
        target.source().iter().filter_map(|source| source.to_string().parse().ok()).collect();
    if named.is_empty() { vec![local] } else { named }
}

fn known_host(target: &Target) -> Result<KnownHost, ConnectError> {
    let read = |texts: &[String]| -> Result<Vec<PublicKey>, ConnectError> {
        texts
            .iter()
            .map(|text| {
                PublicKey::from_openssh(text).map_err(|why| ConnectError::Registered { why: why.to_string() })
            })
            .collect()
    };
    let address = target.address().to_string();
    let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
    Ok(KnownHost {
        keys: read(target.host_keys())?,
        authorities: read(target.host_ca())?,
        names: vec![target.name().to_string(), host.trim_matches(['[', ']']).to_owned()],
    })
}
