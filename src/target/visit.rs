//! A connection to a registered target on which we are logged in: dialled, its host key checked, for one purpose.
//! Never used by two channels that are asked for: what stalls on one would hold up the other (see `gate`).

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keys::Allow;
use policy::{AccountName, Destination, Target};
use russh::client::{self, Handle, Msg};
use russh::{Channel, ChannelOpenFailure};
use ssh_key::PublicKey;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::arrivals::{Arrivals, Expects, arrivals};
use super::gate::{Gate, Gated};
use super::hostkey::KnownHost;
use super::leg::Leg;
use super::line::Line;
use super::login::{self, Purpose, Visitor};
use super::request::Asking;
use super::{ConnectError, PATIENCE, algorithms, dial};
use crate::bastion::Bastion;
use crate::channel::{Asked, End};
use crate::read_ahead::ReadAhead;

/// How long a target may take to listen no more.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a target may take to hear that we leave.
const GOODBYE: Duration = Duration::from_millis(200);
/// The same when a session is cut: both legs are gone within a second, so little is left for manners.
const CUT: Duration = Duration::from_millis(100);

/// What a connection is made for.
pub(super) struct Errand<'a> {
    pub(super) target: &'a Target,
    pub(super) account: &'a AccountName,
    /// Shown in the target's own log.
    pub(super) key_id: String,
    /// What the certificate allows there.
    pub(super) allow: Allow,
    /// What the target may open on it.
    pub(super) expects: Expects,
}

/// The connection.
pub(super) struct Visit {
    handle: Handle<Visitor>,
    gate: Arc<Gate>,
    /// The address the target was pinned to.
    pub(super) address: SocketAddr,
    /// Channels that the target opens.
    pub(super) arrivals: Option<Arrivals>,
}

/// Dials, checks the host key and logs in. The socket is closed when `kill` is cancelled.
pub(super) async fn open(
    bastion: &Bastion,
    errand: Errand<'_>,
    kill: CancellationToken,
) -> Result<Visit, ConnectError> {
    let Errand { target, account, key_id, allow, expects } = errand;
    // Servers shed logins that come too many at once (`MaxStartups`): they wait here instead.
    let place = bastion.targets.place(target.name());
    let _place = timeout(PATIENCE, place)
        .await
        .map_err(|_| ConnectError::Timeout { step: "waiting for other logins" })?;
    let (stream, address) = dial::dial(&target.address().to_string()).await?;
    let local = stream.local_addr().map_err(|why| ConnectError::Protocol { why: why.to_string() })?.ip();
    let known = known_host(target)?;
    let now = bastion.clock.now();
    let purpose = Purpose { account, key_id, sources: sources(target, local), allow, now };
    let certificate = login::certify(bastion, &purpose)?;
    let (gate, stranger) = (Arc::new(Gate::default()), Arc::new(OnceLock::new()));
    let config = Arc::new(algorithms::config(&known));
    let (porter, arrivals) = arrivals(expects, gate.clone(), address);
    let visitor = Visitor { known, now, gate: gate.clone(), stranger: stranger.clone(), porter };
    let stream = Gated::new(ReadAhead::new(Line::new(stream)), gate.clone(), kill);
    let logging_in = async {
        let mut handle =
            client::connect_stream(config, stream, visitor).await.map_err(|why| match stranger.get() {
                Some(stranger) => ConnectError::HostKey { address, why: stranger.to_string() },
                None => ConnectError::Protocol { why: why.to_string() },
            })?;
        login::login(&mut handle, account, &certificate).await?;
        Ok(handle)
    };
    let handle =
        timeout(PATIENCE, logging_in).await.map_err(|_| ConnectError::Timeout { step: "logging in" })??;
    Ok(Visit { handle, gate, address, arrivals: Some(arrivals) })
}

impl Visit {
    /// Opens a session channel and starts what was asked for.
    pub(super) async fn run(&self, asked: &Asked) -> Result<Leg, ConnectError> {
        let channel = self.opened("a session", self.handle.channel_open_session()).await?;
        let meter = self.gate.meter(channel.id());
        let (mut read, write) = channel.split();
        let mut asking = Asking { read: &mut read, write: &write, gate: &self.gate, meter: &meter };
        let early = asking.ask(asked).await?;
        Ok(Leg::new(read, write, self.gate.clone(), early))
    }

