//! One login of the device alone, by the system's `ssh`, as `enroll+<errand>`.
//! It never shows its command to another process, and offers no key from a file.

use std::path::Path;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::config::Bastion;
use crate::files::{self, FileError};
use crate::quote::{self, QuoteError};
use crate::ssh::{self, Said, SshError};
use crate::ssh_files;

const PATIENCE: Duration = Duration::from_secs(60);

/// Why it did not take place.
#[derive(Debug, thiserror::Error)]
pub enum ErrandError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A path.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// `ssh`.
    #[error(transparent)]
    Ssh(#[from] SshError),
}

/// What the device comes for.
pub(super) struct Errand<'a> {
    /// What its file in the folder begins with.
    pub(super) name: &'a str,
    /// Where to.
    pub(super) bastion: &'a Bastion,
    /// What follows `enroll+`.
    pub(super) login: &'a str,
    /// What is run there. May be secret.
    pub(super) command: &'a str,
    /// The agent that proves the device.
    pub(super) socket: &'a Path,
}

/// Goes, and comes back with what `ssh` said.
pub(super) async fn run(dir: &Path, errand: &Errand<'_>) -> Result<Said, ErrandError> {
    ssh_files::write_known_hosts(dir, errand.bastion)?;
    let conf = dir.join(format!("{}.conf", errand.name));
    // In a file that only its owner may read, and not on a command line, which everybody may.
    files::replace(&conf, ssh_config(dir, errand)?.as_bytes(), 0o600)?;
    let said = ssh::run(Some(&conf), &["bastion"], PATIENCE).await;
    // What is secret in it is of no use any more, or for a few minutes to nobody else.
    let _ = std::fs::remove_file(conf);
    Ok(said?)
}

fn ssh_config(dir: &Path, errand: &Errand<'_>) -> Result<Zeroizing<String>, QuoteError> {
    let Errand { bastion, login, command, socket, .. } = errand;
    Ok(Zeroizing::new(format!(
        "Host bastion\n\
         \x20   HostName {}\n\
         \x20   Port {}\n\
         \x20   User enroll+{login}\n\
         \x20   RemoteCommand {command}\n\
         \x20   IdentityAgent {}\n\
         \x20   IdentityFile none\n\
         \x20   IdentitiesOnly no\n\
         \x20   PreferredAuthentications publickey\n\
         \x20   BatchMode yes\n\
         \x20   UserKnownHostsFile {}\n\
         \x20   GlobalKnownHostsFile /dev/null\n\
         \x20   StrictHostKeyChecking yes\n\
         \x20   UpdateHostKeys no\n\
         \x20   RequestTTY no\n\
         \x20   ForwardAgent no\n\
         \x20   ForwardX11 no\n\
         \x20   ControlPath none\n\
         \x20   ConnectTimeout 15\n\
         \x20   LogLevel ERROR\n",
        bastion.host,
        bastion.port,
        quote::for_ssh(socket)?,
        quote::for_ssh(&ssh_files::known_hosts_in(dir))?,
    )))
}
