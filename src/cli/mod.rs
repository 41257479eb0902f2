//! What is typed after `bartizan`: arguments turned into words, and the commands that need no server.
//! It never does what a word does; it brings the word to whoever does.

mod checkup;
mod directory;
mod init;
mod keyfile;
mod quickstart;
mod say;
mod serve;
mod sink;
mod sparing;
mod ssh_files;
mod terminal;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{CommandFactory as _, Parser as _};

use crate::config::Environment;
use crate::control::Word;

use serve::{Format, Held};

pub use terminal::complain;

/// An SSH bastion that proves the device, decides, records, and can prove what it recorded.
#[derive(Debug, clap::Parser)]
#[command(name = "bartizan", version, subcommand_required = true, arg_required_else_help = true)]
struct Line {
    /// The directory; else $BARTIZAN_DIR, else ./bartizan if it is yours alone, else /var/lib/bartizan.
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes everything in ./bartizan, with a demo target, and serves it; prints one line to try.
    Quickstart {
        /// Listens here instead of on 127.0.0.1:2222.
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
    },
    /// Makes the directory, its keys and an empty store.
    Init,
    /// Runs the bastion.
    Serve {
        /// How the server's own messages are written to standard error.
        #[arg(long, value_enum, default_value_t)]
        log_format: Format,
    },
    #[command(flatten)]
    Word(Word),
    /// Prints completions for a shell.
    #[command(hide = true)]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page; with a folder, writes one for every command into it.
    #[command(hide = true)]
    Man {
        /// The folder.
        folder: Option<PathBuf>,
    },
}

