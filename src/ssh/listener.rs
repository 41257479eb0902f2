//! Accepts connections: binds, hands the host keys over, sheds what is too much, and drains at the end.
//! Never ends because one accept failed: out of descriptors it closes newcomers, and goes on.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::server::Config;
use russh::{Limits, MethodKind, MethodSet, SshId};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::carriers::Carriers;
use super::counts::{self, Dropped};
use super::descriptors::{self, Reserve};
use super::door::Door;
use super::flow::WINDOW;
use super::{algorithms, visit};
use crate::bastion::Bastion;
use crate::clock::Watch;
use crate::live::Cut;
use crate::read_ahead::ReadAhead;

/// How long to wait before the next accept when the system has no descriptor or memory to give.
const SHORTAGE: Duration = Duration::from_millis(50);
/// How long cut sessions have to seal their recordings.
const SEALING: Duration = Duration::from_secs(10);
/// How long a host certificate is valid, in seconds, and how often it is made anew.
const CERTIFIED: u64 = 12 * 3600;
const RENEWED: Duration = Duration::from_secs(3600);
/// How far a client's clock may be behind ours, in seconds.
const CLOCKS_APART: u64 = 300;
/// How long the other end may be silent before the system asks whether it is there, how long each answer may take, and how often
/// it asks.
const SILENCE: Duration = Duration::from_secs(30);
const QUESTIONS: u32 = 4;
/// Bytes after which a client must have asked for new keys: RFC 4344 section 3.2 with a wide margin.
const NEVER: usize = 1 << 60;

/// The door cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address of `[ssh] listen` cannot be bound.
    #[error("cannot listen on {address}: {why}; choose another address in [ssh] listen of bartizan.toml")]
    Bind {
        /// The address as configured.
        address: SocketAddr,
        /// What the system said.
        why: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error("a socket that was handed over by LISTEN_FDS cannot be used: {0}")]
    Inherited(io::Error),
    /// The file that tells the bound addresses cannot be written.
    #[error("cannot write {path}: {why}")]
    Listening {
        /// The file.
        path: String,
        /// What the system said.
        why: io::Error,
    },
    /// The host keys cannot be certified.
    #[error("cannot certify the host keys: {0}")]
    Keys(#[from] keys::CertificateError),
}

/// The two orders to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Take no new connections; running sessions have `[ssh] drain` to end.
    pub drain: CancellationToken,
    /// End at once.
    pub now: CancellationToken,
}

/// Serves on the sockets until it is told to stop, then drains.
///
/// `ready` is called with their addresses once they are answered; the same addresses stand, one a line, in the file
/// `listening` of the directory.
pub async fn serve(
    bastion: Arc<Bastion>,
    sockets: Vec<std::net::TcpListener>,
    carriers: Arc<Carriers>,
    stop: Stop,
    ready: impl AsyncFnOnce(&[SocketAddr]),
) -> Result<(), ServeError> {
    let settings = Arc::new(Settings::new(&bastion)?);
    let mut listeners = Vec::new();
    for socket in sockets {
        listeners.push(TcpListener::from_std(socket).map_err(ServeError::Inherited)?);
    }
    let bound: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    announce(&bastion, &bound)?;
    ready(&bound).await;
    let door = Arc::new(Door::new(bastion.clone()));
    let tracker = TaskTracker::new();
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            door.clone(),
            settings.clone(),
            stop.drain.clone(),
            (carriers.clone(), tracker.clone()),
        ));
    }
    while accepting.join_next().await.is_some() {}
    drain(&bastion, &tracker, &stop.now).await;
    let _ = std::fs::remove_file(bastion.config.dir.join("listening"));
    Ok(())
}

fn announce(bastion: &Bastion, bound: &[SocketAddr]) -> Result<(), ServeError> {
    let path = bastion.config.dir.join("listening");
    let text: String = bound.iter().map(|address| format!("{address}\n")).collect();
    std::fs::write(&path, text).map_err(|why| ServeError::Listening { path: path.display().to_string(), why })
}

/// russh's settings, made anew before the host certificates in them are too old, and when the clock jumped.
struct Settings {
    current: Mutex<(Watch, Arc<Config>)>,
}

impl Settings {
    fn new(bastion: &Bastion) -> Result<Self, ServeError> {
        let config = Arc::new(protocol(bastion, &bastion.config.ssh.names, CERTIFIED)?);
        Ok(Self { current: Mutex::new((Watch::begin(bastion.clock.as_ref()), config)) })
    }

    fn current(&self, bastion: &Bastion) -> Arc<Config> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = bastion.clock.as_ref();
        if current.0.steady(clock).is_none_or(|age| age > RENEWED) {
            match protocol(bastion, &bastion.config.ssh.names, CERTIFIED) {
                Ok(config) => *current = (Watch::begin(clock), Arc::new(config)),
                Err(why) => tracing::error!(%why, "the host certificates were not renewed"),
            }
        }
        current.1.clone()
    }
}

