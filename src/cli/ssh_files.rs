//! The `ssh_config` and `known_hosts` of a quickstart, with which a stock `ssh` works from anywhere.
//! It never touches the person's own `~/.ssh`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use policy::{AccountName, OperatorName};

/// What the two files say.
#[derive(Debug)]
pub(super) struct SshFiles<'a> {
    /// The directory; absolute.
    pub(super) dir: &'a Path,
    /// Where the bastion listens.
    pub(super) address: SocketAddr,
    /// The name in its host certificate, where it has one.
    pub(super) certified: Option<&'a str>,
    /// Who logs in at the bastion.
    pub(super) operator: &'a OperatorName,
    /// As whom on the demo target.
    pub(super) account: &'a AccountName,
    /// The person's private key file.
    pub(super) person: &'a Path,
    /// The agent that proves the device.
    pub(super) agent: &'a Path,
    /// Whom to trust.
    pub(super) known_hosts: &'a str,
}

impl SshFiles<'_> {
    /// Writes both, each whole or not at all.
    pub(super) fn write(&self) -> std::io::Result<()> {
        replace(&self.dir.join("known_hosts"), self.known_hosts)?;
        replace(&self.dir.join("ssh_config"), &self.config())
    }

    /// The device's identity is the agent's alone, so the person's key file must not hide what the agent has.
    fn config(&self) -> String {
        let Self { operator, account, .. } = self;
        let host = reachable(self.address.ip());
        let alias = self.certified.map_or_else(String::new, |name| format!("    HostKeyAlias {name}\n"));
        format!(
            "# Written by `bartizan quickstart` at every start.\n\
             Host bastion {host}\n\
             \x20   HostName {host}\n\
             \x20   Port {}\n\
             {alias}\
             \x20   User {operator}\n\
             \x20   IdentityAgent {}\n\
             \x20   IdentitiesOnly no\n\
             \x20   IdentityFile {}\n\
             \x20   PreferredAuthentications publickey,keyboard-interactive\n\
             \n\
             Host demo\n\
             \x20   User {account}\n\
             \n\
             Host * !bastion !{host}\n\
             \x20   {}\n\
             \n\
             Host *\n\
             \x20   UserKnownHostsFile {}\n\
             \x20   GlobalKnownHostsFile /dev/null\n\
             \x20   StrictHostKeyChecking yes\n",
            self.address.port(),
            quoted(self.agent),
            quoted(self.person),
            jump(&self.dir.join("ssh_config")),
            quoted(&self.dir.join("known_hosts")),
        )
    }
}

/// By way of the bastion. `ssh` hands the name of this file to a shell as it is, which odd names do not survive.
fn jump(config: &Path) -> String {
    let path = config.display().to_string();
    if path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+,:@".contains(c)) {
        return "ProxyJump bastion".to_owned();
    }
    let path = path.replace('\'', "'\\''").replace('%', "%%");
    format!("ProxyCommand ssh -F '{path}' -W '[%h]:%p' bastion")
}

/// An address that a client on this machine can dial.
pub(super) fn reachable(ip: IpAddr) -> IpAddr {
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

/// Puts a file of its owner alone in place, whole.
pub(super) fn replace(path: &Path, text: &str) -> std::io::Result<()> {
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

    /// What `ssh -G` makes of the files for this host.
    fn resolved(dir: &Path, host: &str) -> String {
        let output = std::process::Command::new("ssh")
            .arg("-F")
            .arg(dir.join("ssh_config"))
            .args(["-G", host])
            .output()
            .expect("ssh");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn written(dir: &Path, certified: Option<&str>) {
        let files = SshFiles {
            dir,
            address: SocketAddr::from(([0, 0, 0, 0], 2299)),
            certified,
            operator: &OperatorName::parse("ana").expect("name"),
            account: &AccountName::parse("Ana").expect("name"),
            person: Path::new("/home/ana/.ssh/id_ed25519"),
            agent: &dir.join("agent/agent.sock"),
            known_hosts: "[127.0.0.1]:2299 ssh-ed25519 AAAA\n",
        };
        files.write().expect("write");
        files.write().expect("again");
    }

    #[test]
    fn ssh_reads_the_bastion_with_the_agent_and_every_target_behind_it() {
        let dir = tempfile::tempdir().expect("dir");
        written(dir.path(), None);
        let bastion = resolved(dir.path(), "bastion");
        let agent = format!("identityagent {}\n", dir.path().join("agent/agent.sock").display());
        for line in ["hostname 127.0.0.1\n", "port 2299\n", "user ana\n", "identitiesonly no\n", &agent] {
            assert!(bastion.contains(line), "{line}: {bastion}");
        }
        assert!(!bastion.contains("proxyjump") && !bastion.contains("hostkeyalias"), "{bastion}");
        assert!(!resolved(dir.path(), "127.0.0.1").contains("proxyjump"));
        let demo = resolved(dir.path(), "demo");
        for line in ["user Ana\n", "proxyjump bastion\n", "hostname demo\n", "stricthostkeychecking true\n"] {
            assert!(demo.contains(line), "{line}: {demo}");
        }
        let other = resolved(dir.path(), "web-1");
        assert!(other.contains("proxyjump bastion\n") && !other.contains("user Ana\n"), "{other}");
        written(dir.path(), Some("bastion.example"));
        assert!(resolved(dir.path(), "bastion").contains("hostkeyalias bastion.example\n"));
    }

    #[test]
    fn a_path_that_no_shell_may_see_is_quoted() {
        let dir = tempfile::tempdir().expect("dir");
        let odd = dir.path().join("a b's 100%");
        std::fs::create_dir(&odd).expect("mkdir");
        written(&odd, None);
        let demo = resolved(&odd, "demo");
        let command = format!("proxycommand ssh -F '{}/a b'\\''s 100%%/ssh_config' -W", dir.path().display());
        assert!(demo.contains(&command), "{demo}");
        assert!(resolved(&odd, "bastion").contains("a b's 100%/agent/agent.sock\n"));
    }
}
