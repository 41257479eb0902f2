//! `install`: makes `ssh` use the agent, and the system start it.
//! It never changes a line of the person's configuration: it puts one in front of all others, where nothing can beat it.

use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::config::{Config, ConfigError};
use crate::environment::Environment;
use crate::files::{self, FileError};
use crate::quote::{self, QuoteError};
use crate::ssh_files::{self, SshFilesError};

const UNIT: &str = "bartizan-agent.service";
const LARGEST_CONFIG: u64 = 1024 * 1024;

/// Why it was not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Nothing is enrolled.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A path.
    #[error(transparent)]
    Quote(#[from] QuoteError),
    /// `ssh`'s files.
    #[error(transparent)]
    SshFiles(#[from] SshFilesError),
    /// Whose `~/.ssh/config`?
    #[error("$HOME is not set; set it, or name the file with --ssh-config FILE")]
    NoHome,
    /// Its own place is unknown.
    #[error("the place of this program cannot be found: {0}; start it by its full path")]
    NoProgram(std::io::Error),
}

/// What was written, or would be.
#[derive(Debug)]
pub struct Installed {
    unit: PathBuf,
    unit_text: String,
    ssh_config: PathBuf,
    include: String,
    included_before: bool,
    own_agent: Option<PathBuf>,
    passing: Option<PathBuf>,
    dry: bool,
}

/// Installs for the device of this folder.
///
/// # Errors
/// [`InstallError`]; what was written before stays, and a second run finishes it.
pub fn install(
    dir: &Path,
    environment: &Environment,
    ssh_config: Option<&Path>,
    dry: bool,
) -> Result<Installed, InstallError> {
    let mut config = Config::read(dir)?;
    let home = environment.home.as_deref().ok_or(InstallError::NoHome)?;
    let ssh_config = ssh_config.map_or_else(|| home.join(".ssh/config"), Path::to_owned);
    let own = config.socket_in(dir);
    if config.agent.is_none() {
        config.agent = environment.agent.clone().filter(|path| *path != own && stays(path));
    }
    let program = std::env::current_exe().map_err(InstallError::NoProgram)?;
    let units = environment.config_home.clone().unwrap_or_else(|| home.join(".config")).join("systemd/user");
    let before = match files::read_text(&ssh_config, LARGEST_CONFIG) {
        Ok(text) => Some(text),
        Err(why) if why.is_missing() => None,
        Err(why) => return Err(why.into()),
    };
    let include = format!("Include {}", quote::for_include(&ssh_files::config_in(dir))?);
    let installed = Installed {
        unit: units.join(UNIT),
        unit_text: unit(&program, dir)?,
        included_before: before.as_deref().is_some_and(|text| leads(text, &include)),
        ssh_config,
        include,
        own_agent: config.agent.clone(),
        passing: environment.agent.clone().filter(|path| *path != own && !stays(path)),
        dry,
    };
    if !dry {
        config.write(dir)?;
        ssh_files::write(dir, &config)?;
        installed.write(before.as_deref())?;
    }
    Ok(installed)
}

impl Installed {
    fn write(&self, before: Option<&str>) -> Result<(), InstallError> {
        if let Some(folder) = self.unit.parent() {
            std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
        }
        files::replace(&self.unit, self.unit_text.as_bytes(), 0o644)?;
        if self.included_before {
            return Ok(());
        }
        // A link is followed: people keep this file elsewhere, and it must stay a link.
        let place = std::fs::canonicalize(&self.ssh_config).unwrap_or_else(|_| self.ssh_config.clone());
        let mode = std::fs::metadata(&place).map_or(0o600, |about| about.permissions().mode() & 0o777);
        if let (None, Some(folder)) = (before, place.parent()) {
            files::private_folder_if_missing(folder)?;
        }
        let text = format!("{}\n\n{}", self.include, before.unwrap_or_default());
        Ok(files::replace(&place, text.as_bytes(), mode)?)
    }
}

/// Whether a socket has the same path after the next login: `ssh-agent` by itself takes a new one each time.
fn stays(path: &Path) -> bool {
    !path.starts_with("/tmp")
}

/// Whether the first line that says anything is this one.
fn leads(text: &str, include: &str) -> bool {
    let says = |line: &&str| !line.is_empty() && !line.starts_with('#');
    text.lines().map(str::trim).find(says) == Some(include)
}

fn unit(program: &Path, dir: &Path) -> Result<String, QuoteError> {
    Ok(format!(
        "[Unit]\n\
         Description=Bartizan agent: proves this device to its bastion\n\
         Documentation=man:bartizan-agent(1)\n\
         \n\
         [Service]\n\
         ExecStart={} --dir {} run\n\
         Restart=on-failure\n\
         NoNewPrivileges=yes\n\
         \n\
         [Install]\n\
         WantedBy=default.target\n",
        quote::for_systemd(program)?,
        quote::for_systemd(dir)?,
    ))
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, ssh_config) = (self.unit.display(), self.ssh_config.display());
        if self.dry {
            writeln!(f, "would write {unit}:\n{}", self.unit_text)?;
            writeln!(f, "would put at the top of {ssh_config}:\n{}", self.include)?;
        } else {
            writeln!(f, "wrote {unit}")?;
            let done = if self.included_before { "was already at the top of" } else { "put at the top of" };
            writeln!(f, "{done} {ssh_config}: {}", self.include)?;
        }
        match (&self.own_agent, &self.passing) {
            (Some(path), _) => writeln!(f, "your own agent stays in use: {}", path.display())?,
            (None, Some(path)) => writeln!(
                f,
                "your own agent has a new socket at every login (now {}): start it with `ssh-agent -a PATH`, and write that \
                 PATH as `agent` in agent.toml",
                path.display()
            )?,
            (None, None) => writeln!(f, "no agent of your own was found ($SSH_AUTH_SOCK is not set)")?,
        }
        if self.dry { Ok(()) } else { writeln!(f, "now run `systemctl --user enable --now bartizan-agent`") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_that_says_anything_leads() {
        let include = "Include \"/d/ssh_config\"";
        assert!(leads("# mine\n\n  Include \"/d/ssh_config\"\nHost *\n", include));
        assert!(!leads("Host *\nInclude \"/d/ssh_config\"\n", include));
        assert!(!leads("", include));
    }
}
