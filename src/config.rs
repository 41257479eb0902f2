//! One file in, one checked value out: where the directory is and what `bartizan.toml` says.
//! The only reader of the environment; it never changes a file and never falls back to a guess for a value that is wrong.

use std::ffi::OsString;
use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use policy::Network;

mod values;

use values::{
    address, banner, checkpoint, drain, flush, host_names, idle_timeout, listen, login_grace, max_channels,
    max_connections, max_unauthenticated, networks, recording_max, store_url,
};

pub use values::{duration, size};

/// The file's name inside the directory.
pub const FILE: &str = "bartizan.toml";
/// No honest `bartizan.toml` is longer than this many bytes.
const FILE_MAX: u64 = 256 * 1024;
/// The directory when nothing else names one.
const SYSTEM_DIR: &str = "/var/lib/bartizan";
/// The directory looked for where the command is run.
const LOCAL_DIR: &str = "bartizan";

/// Everything `bartizan.toml` decides, with defaults for what it leaves out.
#[derive(Debug, Clone)]
pub struct Config {
    /// The directory all state lives in; absolute.
    pub dir: PathBuf,
    /// `[ssh]`
    pub ssh: Ssh,
    /// `[store]`
    pub store: StoreConfig,
    /// `[recording]`
    pub recording: RecordingConfig,
    /// `[audit]`
    pub audit: AuditConfig,
    /// `[device]`
    pub device: DeviceConfig,
    /// `[admin]`
    pub admin: Admin,
}

/// `[ssh]`: the door operators come through.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ssh {
    /// Addresses to listen on; at least one.
    #[serde(deserialize_with = "listen")]
    pub listen: Vec<SocketAddr>,
    /// Names the host certificate is made for.
    #[serde(deserialize_with = "host_names")]
    pub names: Vec<String>,
    /// Which algorithms are offered.
    pub profile: Profile,
    /// From accept to the end of the login; activity does not move it.
    #[serde(deserialize_with = "login_grace")]
    pub login_grace: Duration,
    /// Channels open at once in one connection.
    #[serde(deserialize_with = "max_channels")]
    pub max_channels: usize,
    /// Connections open at once.
    #[serde(deserialize_with = "max_connections")]
    pub max_connections: usize,
    /// Connections open at once that have not finished their login.
    #[serde(deserialize_with = "max_unauthenticated")]
    pub max_unauthenticated: usize,
    /// Connections open at once from one source: an IPv4 address, or an IPv6 network of 64 bits.
    #[serde(deserialize_with = "max_connections")]
    pub max_connections_per_source: usize,
    /// The same of those that have not finished their login.
    #[serde(deserialize_with = "max_unauthenticated")]
    pub max_unauthenticated_per_source: usize,
    /// Sources that are never made to wait for what they did.
    #[serde(deserialize_with = "networks")]
    pub penalty_exempt: Vec<Network>,
    /// Proxies that say where a connection comes from, by the PROXY protocol.
    #[serde(deserialize_with = "networks")]
    pub proxy_protocol_from: Vec<Network>,
    /// How long a terminal may be without input and output.
    #[serde(deserialize_with = "idle_timeout")]
    pub idle_timeout: Duration,
    /// How long sessions may go on after the order to stop.
    #[serde(deserialize_with = "drain")]
    pub drain: Duration,
    /// Shown before the login (RFC 4252 section 5.4).
    #[serde(deserialize_with = "banner")]
    pub banner: Option<String>,
}

/// Which algorithms the door offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Post-quantum first, then what clients of the last ten years know.
    Compatible,
    /// Post-quantum key exchange only: shuts out OpenSSH before 9.9.
    Strict,
    /// Compatible, and for clients with neither authenticated ciphers nor MACs over the ciphertext: libssh2 before 1.11.
    Broad,
}

/// `[store]`: where rows live.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// `sqlite:PATH`; a relative path is taken from the directory.
    #[serde(deserialize_with = "store_url")]
    pub url: String,
}

/// `[recording]`: what is kept of a channel.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecordingConfig {
    /// What happens when the recording cannot be written.
    pub mode: Mode,
    /// The longest that recorded bytes may wait for the disk.
    #[serde(deserialize_with = "flush")]
    pub flush: Duration,
    /// Whether typed input is kept; passwords are typed too, so no by default.
    pub input: bool,
    /// Bytes of a channel's non-terminal output that are kept.
    #[serde(deserialize_with = "recording_max")]
    pub max: u64,
}

/// What happens when a recording cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The channel ends.
    Strict,
}

