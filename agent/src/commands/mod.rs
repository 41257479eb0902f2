//! What is typed after `bartizan-agent`: arguments in, one command done, exit code out.
//! It never does two things for one word, and never prints a secret.

mod enroll;
mod errand;
mod install;
mod refresh;

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::control::{self, Ask, ControlError};
use crate::doctor;
use crate::environment::{Clock, Environment, SystemClock};
use crate::serve::{Agent, AgentError, ShowError};

pub use enroll::{EnrollError, enroll};
pub use errand::ErrandError;
pub use install::{InstallError, Installed, install};
pub use refresh::{RefreshError, Unheard};

/// Proves this device to its bastion, and passes on everything else to your own SSH agent.
#[derive(Debug, clap::Parser)]
#[command(name = "bartizan-agent", version, subcommand_required = true, arg_required_else_help = true)]
struct Line {
    /// The folder; else $BARTIZAN_AGENT_DIR, else ~/.config/bartizan-agent.
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Makes the device's key and enrols it with the token that your administrator gave you.
    Enroll {
        /// The token; `-` reads it from standard input.
        token: String,
    },
    /// Runs the agent until it is told to stop.
    Run,
    /// Prints exactly what a login would send about this device.
    Show {
        /// On one line, byte for byte.
        #[arg(long)]
        json: bool,
    },
    /// Looks for what would keep a login from working, without connecting.
    Doctor {
        /// Targets to look at, besides those of agent.toml.
        #[arg(value_name = "TARGET")]
        targets: Vec<String>,
        /// Looks at this file in place of ~/.ssh/config and the system's.
        #[arg(long, value_name = "FILE")]
        ssh_config: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Hears which facts the bastion asks for, and has the running agent collect them now.
    Refresh,
    /// Makes `ssh` use the agent: a systemd user unit, and an Include at the top of ~/.ssh/config.
    Install {
        /// Changes this file instead of ~/.ssh/config.
        #[arg(long, value_name = "FILE")]
        ssh_config: Option<PathBuf>,
        /// Prints what would be written, and writes nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

/// Why a command came to nothing: one sentence for standard error, exit code 1.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The agent cannot be opened or served.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Enrolment.
    #[error(transparent)]
    Enroll(#[from] EnrollError),
    /// Installation.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The running agent.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Fresh facts.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The list of facts.
    #[error("collected what was asked for before; what the bastion asks for now is not known: {0}")]
    Unheard(#[from] Unheard),
    /// What would be sent.
    #[error(transparent)]
    Show(#[from] ShowError),
    /// Standard input or output, or signals.
    #[error("standard input or output: {0}")]
    Io(#[from] io::Error),
    /// JSON.
    #[error("the answer cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Carries out a command line; gives the exit code.
///
/// # Errors
/// The sentence that says why not.
pub async fn run(
    arguments: impl Iterator<Item = OsString>,
    environment: Environment,
) -> Result<u8, CommandError> {
    let line = match Line::try_parse_from(arguments) {
        Ok(line) => line,
        // Help and version go to standard output with 0, what is wrong to standard error with 2.
        Err(said) => {
            let _ = said.print();
            return Ok(u8::try_from(said.exit_code()).unwrap_or(2));
        }
    };
    let dir = environment.directory(line.dir.as_deref());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    match line.command {
        Command::Enroll { token } => {
            let token = if token == "-" { from_input()? } else { Zeroizing::new(token) };
            out(&enroll(&dir, &token, clock).await?)?;
        }
        Command::Run => {
            let agent = Agent::open(&dir, environment.agent.as_deref(), clock)?;
            agent.serve(told_to_stop()?).await?;
        }
        Command::Show { json } => out(&format!("{}\n", show(&dir, &environment, clock, json).await?))?,
        Command::Doctor { targets, ssh_config, json } => {
            let checks = doctor::examine(&dir, &environment, clock, ssh_config.as_deref(), &targets).await;
            return report(&checks, json);
        }
        Command::Refresh => {
            let refreshed = refresh::refresh(&dir).await?;
            out(&format!("{}\n", serde_json::to_string_pretty(&refreshed.facts)?))?;
            for line in &refreshed.news {
                writeln!(io::stderr(), "{line}")?;
            }
            if let Some(why) = refreshed.unheard {
                return Err(why.into());
            }
        }
        Command::Install { ssh_config, dry_run } => {
            let installed = install(&dir, &environment, ssh_config.as_deref(), dry_run)?;
            out(&installed.to_string())?;
            if !dry_run {
                let checks = doctor::examine(&dir, &environment, clock, ssh_config.as_deref(), &[]).await;
                report(&checks, false)?;
            }
        }
    }
    Ok(0)
}

async fn show(
    dir: &Path,
    environment: &Environment,
    clock: Arc<dyn Clock>,
    json: bool,
) -> Result<String, CommandError> {
    let agent = Agent::open(dir, environment.agent.as_deref(), clock)?;
    // What runs has the facts that a login would send; without it they are collected here.
    let snapshot = match control::ask(dir, Ask::Facts).await {
        Ok(snapshot) => snapshot,
        Err(ControlError::NotRunning(_)) => agent.collect().await.map_err(ShowError::from)?,
        Err(why) => return Err(why.into()),
    };
    let report = agent.sample(&snapshot)?;
    Ok(if json { report.to_json().map_err(ShowError::from)? } else { serde_json::to_string_pretty(&report)? })
}

fn report(checks: &[doctor::Check], json: bool) -> Result<u8, CommandError> {
    if json {
        out(&format!("{}\n", serde_json::to_string_pretty(checks)?))?;
    } else {
        for check in checks {
            out(&format!("{} {}: {}\n", if check.ok { "ok   " } else { "WRONG" }, check.check, check.said))?;
        }
    }
    Ok(u8::from(checks.iter().any(|check| !check.ok)))
}

fn from_input() -> io::Result<Zeroizing<String>> {
    let mut token = Zeroizing::new(String::with_capacity(posture::token::LONGEST));
    io::stdin().take(posture::token::LONGEST as u64).read_to_string(&mut token)?;
    Ok(Zeroizing::new(token.trim().to_owned()))
}

/// Ready at SIGTERM or SIGINT.
fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

fn out(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
