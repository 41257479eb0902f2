//! Starts the owner's shell, a command in it, or the sftp server, on pipes or on a terminal.
//! It never passes on its own environment: the program gets a fresh one plus what the client may set.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::Stdio;

use pty_process::{OwnedReadPty, OwnedWritePty};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::account::Account;
use crate::terminal::Terminal;

const SFTP_SERVERS: [&str; 3] =
    ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];
const MAX_VARIABLES: usize = 64;
const MAX_VALUE: usize = 1 << 10;

/// What a channel is asked to run.
pub(crate) enum Task {
    Shell,
    /// The command, as the client sent it.
    Exec(Vec<u8>),
    Sftp,
}

/// What was asked for before the program.
#[derive(Default)]
pub(crate) struct Setting {
    pub(crate) terminal: Option<Terminal>,
    variables: Vec<(String, String)>,
}

impl Setting {
    /// Keeps a variable that may be set; says whether it did.
    pub(crate) fn accept_variable(&mut self, name: &str, value: &str) -> bool {
        let allowed = matches!(name, "LANG" | "COLORTERM" | "GIT_PROTOCOL")
            || name.strip_prefix("LC_").is_some_and(|rest| {
                (1..=32).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
            });
        let clean = value.len() <= MAX_VALUE && !value.chars().any(char::is_control);
        let taken = allowed && clean && self.variables.len() < MAX_VARIABLES;
        if taken {
            self.variables.push((name.to_owned(), value.to_owned()));
        }
        taken
    }
}

/// A running program and the ways in and out of it.
pub(crate) struct Program {
    /// The leader of a process group of its own.
    pub(crate) child: Child,
    pub(crate) ends: Ends,
}

/// The ways in and out.
pub(crate) enum Ends {
    Pipes {
        input: ChildStdin,
        output: ChildStdout,
        errors: ChildStderr,
    },
    /// `size` is the terminal once more, to resize it while input waits.
    Terminal {
        read: OwnedReadPty,
        write: OwnedWritePty,
        size: OwnedFd,
    },
}

/// Why a program did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpawnError {
    #[error("no sftp server is installed; install openssh-sftp-server")]
    NoSftp,
    #[error("the program cannot be started: {0}; look at the account's shell")]
    Spawn(#[source] std::io::Error),
    #[error("no terminal can be opened: {0}; look at /dev/pts")]
    Terminal(#[source] pty_process::Error),
    #[error("a pipe of the program is missing")]
    Pipe,
}

/// Starts `task` as the account.
pub(crate) fn spawn(account: &Account, setting: &Setting, task: &Task) -> Result<Program, SpawnError> {
    let mut command = command(account, task)?;
    environment(&mut command, account, setting);
    match &setting.terminal {
        Some(terminal) => {
            let (ends, pts) = terminal.open().map_err(SpawnError::Terminal)?;
            let child = pty_process::Command::from(command).spawn(pts).map_err(SpawnError::Terminal)?;
            Ok(Program { child, ends })
        }
        None => on_pipes(command),
    }
}

fn on_pipes(mut command: Command) -> Result<Program, SpawnError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(SpawnError::Spawn)?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(input), Some(output), Some(errors)) = (input, output, errors) else {
        return Err(SpawnError::Pipe);
    };
    Ok(Program { child, ends: Ends::Pipes { input, output, errors } })
}

/// The program and its arguments, as login(1) and sshd(8) choose them.
fn command(account: &Account, task: &Task) -> Result<Command, SpawnError> {
    let name = account.shell.file_name().unwrap_or(account.shell.as_os_str());
    match task {
        Task::Shell => {
            let mut login = OsString::from("-");
            login.push(name);
            let mut command = Command::new(&account.shell);
            command.arg0(login);
            Ok(command)
        }
        Task::Exec(line) => {
            let mut command = Command::new(&account.shell);
            command.arg0(name).arg("-c").arg(OsString::from_vec(line.clone()));
            Ok(command)
        }
        Task::Sftp => {
            let server = SFTP_SERVERS.into_iter().find(|path| Path::new(path).exists());
            Ok(Command::new(server.ok_or(SpawnError::NoSftp)?))
        }
    }
}

fn environment(command: &mut Command, account: &Account, setting: &Setting) {
    let path = match account.root {
        true => "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        false => "/usr/local/bin:/usr/bin:/bin",
    };
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", &account.home)
        .env("USER", &account.name)
        .env("LOGNAME", &account.name)
        .env("SHELL", &account.shell)
        .envs(setting.variables.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true)
        .current_dir(if account.home.is_dir() { account.home.as_path() } else { Path::new("/") });
    if let Some(terminal) = &setting.terminal {
        command.env("TERM", terminal.term());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_of_the_list_are_taken_and_not_without_end() {
        let mut setting = Setting::default();
        assert!(setting.accept_variable("LC_ALL", "C.UTF-8"));
        assert!(setting.accept_variable("LANG", "de_DE.UTF-8"));
        for name in ["PATH", "LD_PRELOAD", "LC_", "LC_all", "BASH_ENV", "lang", ""] {
            assert!(!setting.accept_variable(name, "x"), "{name}");
        }
        assert!(!setting.accept_variable("LANG", "a\nb"));
        assert!(!setting.accept_variable("LANG", &"x".repeat(MAX_VALUE + 1)));
        let more = (0..1000).filter(|_| setting.accept_variable("LC_ALL", "C")).count();
        assert!(more < MAX_VARIABLES);
    }
}