/// `[audit]`: the log.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditConfig {
    /// The longest between an entry and the signed checkpoint over it.
    #[serde(deserialize_with = "checkpoint")]
    pub checkpoint: Duration,
}

/// `[device]`: what a machine must prove.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceConfig {
    /// Which machines get as far as a person's login.
    pub require: Require,
    /// Which proofs of a machine are taken.
    pub evidence: Evidence,
}

/// Which machines get as far as a person's login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Require {
    /// Enrolled ones.
    Managed,
    /// Any; a proof may still raise the level.
    Any,
}

/// Which proofs of a machine are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// A session-bound certificate only.
    Bound,
    /// A plain device key of the inventory is enough.
    Key,
}

/// `[admin]`: health and metrics.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Address of `/healthz`, `/readyz` and `/metrics`; none by default.
    #[serde(deserialize_with = "address")]
    pub listen: Option<SocketAddr>,
    /// Whether `listen` may be an address that other machines reach: whoever reaches it reads it.
    pub beyond_loopback: bool,
}

impl Default for Ssh {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 2222))],
            names: Vec::new(),
            profile: Profile::Compatible,
            login_grace: Duration::from_secs(120),
            max_channels: 64,
            max_connections: 10_000,
            max_unauthenticated: 100,
            max_connections_per_source: 5000,
            max_unauthenticated_per_source: 50,
            // Whoever comes from here is on this machine, or is a proxy that stands for everybody.
            penalty_exempt: ["127.0.0.0/8", "::1"]
                .iter()
                .filter_map(|text| Network::parse(text).ok())
                .collect(),
            proxy_protocol_from: Vec::new(),
            idle_timeout: Duration::from_secs(3600),
            drain: Duration::from_secs(30),
            banner: None,
        }
    }
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { url: "sqlite:bartizan.db".to_owned() }
    }
}

impl Default for RecordingConfig {
    fn default() -> Self {
        Self { mode: Mode::Strict, flush: Duration::from_millis(20), input: false, max: 256 << 20 }
    }
}

impl Default for AuditConfig {
    fn default() -> Self {
        Self { checkpoint: Duration::from_secs(1) }
    }
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { require: Require::Managed, evidence: Evidence::Bound }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Sections {
    ssh: Ssh,
    store: StoreConfig,
    recording: RecordingConfig,
    audit: AuditConfig,
    device: DeviceConfig,
    admin: Admin,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The directory or the file is not there.
    #[error("{} is not there; `bartizan init` makes one, `--dir DIR` names another", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read.
    #[error("{} cannot be read: {why}", .path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// Somebody else may change it.
    #[error("{} may be written by others or belongs to another user; `chown` it to yourself and `chmod go-w` it", .0.display())]
    Loose(PathBuf),
    /// The file is not text of a sensible size.
    #[error("{} is {why}; write it again, every key has a default", .path.display())]
    NotText {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// A key or a value is wrong.
    #[error("{} line {line}: {why}", .path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong and what would be right.
        why: String,
    },
}

impl Config {
    /// Reads and checks `DIR/bartizan.toml`.
    pub fn load(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join(FILE);
        let unreadable = |why| ConfigError::Unreadable { path: path.clone(), why };
        for place in [dir, path.as_path()] {
            let about = match std::fs::metadata(place) {
                Ok(about) => about,
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    return Err(ConfigError::Missing(place.to_owned()));
                }
                Err(e) => return Err(unreadable(e)),
            };
            if !ours_alone(&about) {
                return Err(ConfigError::Loose(place.to_owned()));
            }
        }
        let mut text = Vec::new();
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        file.take(FILE_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
        if text.len() as u64 > FILE_MAX {
            return Err(ConfigError::NotText { path, why: "longer than 256 KiB" });
        }
        let text = String::from_utf8(text)
            .map_err(|_| ConfigError::NotText { path: path.clone(), why: "not UTF-8 text" })?;
        Self::parse(dir, &text)
    }

    /// Checks a configuration given as text; `dir` is made absolute.
    pub fn parse(dir: &Path, text: &str) -> Result<Self, ConfigError> {
        let path = dir.join(FILE);
        let sections: Sections = toml::from_str(text).map_err(|e| {
            let line = line_of(text, e.span().map_or(0, |s| s.start));
            let why = e.message().lines().collect::<Vec<_>>().join("; ");
            let why = key_of(text, line).map_or(why.clone(), |key| format!("{key}: {why}"));
            ConfigError::Wrong { line, why: shown(&why), path: path.clone() }
        })?;
        let Admin { listen, beyond_loopback } = sections.admin;
        if let Some(reached) = listen.filter(|address| !address.ip().is_loopback() && !beyond_loopback) {
            let line = line_of_listen(text);
            let why = format!(
                "listen: {reached} is not on loopback, and whoever reaches it reads it; choose a loopback address, or \
                 write beyond_loopback = true"
            );
            return Err(ConfigError::Wrong { path, line, why });
        }
        let dir = std::path::absolute(dir).map_err(|why| ConfigError::Unreadable { path, why })?;
        let Sections { ssh, store, recording, audit, device, admin } = sections;
        Ok(Self { dir, ssh, store, recording, audit, device, admin })
    }

