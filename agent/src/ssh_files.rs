//! The two files that `ssh` reads: where the bastion is and which agent proves the device to it, and which host keys are its.
//! It never touches a file of the person's own.

use std::path::{Path, PathBuf};

use crate::config::{Bastion, Config};
use crate::files::{self, FileError};
use crate::quote::{self, QuoteError};

/// Why they were not written.
#[derive(Debug, thiserror::Error)]
pub enum SshFilesError {
    /// A path cannot be written down.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The file that `install` includes.
pub(crate) fn config_in(dir: &Path) -> PathBuf {
    dir.join("ssh_config")
}

pub(crate) fn known_hosts_in(dir: &Path) -> PathBuf {
    dir.join("known_hosts")
}

/// Writes both.
pub(crate) fn write(dir: &Path, config: &Config) -> Result<(), SshFilesError> {
    write_known_hosts(dir, &config.bastion)?;
    Ok(files::replace(&config_in(dir), block(dir, config)?.as_bytes(), 0o600)?)
}

pub(crate) fn write_known_hosts(dir: &Path, bastion: &Bastion) -> Result<(), FileError> {
    files::replace(&known_hosts_in(dir), known_hosts(bastion).as_bytes(), 0o600)
}

/// Every name by which a person may call it; a host certificate may bear any.
fn names(bastion: &Bastion) -> Vec<&str> {
    let mut names = vec![bastion.host.as_str()];
    names.extend(bastion.names.iter().map(String::as_str).filter(|name| *name != bastion.host));
    names
}

fn block(dir: &Path, config: &Config) -> Result<String, QuoteError> {
    let (bastion, host) = (&config.bastion, &config.bastion.host);
    Ok(format!(
        "# Written by `bartizan-agent install`; it must come before anything else that speaks of these hosts.\n\
         Host {}\n\
         \x20   HostName {host}\n\
         \x20   Port {}\n\
         \x20   User {}\n\
         \x20   IdentityAgent {}\n\
         \x20   IdentitiesOnly no\n\
         \x20   UserKnownHostsFile {} ~/.ssh/known_hosts\n\
         \x20   UpdateHostKeys no\n",
        names(bastion).join(" "),
        bastion.port,
        config.owner,
        quote::for_ssh(&config.socket_in(dir))?,
        quote::for_ssh(&known_hosts_in(dir))?,
    ))
}

fn known_hosts(bastion: &Bastion) -> String {
    let at_port = |name: &&str| {
        if bastion.port == 22 { (*name).to_owned() } else { format!("[{name}]:{}", bastion.port) }
    };
    let hosts = names(bastion).iter().map(at_port).collect::<Vec<_>>().join(",");
    let keys = bastion.host_keys.iter().map(|key| format!("{hosts} {key}\n"));
    let authorities = bastion.host_ca.iter().map(|key| format!("@cert-authority {hosts} {key}\n"));
    keys.chain(authorities).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_ports_and_authorities_are_written_as_ssh_reads_them() {
        let mut bastion = Bastion {
            host: "b.example".to_owned(),
            port: 2222,
            host_keys: vec!["ssh-ed25519 K".to_owned()],
            host_ca: vec!["ssh-ed25519 C".to_owned()],
            names: vec!["bastion".to_owned(), "b.example".to_owned()],
        };
        let hosts = "[b.example]:2222,[bastion]:2222";
        assert_eq!(
            known_hosts(&bastion),
            format!("{hosts} ssh-ed25519 K\n@cert-authority {hosts} ssh-ed25519 C\n")
        );
        bastion.port = 22;
        assert!(known_hosts(&bastion).starts_with("b.example,bastion ssh-ed25519 K\n"));
    }
}
