//! Arguments in, exit code out.
//! It never does a command's work itself.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use agent::Environment;
use anyhow::Context as _;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Where nothing can be written to, the exit code still tells.
            let _ = writeln!(std::io::stderr(), "bartizan-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<u8> {
    // Whatever is made here is its owner's alone, also where a mode is forgotten.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Nobody reads the device's key out of this process's memory, nor out of its core.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .context("the process cannot be closed to others")?;
    // Of its work only the running agent tells; a command says what came of it.
    let runs = std::env::args_os().any(|word| word == "run");
    let level = if runs { tracing::Level::INFO } else { tracing::Level::WARN };
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).without_time();
    log.with_ansi(std::io::stderr().is_terminal()).with_max_level(level).init();
    // One thread: the agent is idle nearly always, and must be small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started; free some threads or file descriptors")?;
    let code = runtime.block_on(agent::run(std::env::args_os(), Environment::read()));
    runtime.shutdown_background();
    Ok(code?)
}