/// russh's settings; what they do and do not do is told in `docs/decisions/`.
///
/// `names` are those that the host certificates are made for, valid for `certified` seconds.
pub(super) fn protocol(bastion: &Bastion, names: &[String], certified: u64) -> Result<Config, ServeError> {
    let now = u64::try_from(bastion.clock.now().as_second()).unwrap_or(0);
    let certificates = if names.is_empty() {
        Vec::new()
    } else {
        bastion.keys.host_certificate(names, now.saturating_sub(CLOCKS_APART), now + certified)?
    };
    Ok(Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Bartizan")),
        methods: MethodSet::from(&[MethodKind::PublicKey, MethodKind::KeyboardInteractive][..]),
        // russh would also keep who has proven the first of two keys waiting: see `in_time`.
        auth_rejection_time: Duration::ZERO,
        max_auth_attempts: 20,
        keys: bastion.keys.host_keys(),
        certificates,
        preferred: algorithms::offered(bastion.config.ssh.profile),
        window_size: WINDOW,
        // A rekey that the server starts kills a connection with parallel uploads: it is left to the client.
        limits: Limits {
            rekey_write_limit: NEVER,
            rekey_read_limit: NEVER,
            rekey_time_limit: Duration::from_secs(365 * 86_400),
        },
        inactivity_timeout: None,
        // russh would ask during the login too, and OpenSSH ends a login in which it is asked anything: see `watched`.
        keepalive_interval: None,
        nodelay: true,
        ..Config::default()
    })
}

async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    settings: Arc<Settings>,
    stop: CancellationToken,
    (carriers, tracker): (Arc<Carriers>, TaskTracker),
) {
    let mut reserve = Reserve::new(&listener);
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                counts::accepted();
                admit(stream, peer, &door, &settings, (&carriers, &tracker));
            }
            Err(why) if Reserve::is_shortage(&why) => {
                if reserve.shed(&listener).await {
                    counts::accepted();
                    counts::dropped(Dropped::Descriptors);
                } else {
                    sleep(SHORTAGE).await;
                }
            }
            Err(why) => {
                tracing::warn!(%why, "accept failed; running connections go on");
                sleep(SHORTAGE).await;
            }
        }
    }
}

/// Has the system find out when the other end is gone: within two and a half minutes of silence.
fn watched(stream: &TcpStream) -> io::Result<()> {
    sockopt::set_tcp_keepidle(stream, SILENCE)?;
    sockopt::set_tcp_keepintvl(stream, SILENCE)?;
    sockopt::set_tcp_keepcnt(stream, QUESTIONS)?;
    Ok(sockopt::set_socket_keepalive(stream, true)?)
}

/// Begins a connection, or closes it at once: before any key is exchanged, and without a word.
fn admit(
    stream: TcpStream,
    peer: SocketAddr,
    door: &Arc<Door>,
    settings: &Settings,
    (carriers, tracker): (&Carriers, &TaskTracker),
) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if descriptors::scarce(&stream) {
        return door.places().dropped(Dropped::Descriptors, peer.ip());
    }
    if stream.set_nodelay(true).and_then(|()| watched(&stream)).is_err() {
        return;
    }
    let Ok(stream) = stream.into_std() else { return };
    let deadline = Instant::now() + door.bastion().config.ssh.login_grace;
    let (its_door, config) = (door.clone(), settings.current(door.bastion()));
    if door.is_proxy(peer.ip()) {
        match door.unnamed() {
            Some(waiting) => carriers.carry(tracker, stream, move |stream| {
                visit::proxied(ReadAhead::new(stream), peer, its_door, config, deadline, waiting)
            }),
            None => door.places().dropped(Dropped::Proxy, peer.ip()),
        }
        return;
    }
    let kill = CancellationToken::new();
    if let Some(place) = door.places().enter(peer.ip(), &kill) {
        carriers.carry(tracker, stream, move |stream| {
            visit::connection(ReadAhead::new(stream), peer, its_door, config, deadline, (place, kill))
        });
    }
}

/// Tells everybody, waits until all have ended and all is sealed and said, and at the end of the time ends what remains.
async fn drain(bastion: &Arc<Bastion>, tracker: &TaskTracker, now: &CancellationToken) {
    tracker.close();
    let time = bastion.config.ssh.drain;
    bastion.live.stop_within(time);
    let over = async {
        tracker.wait().await;
        bastion.live.emptied().await;
    };
    tokio::pin!(over);
    tokio::select! {
        () = &mut over => return,
        () = sleep(time) => {}
        () = now.cancelled() => {}
    }
    bastion.live.cut_all(Cut::Stopping);
    if timeout(SEALING, over).await.is_err() {
        tracing::warn!("something remains after the time to end; it is closed at the next start");
    }
}
