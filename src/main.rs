//! Arguments in, exit code out.
//! It never does a command's work itself.

use std::num::NonZero;
use std::process::ExitCode;

use anyhow::Context as _;
use bartizan::cli;
use bartizan::config::Environment;

/// Gives back to the system what a crowd of sessions had: the usual allocator keeps it for good, in pieces.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // A cause that the sentence names already is not said twice.
            let mut sentence = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                if !sentence.contains(&cause) {
                    sentence = format!("{sentence}: {cause}");
                }
            }
            cli::complain(&sentence);
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<u8> {
    // Whatever is made here is its owner's alone, also where a mode is forgotten.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let environment = Environment::read();
    // Counted now: what a server gives up takes the files away that tell it.
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let ready = match cli::read(std::env::args_os(), &environment)? {
        Ok(ready) => ready,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .enable_all()
        .build()
        .context("the runtime cannot be started; free some threads or file descriptors")?;
    let code = runtime.block_on(cli::run(ready, environment));
    // A thread that waits for a key or a disk must not hold up the end.
    runtime.shutdown_background();
    Ok(code?)
}
