//! The running agent: a socket, its connections, the background facts.
//! It never serves another user, and never more connections at once than its bound.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use posture::report::{Report, ReportError};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::bind::Pins;
use crate::config::{Config, ConfigError};
use crate::connection::Connection;
use crate::control;
use crate::environment::Clock;
use crate::facts::{Collector, FactsError, Snapshot, Watch};
use crate::files::{self, FileError};
use crate::host::Host;
use crate::identity::Maker;
use crate::key::{FileKey, KeyError, KeyStore};
use crate::serial::Serials;

/// The most connections at once. Each `ssh` needs one while it logs in, and one for as long as it forwards the agent.
const MOST_CONNECTIONS: usize = 256;
/// After accept(2) failed: it fails again at once where descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Runs the agent of this folder until `stop` is ready: [`Agent::open`] and [`Agent::serve`] in one.
///
/// # Errors
/// When it cannot be opened, or a socket cannot be made.
pub async fn serve(
    dir: &Path,
    own_agent: Option<&Path>,
    clock: Arc<dyn Clock>,
    stop: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    Agent::open(dir, own_agent, clock)?.serve(stop).await
}

/// An agent that is ready to run: its configuration, key, and facts.
pub struct Agent {
    dir: PathBuf,
    config: Arc<Config>,
    own_agent: Option<PathBuf>,
    pins: Pins,
    pub(crate) maker: Maker,
}

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The folder or a file in it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The device's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Another agent runs here.
    #[error("an agent already answers at {}; stop it first, or choose another --dir", .0.display())]
    Running(PathBuf),
    /// Something else is in the socket's place.
    #[error("{} is not a socket; move it away", .0.display())]
    NoSocket(PathBuf),
    /// The socket cannot be made.
    #[error("no socket at {}: {source}", .path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine gives no name for itself that could be sent.
    #[error("this machine has no usable name; give it one with hostnamectl(1)")]
    Host,
}

/// Why it cannot be shown what would be sent.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The facts.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The number.
    #[error(transparent)]
    File(#[from] FileError),
    /// The report.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A value of it.
    #[error("no report can be made: {0}")]
    Word(String),
}

impl Agent {
    /// The agent of this folder, with its key file. `own_agent` is the person's own agent where the configuration names none.
    ///
    /// # Errors
    /// When the folder, the configuration or the key is not as it must be.
    pub fn open(dir: &Path, own_agent: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Self, AgentError> {
        let config = Config::read(dir)?;
        let key = Arc::new(FileKey::open(dir)?);
        Self::with_key(dir, config, key, own_agent, clock)
    }

    /// The same with a key that is kept elsewhere.
    ///
    /// # Errors
    /// When the folder is not its owner's alone, or the machine has no usable name.
    pub fn with_key(
        dir: &Path,
        config: Config,
        key: Arc<dyn KeyStore>,
        own_agent: Option<&Path>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, AgentError> {
        files::private_folder(dir)?;
        let own = config.socket_in(dir);
        let config = Arc::new(config);
        // An agent behind itself would ask itself for ever.
        let own_agent = config.agent.as_deref().or(own_agent).filter(|path| *path != own);
        let watch = Arc::new(Watch::new(Collector::new(dir, &config)));
        let host = Host::read(Path::new("/")).ok_or(AgentError::Host)?;
        let serials = Serials::of(dir);
        Ok(Self {
            dir: dir.to_owned(),
            own_agent: own_agent.map(Path::to_owned),
            pins: Pins::of(&config.bastion),
            maker: Maker { key, serials, watch, config: config.clone(), host, clock },
            config,
        })
    }

    /// What it runs by.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The socket of the person's own agent, where there is one.
    #[must_use]
    pub fn own_agent(&self) -> Option<&Path> {
        self.own_agent.as_deref()
    }

    /// Collects the facts now.
    ///
    /// # Errors
    /// When the file that stands for the collectors cannot be read.
    pub async fn collect(&self) -> Result<Snapshot, FactsError> {
        self.maker.watch.refresh(self.maker.clock.unix()).await
    }

    /// The report that a login now would send with these facts: the session identifier is zeros, the number the next one.
    ///
    /// # Errors
    /// When the report would be none.
    pub fn sample(&self, snapshot: &Snapshot) -> Result<Report, ShowError> {
        let last = self.maker.serials.last()?;
        let seq = last.saturating_add(1).max(self.maker.clock.unix());
        let report = self.maker.report(snapshot, &[0; 32], &self.pins.first_sha256().unwrap_or([0; 32]), seq);
        report.map_err(|why| ShowError::Word(why.to_string()))
    }

    /// Serves logins alone: no facts in the background, no second socket. Ends only when it cannot begin.
    pub(crate) async fn serve_logins(self) -> Result<Infallible, AgentError> {
        let listener = listen(&self.config.socket_in(&self.dir)).await?;
        Ok(accept(listener, Arc::new(self), logins).await)
    }

    /// Makes both sockets; who connects from now on waits to be served.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub async fn listen(self) -> Result<Listening, AgentError> {
        let logins = listen(&self.config.socket_in(&self.dir)).await?;
        let control = listen(&control::socket_in(&self.dir)).await?;
        Ok(Listening { agent: Arc::new(self), logins, control })
    }

    /// Listens, and serves until `stop` is ready: [`Agent::listen`] and [`Listening::serve`] in one.
    ///
    /// # Errors
    /// When a socket cannot be made.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), AgentError> {
        self.listen().await?.serve(stop).await;
        Ok(())
    }
}