/// Why a command line came to nothing: one sentence for standard error, exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A word could not be brought to a server.
    #[error(transparent)]
    Say(#[from] say::SayError),
    /// The directory could not be made.
    #[error(transparent)]
    Init(#[from] init::InitError),
    /// The bastion could not be served.
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
    /// The quickstart stopped.
    #[error(transparent)]
    Quickstart(#[from] quickstart::QuickstartError),
    /// Nothing can be written to standard output.
    #[error("standard output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

/// A command line that was understood, and what was done for it before the first thread was started.
pub struct Ready {
    line: Line,
    dir: PathBuf,
    held: Option<Held>,
}

/// Reads a command line, and takes hold of what a server must hold before it gives up everything else: to be called while the
/// process has one thread.
///
/// # Errors
/// The sentence that says why not; or, inside, the exit code of a line that is answered already.
pub fn read(
    arguments: impl Iterator<Item = OsString>,
    environment: &Environment,
) -> Result<Result<Ready, u8>, Box<CliError>> {
    let line = match Line::try_parse_from(arguments) {
        Ok(line) => line,
        // Help and version go to standard output with 0, what is wrong to standard error with 2.
        Err(said) => {
            let _ = said.print();
            return Ok(Err(u8::try_from(said.exit_code()).unwrap_or(2)));
        }
    };
    let dir = environment.directory(line.dir.as_deref());
    let held = match line.command {
        Command::Serve { log_format } => {
            let held = Held::take(&dir, environment, log_format);
            Some(held.map_err(|why| Box::new(CliError::Serve(why)))?)
        }
        _ => None,
    };
    Ok(Ok(Ready { line, dir, held }))
}

/// Carries out a command line; gives the exit code.
///
/// # Errors
/// The sentence that says why not.
pub async fn run(ready: Ready, environment: Environment) -> Result<u8, CliError> {
    let Ready { line, dir, held } = ready;
    if let Some(held) = held {
        serve::serve(held, &environment).await?;
        return Ok(0);
    }
    match line.command {
        Command::Quickstart { listen } => {
            let dir = environment.fresh_directory(line.dir.as_deref());
            quickstart::quickstart(&dir, listen, &environment).await?;
            Ok(0)
        }
        Command::Init => {
            init::init(&dir, init::CONFIG).await?;
            terminal::out(&format!("{} is ready; `bartizan serve` runs it\n", dir.display()))?;
            Ok(0)
        }
        // Carried out above.
        Command::Serve { .. } => Ok(0),
        Command::Word(Word::Check { json }) => Ok(checkup::check(&dir, json).await?),
        Command::Word(Word::SshConfig(word)) => {
            let (lines, block) = word.in_two();
            if let Some(lines) = lines
                && let code @ 1.. = say::say(&dir, Word::SshConfig(lines)).await?
            {
                return Ok(code);
            }
            Ok(say::say(&dir, Word::SshConfig(block)).await?)
        }
        Command::Word(mut word) => {
            let dir = word.place().unwrap_or(dir);
            Ok(say::say(&dir, word).await?)
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Line::command(), "bartizan", &mut text);
            terminal::out(&String::from_utf8_lossy(&text))?;
            Ok(0)
        }
        Command::Man { folder: Some(folder) } => {
            clap_mangen::generate_to(Line::command(), folder)?;
            Ok(0)
        }
        Command::Man { folder: None } => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Line::command()).render(&mut text)?;
            terminal::out(&String::from_utf8_lossy(&text))?;
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Line, clap::Error> {
        Line::try_parse_from(std::iter::once("bartizan").chain(line.split_whitespace()))
    }

    #[test]
    fn the_tree_is_sound() {
        Line::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let dir = tempfile::tempdir().expect("dir");
        clap_mangen::generate_to(Line::command(), dir.path()).expect("pages");
        for (page, word) in
            [("bartizan-recording-play.1", "idle"), ("bartizan-session-watch.1", "operator sees")]
        {
            let text = std::fs::read_to_string(dir.path().join(page)).expect(page);
            assert!(text.contains(word), "{text}");
        }
    }

    /// One of each command.
    const COMMANDS: &[&str] = &[
        "quickstart",
        "quickstart --listen 127.0.0.1:0",
        "init",
        "serve",
        "serve --log-format json",
        "check --json",
        "health",
        "--dir /x ca show user",
        "ca show host --dir /x",
        "access check d",
        "access apply d",
        "access show --json",
        "access who-can web-1 --account deploy",
        "access explain ana web-1 --account deploy --do exec",
        "operator list",
        "operator add ana --role sre --role ops",
        "operator disable ana",
        "operator enable ana",
        "operator unlock ana",
        "operator revoke ana",
        "operator key add ana f.pub",
        "operator key add ana",
        "operator key list ana",
        "operator key remove ana SHA256:x",
        "operator totp ana",
        "operator totp ana --secret-file -",
        "device register lt-1 --operator ana --key f.pub",
        "device list",
        "device show lt-1",
        "device lock lt-1",
        "device unlock lt-1",
        "device retire lt-1",
        "target list",
        "target scan 10.0.0.5:22",
        "target check",
        "session list --live --json",
        "session list --operator ana --since 2026-01-01T00:00:00Z --until 2027-01-01T00:00:00Z --limit 99999",
        "session show s-x",
        "session kill s-x",
        "recording list",
        "recording show r-x",
        "recording play r-x --speed 2 --idle-limit 2s",
        "recording play r-x --from 1:02:03",
        "recording export r-x --format asciicast-v2 -o f",
        "recording export r-x --format raw --stream stderr -o f --force",
        "recording files r-x --json",
        "recording search needle --operator ana --since 2026-01-01T00:00:00Z --json",
        "recording list --operator ana --target t --since 2026-01-01T00:00:00Z --until 2027-01-01T00:00:00Z",
        "session watch s-x",
        "recording verify",
        "recording verify r-x --json",
        "audit list --type auth --since 2026-01-01T00:00:00Z",
        "operator invite ana",
        "operator invite ana --valid 1h",
        "ssh-config",
        "ssh-config --operator ana --known-hosts f",
        "whoami --json",
        "targets --json",
        "mfa show",
        "mfa enroll totp",
        "mfa recovery",
        "mfa forget",
        "audit tail -n 5",
        "audit show 3",
        "audit verify",
        "vault add db --password-file -",
        "vault add db --tenant acme --key-file f --replace",
        "vault add db --ask-password",
        "vault list --json",
        "vault remove db --tenant acme",
        "completions bash",
        "man",
    ];

    #[test]
    fn every_command_of_the_contract_is_understood() {
        for line in COMMANDS {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).expect_err(line));
        }
    }

    #[test]
    fn wrong_usage_is_two() {
        for line in [
            "",
            "nothing",
            "operator",
            "operator add ANA",
            "operator add a b",
            "operator show a\u{1b}",
            "ca show all",
            "device register lt-1",
            "recording play r-x --speed 0",
            "recording export r-x --format gif",
            "recording export r-x --force",
            "recording play r-x --from noon",
            "quickstart --listen nowhere",
            "session list --limit 0",
            "session list --live --since 2026-01-01T00:00:00Z",
            "operator invite ana --valid 9999h",
            "mfa enroll fax",
            "vault add db",
            "vault add db secret",
            "vault add db --key-file f --password-file f",
            "audit list --since yesterday",
        ] {
            assert_eq!(parse(line).expect_err(line).exit_code(), 2, "{line}");
        }
    }
}
