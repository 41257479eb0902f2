//! A connection to a registered target on which we are logged in: reached, its host key checked, for one purpose.
//! Never used by two channels that are asked for: what stalls on one would hold up the other (see `gate`).

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keys::Allow;
use policy::{AccountName, Address, Bundle, Destination, Target, TargetLogin};
use russh::client::{self, Handle, Msg};
use russh::{Channel, ChannelOpenFailure};
use ssh_key::PublicKey;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::arrivals::{Arrivals, Expects, arrivals};
use super::asks::Asks;
use super::gate::{Gate, Gated};
use super::hostkey::KnownHost;
use super::leg::Leg;
use super::login::{Purpose, Visitor};
use super::means::{self, Means};
use super::passage::Passage;
use super::request::Asking;
use super::road::{self, Road};
use super::{ConnectError, PATIENCE, algorithms};
use crate::bastion::Bastion;
use crate::channel::{Asked, End};
use crate::read_ahead::ReadAhead;
use crate::recording::Reached;

/// How long a login may take in which a person types.
const TYPING: Duration = Duration::from_secs(120);
/// How long a target may take to listen no more.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a target may take to hear that we leave.
const GOODBYE: Duration = Duration::from_millis(200);
/// The same when a session is cut: both legs are gone within a second, so little is left for manners.
const CUT: Duration = Duration::from_millis(100);

/// What a connection is made for.
pub(super) struct Errand<'a> {
    /// The bundle that registers the target and its gateways.
    pub(super) bundle: &'a Bundle,
    pub(super) target: &'a Target,
    pub(super) account: &'a AccountName,
    /// Shown in the target's own log.
    pub(super) key_id: String,
    /// What the certificate allows there.
    pub(super) allow: Allow,
    /// What the target may open on it.
    pub(super) expects: Expects,
    /// Whether it is gone through, to another target.
    pub(super) is_gateway: bool,
}

/// The connection.
pub(super) struct Visit {
    handle: Handle<Visitor>,
    gate: Arc<Gate>,
    /// Where, with what and via which gateways it was reached.
    pub(super) reached: Reached,
    /// Channels that the target opens.
    pub(super) arrivals: Option<Arrivals>,
    /// Cancelled when it has ended.
    over: CancellationToken,
    /// The connection that it goes through.
    gateway: Option<Box<Self>>,
}

/// Dials, checks the host key and logs in. The socket is closed when `kill` is cancelled.
pub(super) async fn open(
    bastion: &Bastion,
    errand: Errand<'_>,
    kill: CancellationToken,
    asks: Option<&mut dyn Asks>,
) -> Result<Visit, ConnectError> {
    let (target, account) = (errand.target, errand.account);
    // Servers shed logins that come too many at once (`MaxStartups`): they wait here instead.
    let place = bastion.targets.place(target.name());
    let place = timeout(PATIENCE, place)
        .await
        .map_err(|_| ConnectError::Timeout { step: "waiting for other logins" })?;
    // Nobody waits for a person who types.
    let by_asking = *target.login() == TargetLogin::Ask;
    let (_place, patience) = if by_asking { (None, TYPING) } else { (place, PATIENCE) };
    let known = known_host(target)?;
    let vaulted = means::vaulted(bastion, target).await?;
    let Road { stream, address, local, via, gateway } = road::to(bastion, &errand, &kill).await?;
    let now = bastion.clock.now();
    let Errand { key_id, allow, expects, is_gateway, .. } = errand;
    let purpose = Purpose { account, key_id, sources: sources(target, local), allow, now };
    let means = Means::of(bastion, target, vaulted, &purpose)?;
    let gate = Arc::new(if is_gateway { Gate::of_gateway() } else { Gate::default() });
    let (stranger, over) = (Arc::new(OnceLock::new()), CancellationToken::new());
    let config = Arc::new(algorithms::config(&known));
    let reached = Reached { address, login: target.login().clone(), via };
    let (porter, arrivals) = arrivals(expects, gate.clone(), reached.clone());
    let guard = over.clone().drop_guard();
    let visitor =
        Visitor { known, now, gate: gate.clone(), stranger: stranger.clone(), porter, _over: guard };
    let stream = Gated::new(ReadAhead::new(stream), gate.clone(), kill);
    let logging_in = async {
        let mut handle =
            client::connect_stream(config, stream, visitor).await.map_err(|why| match stranger.get() {
                Some(stranger) => {
                    ConnectError::HostKey { address: reached.to_string(), why: stranger.to_string() }
                }
                None => ConnectError::protocol(why),
            })?;
        means.login(&bastion.keys, &mut handle, account, asks).await?;
        Ok(handle)
    };
    let handle =
        timeout(patience, logging_in).await.map_err(|_| ConnectError::Timeout { step: "logging in" })??;
    Ok(Visit { handle, gate, reached, arrivals: Some(arrivals), over, gateway })
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

    /// The way on to a place as this one sees it, as a stream.
    pub(super) async fn passage(&self, to: &Address) -> Result<Passage, ConnectError> {
        let leg = self.forward(&Destination::Tcp(to.clone()), None).await?;
        Ok(Passage::new(leg, self.over.clone()))
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
            Ok(Err(why)) => Err(ConnectError::protocol(why)),
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
            Ok(Err(why)) => Err(ConnectError::protocol(why)),
            Err(_) => Err(ConnectError::Timeout { step: "opening a channel" }),
        }
    }

    /// Takes leave of the target, then of what was between.
    pub(super) async fn leave(self) {
        for connection in self.all() {
            let _ = timeout(GOODBYE, goodbye(connection)).await;
        }
    }

    /// Ends the connection, and the program on it first. The socket is then reset, not closed.
    pub(super) async fn cut(self, program: Option<Leg>) {
        self.reset();
        let _ = timeout(CUT, async {
            if let Some(leg) = program {
                leg.hang_up().await;
            }
            for connection in self.all() {
                goodbye(connection).await;
            }
        })
        .await;
    }

    fn reset(&self) {
        let mut here = Some(self);
        while let Some(visit) = here {
            visit.gate.reset();
            here = visit.gateway.as_deref();
        }
    }

    /// The connections of the way, the one to the target first.
    fn all(self) -> Vec<Handle<Visitor>> {
        let (mut all, mut here) = (Vec::new(), Some(Box::new(self)));
        while let Some(visit) = here {
            all.push(visit.handle);
            here = visit.gateway;
        }
        all
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

/// How the target sees the bastion: as the bundle says, which it must behind a gateway; else by the socket's own address.
fn sources(target: &Target, local: Option<IpAddr>) -> Vec<IpAddr> {
    // Ranges were refused when the bundle was applied.
    let named: Vec<IpAddr> =
        target.source().iter().filter_map(|source| source.to_string().parse().ok()).collect();
    if named.is_empty() { local.into_iter().collect() } else { named }
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