/// An agent whose sockets are there.
pub struct Listening {
    agent: Arc<Agent>,
    logins: UnixListener,
    control: UnixListener,
}

impl Listening {
    /// Serves until `stop` is ready. Both sockets are gone when it returns.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { agent, logins: listener, control } = self;
        let mut tasks = JoinSet::new();
        tasks.spawn(keep_facts(agent.clone()));
        tasks.spawn(accept(control, agent.clone(), |agent, stream| async move {
            control::answer(stream, &agent.dir, &agent.maker).await
        }));
        tasks.spawn(accept(listener, agent.clone(), logins));
        stop.await;
        tasks.shutdown().await;
        for path in [agent.config.socket_in(&agent.dir), control::socket_in(&agent.dir)] {
            // Another agent could not have come: it would have found this one answering.
            let _ = std::fs::remove_file(path);
        }
    }
}

async fn logins(agent: Arc<Agent>, stream: UnixStream) -> io::Result<()> {
    Connection::new(&agent.maker, &agent.pins, agent.own_agent.as_deref()).serve(stream).await
}

async fn keep_facts(agent: Arc<Agent>) -> Infallible {
    loop {
        if let Err(why) = agent.maker.watch.refresh(agent.maker.clock.unix()).await {
            warn!("facts could not be collected: {why}");
        }
        tokio::time::sleep(crate::facts::EVERY).await;
    }
}

/// Takes connections of the agent's own user, each in a task of its own.
async fn accept<F, T>(listener: UnixListener, agent: Arc<Agent>, serve: F) -> Infallible
where
    F: Fn(Arc<Agent>, UnixStream) -> T,
    T: Future<Output = io::Result<()>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(why) => {
                warn!("no connection could be taken: {why}");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (true, Ok(slot)) = (is_ours(&stream), slots.clone().try_acquire_owned()) else {
            warn!("a connection was refused: of another user, or more than {MOST_CONNECTIONS} at once");
            continue;
        };
        let served = serve(agent.clone(), stream);
        connections.spawn(async move {
            if let Err(why) = served.await {
                debug!("a connection ended: {why}");
            }
            drop(slot);
        });
    }
}

/// The socket's mode keeps others out; this also where a file system has no modes.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

/// A socket for its owner alone. One that nobody answers at is what a crash left, and is replaced.
async fn listen(path: &Path) -> Result<UnixListener, AgentError> {
    let failed = |source| AgentError::Socket { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Ok(about) if !about.file_type().is_socket() => return Err(AgentError::NoSocket(path.to_owned())),
        Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(AgentError::Running(path.to_owned())),
        Ok(_) => std::fs::remove_file(path).map_err(failed)?,
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(failed(why)),
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemClock;

    #[test]
    fn it_may_be_a_task_among_others() {
        fn sendable<T: Send>(_: &T) {}
        sendable(&serve(Path::new("/"), None, Arc::new(SystemClock), std::future::pending()));
    }
}
