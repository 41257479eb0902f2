//! `bartizan serve`: takes the directory, opens everything, answers at both doors until told to stop.
//! It never serves beside another server, and never ends without a word in the log unless it is killed.

use std::ffi::{OsStr, OsString};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::directory::{self, DirectoryError};
use super::sparing::Sparing;
use super::terminal;
use crate::admin::{Admin, AdminError};
use crate::audit::AuditError;
use crate::bastion::Bastion;
use crate::config::{Config, Environment};
use crate::control::lock::Lock;
use crate::control::{Door, DoorError};
use crate::{meters, sandbox, ssh, upkeep};

/// Why the bastion is not served, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The local door.
    #[error(transparent)]
    Door(#[from] DoorError),
    /// The operators' door.
    #[error(transparent)]
    Ssh(#[from] ssh::ServeError),
    /// The machines' door.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The threads that carry connections.
    #[error("cannot start a thread for each core: {0}; free some threads or file descriptors")]
    Threads(std::io::Error),
}

/// What a server takes hold of before the first thread is started, in this order: the directory, the sockets, and then itself.
pub(super) struct Held {
    config: Config,
    lock: Lock,
    doors: Doors,
}

/// The sockets, bound.
pub(super) struct Doors {
    ssh: Vec<TcpListener>,
    admin: Option<Admin>,
}

impl Doors {
    /// Binds what the configuration says; sockets that the service manager `handed` over stand in for `[ssh] listen`.
    pub(super) fn open(config: &Config, handed: Vec<TcpListener>) -> Result<Self, ServeError> {
        let ssh = if handed.is_empty() { ssh::bound(&config.ssh.listen)? } else { handed };
        let admin = config.admin.listen.map(Admin::bind).transpose()?;
        Ok(Self { ssh, admin })
    }
}

impl Held {
    /// Takes the directory and its sockets, and gives up everything else.
    pub(super) fn take(dir: &Path, environment: &Environment, format: Format) -> Result<Self, ServeError> {
        log_to_stderr(environment.log.as_deref(), format);
        let config = Config::load(dir).map_err(DirectoryError::from)?;
        let lock = Lock::take(dir).map_err(DirectoryError::from)?;
        ssh::raise_limit();
        let doors = Doors::open(&config, ssh::inherited()?)?;
        sandbox::confine(&config);
        give_back();
        Ok(Self { config, lock, doors })
    }
}

/// Has a thread of the allocator's give back what is not used, also while nothing happens. Its thread is the first one.
fn give_back() {
    if let Err(why) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::debug!(%why, "memory is given back only while sessions come and go");
    }
}

/// Serves the directory until told to stop.
pub(super) async fn serve(held: Held, environment: &Environment) -> Result<(), ServeError> {
    let Held { config, lock, doors } = held;
    let opened = directory::open(config).await?;
    let ready = async |bound: &[SocketAddr]| {
        let bound: Vec<String> = bound.iter().map(ToString::to_string).collect();
        let _ = terminal::out(&format!("bartizan listens on {}\n", bound.join(", ")));
    };
    run(opened, doors, environment, ready).await?;
    drop(lock);
    Ok(())
}

/// Answers at both doors; `ready` is called with the bound addresses.
pub(super) async fn run(
    bastion: Arc<Bastion>,
    doors: Doors,
    environment: &Environment,
    ready: impl AsyncFnOnce(&[SocketAddr]),
) -> Result<(), ServeError> {
    let cores = tokio::runtime::Handle::current().metrics().num_workers();
    // They outlive all that logs: what a connection has still to say is said.
    let carriers = Arc::new(ssh::Carriers::start(cores).map_err(ServeError::Threads)?);
    let door = Door::open(&bastion.config.dir)?;
    let mut started = bastion.audit.event("system.started");
    started.detail.insert("version".into(), env!("CARGO_PKG_VERSION").into());
    bastion.audit.note(started).await?;
    let stop = ssh::Stop { drain: CancellationToken::new(), now: CancellationToken::new() };
    let closed = CancellationToken::new();
    let listening = tokio::spawn(listen_to_signals(stop.clone(), environment.notify.clone()));
    let control = tokio::spawn(door.serve(bastion.clone(), closed.clone()));
    let forgetting = tokio::spawn(upkeep::forget(bastion.clone()));
    let watching = tokio::spawn(upkeep::watch_the_disk(bastion.clone()));
    let clocks = tokio::spawn(upkeep::watch_the_clock(bastion.clone()));
    let admin = doors.admin.map(|admin| tokio::spawn(admin.serve(bastion.clone(), closed.clone())));
    let notify = environment.notify.clone();
    let served =
        ssh::serve(bastion.clone(), doors.ssh, carriers.clone(), stop, async |bound: &[SocketAddr]| {
            ready(bound).await;
            tell_systemd(notify.as_deref(), "READY=1");
        })
        .await;
    listening.abort();
    closed.cancel();
    let _ = control.await;
    if let Some(admin) = admin
        && let Ok(Err(why)) = admin.await
    {
        tracing::error!(%why, "the [admin] listener ended");
    }
    forgetting.abort();
    watching.abort();
    clocks.abort();
    bastion.audit.note(bastion.audit.event("system.stopped")).await?;
    bastion.audit.stop().await;
    bastion.store.close().await;
    drop(carriers);
    Ok(served?)
}

