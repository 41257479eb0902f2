//! This machine as the person's laptop: the device's key in the directory, and the agent that proves it inside this process.
//! It never answers for the person's own agent: what is not the device's goes to that one, word for word.

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent::{Agent, FileKey, SystemClock};
use policy::OperatorName;
use posture::certificate::DeviceKey as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::serve::ServeError;
use super::super::ssh_files;
use super::QuickstartError;
use crate::bastion::Bastion;
use crate::control::{DoorError, PATH_MAX};
use crate::device;

/// The agent's folder inside the directory.
const FOLDER: &str = "agent";
/// The device's key inside that folder.
const KEY: &str = "device";
/// The longest name of a socket in that folder.
const SOCKET: &str = "control.sock";
/// Where an older quickstart kept it, as a plain key.
const KEPT_BEFORE: &str = "device_key";
/// For `bartizan-agent doctor`.
const TARGET: &str = "demo";

/// The machine, with its key.
pub(super) struct Laptop {
    folder: PathBuf,
    key: Arc<FileKey>,
}

/// The agent, running.
pub(super) struct Running {
    folder: PathBuf,
    config: agent::Config,
    task: JoinHandle<()>,
}

impl Laptop {
    /// Of this directory; its key is made when there is none, and stays the one that an older quickstart made.
    pub(super) fn of(dir: &Path) -> Result<Self, QuickstartError> {
        let folder = dir.join(FOLDER);
        // Looked at before anything is shown that is shown once.
        let socket = folder.join(SOCKET);
        if socket.as_os_str().len() > PATH_MAX {
            return Err(ServeError::Door(DoorError::PathTooLong(socket)).into());
        }
        take_over(&dir.join(KEPT_BEFORE), &folder)?;
        let key = Arc::new(FileKey::open_or_create(&folder)?);
        Ok(Self { folder, key })
    }

    /// The key's public line.
    pub(super) fn public(&self) -> Result<String, QuickstartError> {
        let line = self.key.public().to_openssh();
        line.map_err(|why| QuickstartError::Word(format!("{}: {why}", self.folder.display())))
    }

    /// Starts the agent of the device that the inventory calls `name`, in front of the person's own. It ends with `stop`.
    pub(super) async fn prove(
        self,
        bastion: &Bastion,
        (name, owner): (&str, &OperatorName),
        own_agent: Option<&Path>,
        stop: CancellationToken,
    ) -> Result<Running, QuickstartError> {
        let Self { folder, key } = self;
        let config = configuration(&folder, bastion, name, owner)?;
        let agent = Agent::with_key(&folder, config.clone(), key, own_agent, Arc::new(SystemClock))?;
        let listening = agent.listen().await?;
        let task = tokio::spawn(listening.serve(stop.cancelled_owned()));
        Ok(Running { folder, config, task })
    }
}

impl Running {
    /// Where `ssh` finds it.
    pub(super) fn socket(&self) -> PathBuf {
        self.config.socket_in(&self.folder)
    }

    /// Writes down where the bastion is reached, for the commands of `bartizan-agent`.
    pub(super) fn reaches(&self, bastion: SocketAddr) -> Result<(), agent::ConfigError> {
        let mut config = self.config.clone();
        config.bastion.host = ssh_files::reachable(bastion.ip()).to_string();
        config.bastion.port = bastion.port();
        config.write(&self.folder)
    }

    /// Waits until its sockets are gone.
    pub(super) async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the agent ended early");
        }
    }
}

/// As enrolment would write it, with what was set by hand before. At which port the bastion listens is known only later.
fn configuration(
    folder: &Path,
    bastion: &Bastion,
    name: &str,
    owner: &OperatorName,
) -> Result<agent::Config, QuickstartError> {
    let before = match agent::Config::read(folder) {
        Ok(before) => Some(before),
        Err(agent::ConfigError::Missing(_)) => None,
        Err(why) => return Err(why.into()),
    };
    let wanted = device::facts_wanted(&bastion.access.bundle());
    let host = bastion.config.ssh.listen.first().map_or(Ipv4Addr::LOCALHOST.into(), SocketAddr::ip);
    let line =
        |key: &ssh_key::PublicKey| ssh_key::PublicKey::new(key.key_data().clone(), "").to_openssh().ok();
    let (own, socket, targets, facts_from) = match before {
        Some(before) => (before.agent, before.socket, before.targets, before.facts_from),
        None => (None, "agent.sock".into(), vec![TARGET.to_owned()], None),
    };
    Ok(agent::Config {
        device: name.to_owned(),
        owner: owner.to_string(),
        kind: posture::Kind::Laptop.as_str().to_owned(),
        personal: false,
        socket,
        agent: own,
        facts: wanted.facts,
        processes: wanted.processes,
        facts_from,
        targets,
        bastion: agent::Bastion {
            host: ssh_files::reachable(host).to_string(),
            port: 22,
            host_keys: bastion.keys.host_public().iter().filter_map(line).collect(),
            host_ca: line(bastion.keys.host_ca()).into_iter().collect(),
            names: bastion.config.ssh.names.clone(),
        },
    })
}

/// Makes the plain key of an older quickstart the agent's: the device in the inventory stays the same.
fn take_over(before: &Path, folder: &Path) -> Result<(), QuickstartError> {
    let key = folder.join(KEY);
    if key.exists() || !before.exists() {
        return Ok(());
    }
    let copied = || {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        ssh_files::replace(&key, &zeroize::Zeroizing::new(std::fs::read_to_string(before)?))
    };
    copied().map_err(|why| QuickstartError::File { path: key.clone(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_an_older_quickstart_stays_the_devices() {
        let dir = tempfile::tempdir().expect("dir");
        let before =
            super::super::super::keyfile::in_directory(dir.path(), KEPT_BEFORE, "device").expect("key");
        let bare = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        for _ in 0..2 {
            let laptop = Laptop::of(dir.path()).expect("laptop");
            assert_eq!(bare(&laptop.public().expect("line")), bare(&before.public));
        }
        let long = dir.path().join("x".repeat(90));
        assert!(Laptop::of(&long).is_err_and(|why| why.to_string().contains("--dir")) && !long.exists());
        let other = tempfile::tempdir().expect("dir");
        let made = Laptop::of(other.path()).expect("laptop").public().expect("line");
        assert_ne!(bare(&made), bare(&before.public));
        assert_eq!(Laptop::of(other.path()).expect("again").public().expect("line"), made);
    }
}
