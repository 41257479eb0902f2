//! Arguments in, exit code out.
//! It never does a command's work itself.

use std::process::ExitCode;

use anyhow::Context as _;
use bartizan::cli;
use bartizan::config::Environment;

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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started; free some threads or file descriptors")?;
    let code = runtime.block_on(cli::run(std::env::args_os(), Environment::read()));
    // A thread that waits for a key or a disk must not hold up the end.
    runtime.shutdown_background();
    Ok(code?)
}