    /// Opens a stream to a place as the target sees it.
    pub(super) async fn forward(&self, to: &Destination, from: Option<&End>) -> Result<Leg, ConnectError> {
        let channel = match to {
            Destination::Tcp(address) => {
                let (host, port) = origin(from);
                let opening =
                    self.handle.channel_open_direct_tcpip(address.host(), address.port().into(), host, port);
                self.opened("the forward", opening).await?
            }
            Destination::Unix(path) => {
                let opening = self.handle.channel_open_direct_streamlocal(path.as_str());
                self.opened("the forward", opening).await?
            }
        };
        let (read, write) = channel.split();
        Ok(Leg::new(read, write, self.gate.clone(), Default::default()))
    }

    /// Asks the target to listen there; the port, where it chose it.
    pub(super) async fn listen(&self, end: &End) -> Result<u32, ConnectError> {
        let asking = async {
            match end {
                End::Tcp { host, port } => self.handle.tcpip_forward(host.as_str(), *port).await,
                End::Unix(path) => self.handle.streamlocal_forward(path.as_str()).await.map(|()| 0),
            }
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok(port)) => Ok(port),
            Ok(Err(russh::Error::RequestDenied)) => Err(ConnectError::Request { what: "to listen" }),
            Ok(Err(why)) => Err(ConnectError::Protocol { why: why.to_string() }),
            Err(_) => Err(ConnectError::Timeout { step: "asking it to listen" }),
        }
    }

    /// Asks the target to listen no more, within a bounded time.
    pub(super) async fn listen_no_more(&self, end: &End, chosen: u32) {
        let asking = async {
            match end {
                End::Tcp { host, port } => {
                    let port = if *port == 0 { chosen } else { *port };
                    self.handle.cancel_tcpip_forward(host.as_str(), port).await
                }
                End::Unix(path) => self.handle.cancel_streamlocal_forward(path.as_str()).await,
            }
        };
        let _ = timeout(ANSWER, asking).await;
    }

    /// Waits until the target has opened a channel.
    async fn opened(
        &self,
        what: &'static str,
        opening: impl Future<Output = Result<Channel<Msg>, russh::Error>>,
    ) -> Result<Channel<Msg>, ConnectError> {
        match timeout(PATIENCE, opening).await {
            Ok(Ok(channel)) => {
                // russh has taken the confirmation from the queue.
                self.gate.gone(&self.gate.meter(channel.id()), 0);
                Ok(channel)
            }
            Ok(Err(russh::Error::ChannelOpenFailure(why))) => Err(match why {
                ChannelOpenFailure::ConnectFailed => ConnectError::NotThere,
                _ => ConnectError::Request { what },
            }),
            Ok(Err(why)) => Err(ConnectError::Protocol { why: why.to_string() }),
            Err(_) => Err(ConnectError::Timeout { step: "opening a channel" }),
        }
    }

    /// Takes leave of the target.
    pub(super) async fn leave(self) {
        let _ = timeout(GOODBYE, goodbye(self.handle)).await;
    }

    /// Ends the connection, and the program on it first. The socket is then reset, not closed.
    pub(super) async fn cut(self, program: Option<Leg>) {
        self.gate.reset();
        let _ = timeout(CUT, async {
            if let Some(leg) = program {
                leg.hang_up().await;
            }
            goodbye(self.handle).await;
        })
        .await;
    }
}

/// Says goodbye; returns when it is said and the connection is closed.
async fn goodbye(connection: Handle<Visitor>) {
    if connection.disconnect(russh::Disconnect::ByApplication, "", "").await.is_ok() {
        let _ = connection.await;
    }
}

/// A target is told that a stream comes from the bastion itself, unless the operator's client names an address and a port.
fn origin(from: Option<&End>) -> (String, u32) {
    let told = match from {
        Some(End::Tcp { host, port }) if *port <= u32::from(u16::MAX) => {
            host.parse::<IpAddr>().ok().map(|ip| (ip.to_string(), *port))
        }
        _ => None,
    };
    told.unwrap_or_else(|| ("127.0.0.1".to_owned(), 0))
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
