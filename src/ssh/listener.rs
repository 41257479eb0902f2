//! Accepts connections: binds, hands the host keys over, sheds what is too much, and drains at the end.
//! Never ends because one accept failed: out of descriptors it waits, and goes on when there are some.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::server::{self, Config};
use russh::{Limits, MethodKind, MethodSet, SshId};
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::algorithms;
use super::door::Door;
use super::flow::{Pace, WINDOW};
use super::handler::{Handler, Proof};
use super::overheard::Ear;
use super::stream::OperatorStream;
use super::tap::Tap;
use crate::bastion::Bastion;
use crate::live::Cut;

/// How long to wait before the next accept when the system has no descriptor or memory to give.
const SHORTAGE: Duration = Duration::from_millis(50);
/// Bytes read from a socket at once: half the system calls of unbuffered reads.
const READ_AHEAD: usize = 64 << 10;
/// How long cut sessions have to seal their recordings.
const SEALING: Duration = Duration::from_secs(10);
/// How long a host certificate is valid, in seconds, and how often it is made anew.
const CERTIFIED: u64 = 12 * 3600;
const RENEWED: Duration = Duration::from_secs(3600);
/// How far a client's clock may be behind ours, in seconds.
const CLOCKS_APART: u64 = 300;
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
    stop: Stop,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), ServeError> {
    let settings = Arc::new(Settings::new(&bastion)?);
    let mut listeners = Vec::new();
    for socket in sockets {
        listeners.push(TcpListener::from_std(socket).map_err(ServeError::Inherited)?);
    }
    let bound: Vec<SocketAddr> = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
    announce(&bastion, &bound)?;
    ready(&bound);
    let door = Arc::new(Door::new(bastion.clone()));
    let tracker = TaskTracker::new();
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            door.clone(),
            settings.clone(),
            stop.drain.clone(),
            tracker.clone(),
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

/// russh's settings, made anew before the host certificates in them are too old.
struct Settings {
    current: Mutex<(Duration, Arc<Config>)>,
}

impl Settings {
    fn new(bastion: &Bastion) -> Result<Self, ServeError> {
        let config = Arc::new(protocol(bastion, &bastion.config.ssh.names, CERTIFIED)?);
        Ok(Self { current: Mutex::new((bastion.clock.monotonic(), config)) })
    }

    fn current(&self, bastion: &Bastion) -> Arc<Config> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let now = bastion.clock.monotonic();
        if now.saturating_sub(current.0) > RENEWED {
            match protocol(bastion, &bastion.config.ssh.names, CERTIFIED) {
                Ok(config) => *current = (now, Arc::new(config)),
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
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
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
        keepalive_interval: Some(Duration::from_secs(30)),
        keepalive_max: 4,
        nodelay: true,
        ..Config::default()
    })
}

async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    settings: Arc<Settings>,
    stop: CancellationToken,
    tracker: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(place) = door.enter() {
                    let config = settings.current(door.bastion());
                    tracker.spawn(connection(stream, peer, door.clone(), config, place));
                }
            }
            Err(why) => {
                tracing::warn!(%why, "accept failed; running connections go on");
                sleep(SHORTAGE).await;
            }
        }
    }
}

/// One connection from its first byte to its last.
async fn connection(stream: TcpStream, peer: SocketAddr, door: Arc<Door>, config: Arc<Config>, place: Place) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let grace = door.bastion().config.ssh.login_grace;
    let kill = CancellationToken::new();
    let pace = Arc::new(Pace::default());
    let (exchange, ear) = (Arc::default(), Arc::<Ear>::default());
    let stream =
        OperatorStream::new(BufReader::with_capacity(READ_AHEAD, stream), kill.clone(), pace.clone())
            .tapped(Tap::new(Arc::clone(&exchange)), ear.clone());
    let proof = Proof { bound: door.bound(exchange), ear };
    let (handler, entrance) = Handler::new(&door, peer, kill.clone(), pace, place, proof);
    let deadline = entrance.logged_in.clone();
    let stopping = stopping(door.bastion(), &deadline);
    tokio::pin!(stopping);
    let started = tokio::select! {
        started = timeout(grace, server::run_stream(config, stream, handler)) => started,
        () = &mut stopping => return,
    };
    let Ok(Ok(running)) = started else { return };
    entrance.give(running.handle());
    tokio::pin!(running);
    tokio::select! {
        // Not reset by anything the peer does: only a finished login stops it.
        () = overdue(grace, &deadline) => {
            entrance.overdue().await;
            kill.cancel();
            let _ = running.await;
        }
        () = stopping => {
            kill.cancel();
            let _ = running.await;
        }
        ended = &mut running => {
            if let Err(why) = ended {
                tracing::debug!(%peer, %why, "connection ended");
            }
        }
    }
    kill.cancel();
}

pub(super) async fn overdue(grace: Duration, logged_in: &CancellationToken) {
    tokio::select! {
        () = sleep(grace) => {}
        () = logged_in.cancelled() => std::future::pending().await,
    }
}

/// Returns once the server stops under a login that is not finished: nothing could follow it.
async fn stopping(bastion: &Bastion, logged_in: &CancellationToken) {
    bastion.live.drain().ordered().await;
    if logged_in.is_cancelled() {
        std::future::pending().await
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

/// Counts connections, so that the caps hold whatever way a connection ends.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: AtomicUsize,
    unauthenticated: AtomicUsize,
}

/// One connection's place among all; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    authenticated: bool,
}

impl Places {
    /// A place, unless there are `all` connections or `unauthenticated` logins already.
    pub(super) fn take(places: &Arc<Self>, all: usize, unauthenticated: usize) -> Option<Place> {
        let taken = places.all.fetch_add(1, Ordering::SeqCst);
        let waiting = places.unauthenticated.fetch_add(1, Ordering::SeqCst);
        let place = Place { places: places.clone(), authenticated: false };
        (taken < all && waiting < unauthenticated).then_some(place)
    }
}

impl Place {
    /// The login is finished: the place no longer counts among the unauthenticated.
    pub(super) fn authenticated(&mut self) {
        if !self.authenticated {
            self.authenticated = true;
            self.places.unauthenticated.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.authenticated();
        self.places.all.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_panics_ends_alone_and_gives_its_place_back() {
        let (places, tracker) = (Arc::new(Places::default()), TaskTracker::new());
        let place = Places::take(&places, 1, 1).unwrap();
        let beside = tracker.spawn(async { 7 });
        let broken = tracker.spawn(async move {
            let _place = place;
            panic!("as a defect would");
        });
        assert!(broken.await.unwrap_err().is_panic());
        assert_eq!(beside.await.unwrap(), 7);
        assert!(Places::take(&places, 1, 1).is_some());
        // A stop does not wait for it.
        tracker.close();
        tracker.wait().await;
    }

    #[test]
    fn a_place_is_given_back_however_the_connection_ends() {
        let places = Arc::new(Places::default());
        let mut first = Places::take(&places, 2, 1).unwrap();
        assert!(Places::take(&places, 2, 1).is_none(), "one login at a time");
        first.authenticated();
        let second = Places::take(&places, 2, 1).unwrap();
        assert!(Places::take(&places, 2, 9).is_none(), "two connections in all");
        drop((first, second));
        assert!(Places::take(&places, 1, 1).is_some());
    }
}
