//! `bartizan quickstart`: from nothing to one `ssh` line that works, on this machine, for whoever runs it.
//! It never touches a directory that it did not make, and changes nothing outside its own.

mod enrol;
mod laptop;
mod words;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use policy::{AccountName, NameError, OperatorName};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::directory::{self, DirectoryError};
use super::init::{self, InitError};
use super::keyfile::{self, KeyFile, KeyFileError};
use super::serve::{self, ServeError};
use super::ssh_files::SshFiles;
use super::terminal;
use crate::bastion::Bastion;
use crate::config::{self, Config, Environment, Evidence};
use crate::control::Caller;
use crate::control::lock::Lock;
use crate::store::StoreError;
use laptop::Laptop;
use words::Voice;

/// The first line of a configuration that quickstart wrote.
const MARK: &str =
    "# quickstart: served with the demo target. Without this line `bartizan quickstart` serves plainly.";
/// Where it listens when nothing else is said.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2222);

/// Why the quickstart stopped.
#[derive(Debug, thiserror::Error)]
pub enum QuickstartError {
    /// A new directory.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The server.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The key files.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// The device's key.
    #[error(transparent)]
    DeviceKey(#[from] agent::KeyError),
    /// What the agent runs by.
    #[error(transparent)]
    AgentConfig(#[from] agent::ConfigError),
    /// The agent.
    #[error(transparent)]
    Agent(#[from] agent::AgentError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The person's account cannot be a name on a target.
    #[error(
        "the account {name} cannot be reached over SSH by name: {why}; run as an account with a plain name"
    )]
    Account {
        /// The account.
        name: String,
        /// What is wrong with it.
        why: NameError,
    },
    /// A word was not carried out.
    #[error("{0}")]
    Word(String),
    /// The demo target cannot listen.
    #[error("the demo target cannot listen on a loopback port: {0}")]
    Demo(std::io::Error),
    /// The files for `ssh`.
    #[error("{} cannot be written: {why}", .path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
}

/// Makes what is not there yet, serves, and says the line to try.
pub(super) async fn quickstart(
    dir: &Path,
    listen: Option<SocketAddr>,
    environment: &Environment,
) -> Result<(), QuickstartError> {
    serve::log_to_stderr(environment.log.as_deref().or(Some("warn")));
    if !dir.join(config::FILE).exists() {
        init::init(dir, &configuration(listen.unwrap_or(LISTEN))).await?;
    }
    let mut config = Config::load(dir).map_err(DirectoryError::from)?;
    config.ssh.listen = listen.map_or(config.ssh.listen, |address| vec![address]);
    let dir = config.dir.clone();
    let lock = Lock::take(&dir).map_err(DirectoryError::from)?;
    let ours = std::fs::read_to_string(dir.join(config::FILE)).is_ok_and(|text| text.starts_with(MARK));
    let bastion = directory::open(config).await?;
    let stop = CancellationToken::new();
    let scene = if ours { Some(Scene::set(&bastion, environment, stop.clone()).await?) } else { None };
    let ready = async |bound: &[SocketAddr]| welcome(scene.as_ref(), bound, environment).await;
    let served = serve::run(bastion.clone(), environment, ready).await;
    stop.cancel();
    if let Some(scene) = scene {
        scene.agent.ended().await;
    }
    drop(lock);
    Ok(served?)
}

fn configuration(listen: SocketAddr) -> String {
    format!(
        "{MARK}\n\n[ssh]\nlisten = [\"{listen}\"]\n\n[device]\nrequire = \"managed\"\nevidence = \"bound\"\n"
    )
}

/// The person, their machine, and the demo target.
struct Scene {
    voice: Voice,
    operator: OperatorName,
    account: AccountName,
    person: KeyFile,
    agent: laptop::Running,
}

impl Scene {
    async fn set(
        bastion: &Arc<Bastion>,
        environment: &Environment,
        stop: CancellationToken,
    ) -> Result<Self, QuickstartError> {
        let dir = bastion.config.dir.clone();
        let caller = Caller::local(rustix::process::geteuid().as_raw());
        let account = AccountName::parse(caller.name())
            .map_err(|why| QuickstartError::Account { name: caller.name().to_owned(), why })?;
        let operator = operator_name(caller.name());
        let laptop = Laptop::of(&dir)?;
        let person = person(&dir, environment, &operator)?;
        let host = keyfile::in_directory(&dir, "demo_host_key", "demo target")?;
        let listener = enrol::demo_listener(bastion).await.map_err(QuickstartError::Demo)?;
        let voice = Voice { bastion: bastion.clone(), caller };
        let enrolment = enrol::Enrolment {
            voice: &voice,
            operator: &operator,
            account: &account,
            person: &person,
            device: &laptop.public()?,
            host: &host,
            demo: listener.local_addr().map_err(QuickstartError::Demo)?,
        };
        let device = enrolment.settle().await?;
        serve_demo(bastion, listener, &host, stop.clone())?;
        let own_agent = environment.agent.as_deref();
        let agent = laptop.prove(bastion, (&device, &operator), own_agent, stop).await?;
        Ok(Self { voice, operator, account, person, agent })
    }

