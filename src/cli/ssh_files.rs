//! The `ssh_config` and `known_hosts` of a quickstart, with which a stock `ssh` works from anywhere.
//! It never touches the person's own `~/.ssh`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// What the two files say.
#[derive(Debug)]
pub(super) struct SshFiles<'a> {
    /// The directory; absolute.
    pub(super) dir: &'a Path,
    /// Where the bastion listens.
    pub(super) address: SocketAddr,
    /// `operator+account+target`.
    pub(super) user: &'a str,
    /// The private key files in the order they are offered: device, then person.
    pub(super) keys: [&'a Path; 2],
    /// The bastion's host keys, a line each.
    pub(super) host_keys: &'a [String],
}

impl SshFiles<'_> {
    /// Writes both, each whole or not at all.
    pub(super) fn write(&self) -> std::io::Result<()> {
        replace(&self.dir.join("known_hosts"), &self.known_hosts())?;
        replace(&self.dir.join("ssh_config"), &self.config())
    }

    fn config(&self) -> String {
        let Self { user, keys: [device, person], .. } = self;
        format!(
            "# Written by `bartizan quickstart` at every start.\n\
             Host demo\n\
             \x20   HostName {}\n\
             \x20   Port {}\n\
             \x20   User {user}\n\
             \x20   IdentityFile {}\n\
             \x20   IdentityFile {}\n\
             \x20   IdentitiesOnly yes\n\
             \x20   UserKnownHostsFile {}\n\
             \x20   GlobalKnownHostsFile /dev/null\n\
             \x20   StrictHostKeyChecking yes\n\
             \x20   PreferredAuthentications publickey,keyboard-interactive\n",
            reachable(self.address.ip()),
            self.address.port(),
            quoted(device),
            quoted(person),
            quoted(&self.dir.join("known_hosts")),
        )
    }

    fn known_hosts(&self) -> String {
        let (host, port) = (reachable(self.address.ip()), self.address.port());
        let host = if port == 22 { host.to_string() } else { format!("[{host}]:{port}") };
        self.host_keys.iter().map(|key| format!("{host} {key}\n")).collect()
    }
}

/// An address that a client on this machine can dial.
fn reachable(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// A path as ssh_config(5) reads it: quoted, with its own signs escaped (`%` is a token, `\` and `"` end a word).
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{text}\"")
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_name_absolute_paths_and_a_dialable_address() {
        let dir = tempfile::tempdir().expect("dir");
        let odd = dir.path().join("a \"b\" 100%");
        std::fs::create_dir(&odd).expect("mkdir");
        let files = SshFiles {
            dir: &odd,
            address: SocketAddr::from(([0, 0, 0, 0], 2222)),
            user: "ana+ana+demo",
            keys: [&odd.join("device_key"), Path::new("/home/ana/.ssh/id_ed25519")],
            host_keys: &["ssh-ed25519 AAAA".to_owned()],
        };
        files.write().expect("write");
        files.write().expect("again");
        let config = std::fs::read_to_string(odd.join("ssh_config")).expect("read");
        assert!(config.contains("HostName 127.0.0.1\n") && config.contains("a \\\"b\\\" 100%%/device_key\""));
        let device = config.find("device_key").expect("device");
        assert!(device < config.find("id_ed25519").expect("person"), "the device comes first");
        let known = std::fs::read_to_string(odd.join("known_hosts")).expect("read");
        assert_eq!(known, "[127.0.0.1]:2222 ssh-ed25519 AAAA\n");
    }
}