/// The first signal drains, a second one ends; from this call on.
fn listen_to_signals(stop: ssh::Stop, notify: Option<OsString>) -> impl Future<Output = ()> {
    let signals =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
    async move {
        let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
            tracing::error!("signals cannot be heard: only SIGKILL will end this server");
            return;
        };
        for token in [&stop.drain, &stop.now] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
            if !stop.drain.is_cancelled() {
                tracing::info!("told to stop: no new connections, running sessions have a moment to end");
                tell_systemd(notify.as_deref(), "STOPPING=1");
            }
            token.cancel();
        }
    }
}

/// sd_notify(3), as far as it is needed: one datagram.
fn tell_systemd(socket: Option<&OsStr>, state: &str) {
    let Some(socket) = socket else { return };
    let sent = UnixDatagram::unbound().and_then(|from| match abstract_name(socket) {
        Some(name) => {
            use std::os::linux::net::SocketAddrExt as _;
            let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
            from.send_to_addr(state.as_bytes(), &address)
        }
        None => from.send_to(state.as_bytes(), socket),
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "NOTIFY_SOCKET cannot be told");
    }
}

/// A name that begins with `@` is not in the file system.
fn abstract_name(socket: &OsStr) -> Option<&[u8]> {
    socket.as_encoded_bytes().strip_prefix(b"@")
}

/// How the server's own messages are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// The server's own messages, and what becomes of a panic: it is told as one of them. A second call changes nothing.
pub(super) fn log_to_stderr(filter: Option<&str>, format: Format) {
    let usual = "info,russh=warn,sqlx=warn";
    let filter = EnvFilter::try_new(filter.unwrap_or(usual)).unwrap_or_else(|_| EnvFilter::new(usual));
    let filter = filter.and(Sparing::default());
    let written = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let written = match format {
        Format::Text => written.with_filter(filter).boxed(),
        Format::Json => written.json().flatten_event(true).with_filter(filter).boxed(),
    };
    let overheard = ssh::Overhearing.with_filter(LevelFilter::WARN);
    let _ = tracing_subscriber::registry().with(written).with(overheard).try_init();
    std::panic::set_hook(Box::new(tell_of_panic));
}

/// A panic ends the task it happens in, which is one connection's at most. Its words are told only where they are a constant of
/// the program: others may hold what a peer sent, or a secret.
fn tell_of_panic(panic: &PanicHookInfo<'_>) {
    meters::panicked();
    let at = panic.location().map(ToString::to_string).unwrap_or_default();
    let words = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("");
    tracing::error!(at, words, "a task panicked and was ended; the server goes on");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_is_told_through_a_file_and_through_a_name() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("notify");
        let here = UnixDatagram::bind(&path).expect("bind");
        tell_systemd(Some(path.as_os_str()), "READY=1");
        let mut heard = [0; 16];
        assert_eq!(here.recv(&mut heard).expect("heard"), 7);
        assert_eq!(&heard[..7], b"READY=1");
        assert_eq!(abstract_name(OsStr::new("@x/y")), Some(b"x/y".as_slice()));
        assert_eq!(abstract_name(OsStr::new("/run/x")), None);
    }
}
