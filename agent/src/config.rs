//! `agent.toml`: what the device is enrolled as, its bastion, and what it may say.
//! It never holds a secret, and never takes a key that it does not know.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use posture::report::Table;
use posture::token::{Token, is_host, is_name};
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;

use crate::files::{self, FileError};

const NAME: &str = "agent.toml";
const LARGEST: u64 = 64 * 1024;
/// What a socket's path may have in bytes: `sun_path` less its end.
const LONGEST_SOCKET: usize = 107;

/// The agent's configuration. Every key but `device`, `owner` and `[bastion]` has a default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The device's name in the inventory.
    pub device: String,
    /// The operator whose device it is.
    pub owner: String,
    /// `laptop` or `host`.
    #[serde(default = "laptop")]
    pub kind: String,
    /// Whether it was enrolled as its owner's own.
    #[serde(default)]
    pub personal: bool,
    /// The socket to listen on; relative to the folder.
    #[serde(default = "socket")]
    pub socket: PathBuf,
    /// The socket of the person's own agent; `$SSH_AUTH_SOCK` of `run` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<PathBuf>,
    /// The facts that are sent.
    #[serde(default)]
    pub facts: BTreeSet<Table>,
    /// The programs that are looked for, with `processes` among the facts.
    #[serde(default)]
    pub processes: Vec<String>,
    /// A file of facts in place of the collectors, for tests and service desks. Every report says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts_from: Option<PathBuf>,
    /// The `ssh_config` names of targets that `doctor` looks at besides the bastion.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// The one server that the device proves itself to.
    pub bastion: Bastion,
}

/// The bastion, as the device must find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bastion {
    /// Its address.
    pub host: String,
    /// Its port.
    #[serde(default = "port")]
    pub port: u16,
    /// Its host keys, one line each.
    #[serde(default)]
    pub host_keys: Vec<String>,
    /// The authorities of its host certificates, one line each.
    #[serde(default)]
    pub host_ca: Vec<String>,
    /// Its names in a host certificate, besides `host`.
    #[serde(default)]
    pub names: Vec<String>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read or written.
    #[error("configuration: {0}")]
    File(#[from] FileError),
    /// There is none.
    #[error("{} holds no agent.toml; `bartizan-agent enroll TOKEN` makes one, `--dir DIR` names another folder", .0.display())]
    Missing(PathBuf),
    /// Not the TOML of a configuration.
    #[error("{}: {why}", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// With the line.
        why: String,
    },
    /// A value that cannot be.
    #[error("{}: {key} is not usable: {why}", .path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// Which key.
        key: &'static str,
        /// Why, and what to do.
        why: &'static str,
    },
}

fn laptop() -> String {
    posture::Kind::Laptop.as_str().to_owned()
}

fn socket() -> PathBuf {
    PathBuf::from("agent.sock")
}

fn port() -> u16 {
    22
}