    /// Writes the files for `ssh`; gives the one to name.
    async fn write(&self, address: SocketAddr) -> Result<PathBuf, QuickstartError> {
        let dir = &self.voice.bastion.config.dir;
        self.agent.reaches(address)?;
        let line = ["ssh-config", "--operator", self.operator.as_str(), "--known-hosts", "-"];
        let files = SshFiles {
            dir,
            address,
            certified: self.voice.bastion.config.ssh.names.first().map(String::as_str),
            operator: &self.operator,
            account: &self.account,
            person: &self.person.path,
            agent: &self.agent.socket(),
            known_hosts: &self.voice.say(&line, "").await?,
        };
        let path = dir.join("ssh_config");
        files.write().map_err(|why| QuickstartError::File { path: path.clone(), why })?;
        Ok(path)
    }
}

/// The person's key: one that was made here once, else the first of theirs, else a new one here.
fn person(dir: &Path, environment: &Environment, operator: &OperatorName) -> Result<KeyFile, KeyFileError> {
    let made_here = dir.join("person_key").exists();
    let found = environment.home.as_deref().filter(|_| !made_here).and_then(keyfile::of_person);
    found.map_or_else(|| keyfile::in_directory(dir, "person_key", operator.as_str()), Ok)
}

fn serve_demo(
    bastion: &Bastion,
    listener: TcpListener,
    host: &KeyFile,
    stop: CancellationToken,
) -> Result<(), QuickstartError> {
    let config = demo::Config { host_key: keyfile::private(host)?, user_ca: bastion.keys.user_ca().clone() };
    tokio::spawn(async move {
        if let Err(error) = demo::serve(listener, config, stop).await {
            tracing::error!(%error, "the demo target ended");
        }
    });
    Ok(())
}

/// Writes the files for `ssh` and says the line to try.
async fn welcome(scene: Option<&Scene>, bound: &[SocketAddr], environment: &Environment) {
    let listens: Vec<String> = bound.iter().map(ToString::to_string).collect();
    let listens = listens.join(", ");
    let (Some(scene), Some(address)) = (scene, bound.first()) else {
        let _ = terminal::out(&format!("bartizan listens on {listens}\n"));
        return;
    };
    let config = match scene.write(*address).await {
        Ok(config) => config,
        Err(why) => return terminal::complain(&why.to_string()),
    };
    let device = &scene.voice.bastion.config.device;
    if device.evidence == Evidence::Key {
        terminal::complain(
            "bartizan.toml says evidence = \"key\" in [device], as older quickstarts wrote it: a copy of a device's key file is \
             enough to log in from elsewhere; this machine proves itself by its agent now, so write \"bound\"",
        );
    }
    let shown = config.strip_prefix(&environment.here).unwrap_or(&config).display().to_string();
    let shown = if shown.contains(|c: char| !c.is_ascii_graphic() || "'\"\\$`&;()<>|*?".contains(c)) {
        format!("'{}'", shown.replace('\'', "'\\''"))
    } else {
        shown
    };
    let _ = terminal::out(&format!(
        "bartizan listens on {listens}; in a second terminal:\n\n    ssh -F {shown} demo\n\n"
    ));
}

/// An account's name as an operator's: what the grammar does not know becomes `-`.
fn operator_name(account: &str) -> OperatorName {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let text: String = account.to_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).collect();
    let text: String = text.trim_start_matches(['.', '_', '-']).chars().take(64).collect();
    OperatorName::parse(&text).unwrap_or_else(|_| fallback())
}

#[expect(clippy::expect_used, reason = "a constant that a test parses")]
fn fallback() -> OperatorName {
    OperatorName::parse("operator").expect("a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_becomes_an_operator() {
        for (account, operator) in [
            ("ana", "ana"),
            ("Ana.Lee", "ana.lee"),
            ("_www", "www"),
            ("DOMAIN\\ana", "domain-ana"),
            ("uid-1000", "uid-1000"),
            ("---", "operator"),
            ("", "operator"),
            ("名", "operator"),
        ] {
            assert_eq!(operator_name(account).as_str(), operator, "{account}");
        }
        assert_eq!(operator_name(&"a".repeat(100)).as_str().len(), 64);
    }

    #[test]
    fn the_written_configuration_is_read_back_and_bears_the_mark() {
        let text = configuration(SocketAddr::from(([127, 0, 0, 1], 2299)));
        assert!(text.starts_with(MARK));
        let config = Config::parse(Path::new("/x"), &text).expect("config");
        assert_eq!(config.ssh.listen, [SocketAddr::from(([127, 0, 0, 1], 2299))]);
        assert_eq!(config.device.evidence, config::Evidence::Bound);
    }
}