    /// The embedded database's file.
    pub fn database(&self) -> PathBuf {
        self.dir.join(self.store.url.strip_prefix("sqlite:").unwrap_or(&self.store.url))
    }

    /// The folder of secrets.
    pub fn keys_dir(&self) -> PathBuf {
        self.dir.join("keys")
    }

    /// The folder of recordings.
    pub fn recordings_dir(&self) -> PathBuf {
        self.dir.join("recordings")
    }

    /// The folder of the audit log.
    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// The access bundle as last applied, for reading.
    pub fn access_dir(&self) -> PathBuf {
        self.dir.join("access")
    }
}

/// What the process was told by its environment, read once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `BARTIZAN_DIR`, when not empty.
    pub dir: Option<PathBuf>,
    /// `HOME`, when absolute.
    pub home: Option<PathBuf>,
    /// `SSH_AUTH_SOCK`, when absolute: the caller's own agent.
    pub agent: Option<PathBuf>,
    /// `BARTIZAN_LOG`: a filter for the server's own messages.
    pub log: Option<String>,
    /// `NOTIFY_SOCKET`: where systemd waits for `READY=1`.
    pub notify: Option<OsString>,
    /// The directory the command was run in.
    pub here: PathBuf,
}

impl Environment {
    /// Reads the process's environment.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads it")]
    pub fn read() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        Self {
            dir: set("BARTIZAN_DIR").map(PathBuf::from),
            home: set("HOME").map(PathBuf::from).filter(|p| p.is_absolute()),
            agent: set("SSH_AUTH_SOCK").map(PathBuf::from).filter(|p| p.is_absolute()),
            log: set("BARTIZAN_LOG").and_then(|v| v.into_string().ok()),
            notify: set("NOTIFY_SOCKET"),
            here: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }

    /// The directory meant: `--dir`, else `BARTIZAN_DIR`, else `./bartizan` if it is the caller's alone, else
    /// `/var/lib/bartizan`. Always absolute.
    pub fn directory(&self, flag: Option<&Path>) -> PathBuf {
        if let Some(named) = flag.or(self.dir.as_deref()) {
            return self.here.join(named);
        }
        let local = self.here.join(LOCAL_DIR);
        match std::fs::symlink_metadata(&local) {
            Ok(about) if about.is_dir() && callers_alone(&about) => local,
            _ => PathBuf::from(SYSTEM_DIR),
        }
    }

    /// As [`Self::directory`], but `./bartizan` also when nothing of that name is there yet.
    pub fn fresh_directory(&self, flag: Option<&Path>) -> PathBuf {
        let local = self.here.join(LOCAL_DIR);
        let free = flag.or(self.dir.as_deref()).is_none() && std::fs::symlink_metadata(&local).is_err();
        if free { local } else { self.directory(flag) }
    }
}

/// Owned by the caller, and written by nobody else.
fn callers_alone(about: &std::fs::Metadata) -> bool {
    about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o022 == 0
}

/// Owned by the caller or root, and written by nobody else.
fn ours_alone(about: &std::fs::Metadata) -> bool {
    callers_alone(about) || (about.uid() == 0 && about.mode() & 0o022 == 0)
}

/// What the file says, with every character written out that a terminal would not plainly show.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|b| *b == b'\n').count() + 1
}

/// The line of `listen` in `[admin]`.
fn line_of_listen(text: &str) -> usize {
    let mut lines = text.lines().zip(1..).skip_while(|(line, _)| line.trim() != "[admin]");
    lines.find(|(line, _)| line.trim_start().starts_with("listen")).map_or(1, |(_, number)| number)
}

/// The key whose value stands on a line: written there, or on a line above when the value is a list over several.
fn key_of(text: &str, line: usize) -> Option<&str> {
    let above: Vec<&str> = text.lines().take(line).collect();
    let lines = above.into_iter().rev().take_while(|l| !l.trim_start().starts_with('['));
    let mut keys =
        lines.filter_map(|l| Some(l.split_once('=')?.0.trim()).filter(|key| !key.starts_with('#')));
    keys.next()
}

#[cfg(test)]
mod tests;