impl Config {
    /// Reads `agent.toml` of this folder.
    ///
    /// # Errors
    /// [`ConfigError`], naming the line or the key.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join(NAME);
        let text = match files::read_text(&path, LARGEST) {
            Ok(text) => text,
            Err(why) if why.is_missing() => return Err(ConfigError::Missing(dir.to_owned())),
            Err(why) => return Err(why.into()),
        };
        let form = |why: toml::de::Error| ConfigError::Form { path: path.clone(), why: why.to_string() };
        let config: Self = toml::from_str(&text).map_err(form)?;
        config.check(dir, &path)?;
        Ok(config)
    }

    /// Writes it as `agent.toml` of this folder.
    ///
    /// # Errors
    /// When a value cannot be, or the file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), ConfigError> {
        let path = dir.join(NAME);
        self.check(dir, &path)?;
        let form = |why: toml::ser::Error| ConfigError::Form { path: path.clone(), why: why.to_string() };
        let text = format!(
            "# The device's side of Bartizan; see docs/agent.md.\n{}",
            toml::to_string(self).map_err(form)?
        );
        Ok(files::replace(&path, text.as_bytes(), 0o600)?)
    }

    /// What a token says.
    #[must_use]
    pub fn of_token(token: &Token) -> Self {
        Self {
            device: token.device.clone(),
            owner: token.owner.clone(),
            kind: token.kind.clone(),
            personal: token.personal,
            socket: socket(),
            agent: None,
            facts: token.facts.clone(),
            processes: token.processes.clone(),
            facts_from: None,
            targets: Vec::new(),
            bastion: Bastion {
                host: token.host.clone(),
                port: token.port,
                host_keys: token.host_keys.clone(),
                host_ca: token.host_ca.clone(),
                names: token.names.clone(),
            },
        }
    }

    /// Where the agent listens.
    #[must_use]
    pub fn socket_in(&self, dir: &Path) -> PathBuf {
        dir.join(&self.socket)
    }

    fn check(&self, dir: &Path, path: &Path) -> Result<(), ConfigError> {
        let need = |holds: bool, key, why| {
            if holds { Ok(()) } else { Err(ConfigError::Value { path: path.to_owned(), key, why }) }
        };
        let name = "write letters a to z, digits, `.`, `_`, `-`, at most 64";
        need(is_name(&self.device), "device", name)?;
        need(is_name(&self.owner), "owner", name)?;
        need(self.kind.parse::<posture::Kind>().is_ok(), "kind", "write laptop or host")?;
        let bastion = &self.bastion;
        let host = "write a host name or an address";
        need(is_host(&bastion.host), "bastion.host", host)?;
        need(bastion.names.iter().all(|name| is_host(name)), "bastion.names", host)?;
        need(self.targets.iter().all(|name| is_host(name)), "targets", host)?;
        need(bastion.port != 0, "bastion.port", "write 1 to 65535")?;
        let keys = |lines: &[String]| {
            lines.iter().all(|line| PublicKey::from_openssh(line).is_ok() && !line.contains('\n'))
        };
        let one_line = "write public keys as in known_hosts: `ssh-ed25519 AAAA...`";
        need(keys(&bastion.host_keys), "bastion.host_keys", one_line)?;
        need(keys(&bastion.host_ca), "bastion.host_ca", one_line)?;
        let known = !(bastion.host_keys.is_empty() && bastion.host_ca.is_empty());
        need(
            known,
            "bastion.host_keys",
            "write at least one host key or authority: nobody else can be proven to",
        )?;
        let length = self.socket_in(dir).as_os_str().len();
        need(
            length <= LONGEST_SOCKET,
            "socket",
            "its path is longer than a socket's may be; write a shorter absolute one",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "device = \"lt-0421\"\nowner = \"alice\"\nfacts = [\"os_version\"]\n[bastion]\nhost = \"b.example\"\n\
        host_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm\"]\n";

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), text).unwrap();
        Config::read(folder.path())
    }

    #[test]
    fn a_configuration_is_read_as_it_is_written() {
        let config = read(WHOLE).unwrap();
        assert_eq!((config.bastion.port, config.socket.as_path()), (22, Path::new("agent.sock")));
        let folder = tempfile::tempdir().unwrap();
        config.write(folder.path()).unwrap();
        assert_eq!(Config::read(folder.path()).unwrap(), config);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("device = \"lt-0421\"", "devise = \"lt-0421\"", "line 1"),
            ("\"os_version\"", "\"users\"", "line 3"),
            ("b.example", "b example", "bastion.host"),
            ("ssh-ed25519 AAAA", "ssh-ed25519 B", "bastion.host_keys"),
            ("host = \"b", "port = 0\nhost = \"b", "bastion.port"),
            ("lt-0421", "LT", "device"),
        ];
        for (right, other, named) in wrong {
            let told = read(&WHOLE.replacen(right, other, 1)).unwrap_err().to_string();
            assert!(told.contains(named), "{told}");
        }
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Config::read(folder.path()), Err(ConfigError::Missing(_))));
        let deep = format!("socket = \"/{}\"\n{WHOLE}", "x".repeat(120));
        assert!(read(&deep).unwrap_err().to_string().contains("socket"));
    }
}
