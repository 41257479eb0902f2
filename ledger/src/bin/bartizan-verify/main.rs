//! Verifies recordings and the audit log offline, without a server and without a secret.
//!
//! Never writes, and never says `ok` to what it could not hold against a signature: it says what is missing instead.

mod check;
mod report;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bartizan_ledger::log::VerifierKey;
use clap::Parser;

use check::{Scope, Trust, Usage};
use report::Report;

/// Verify Bartizan recordings and audit logs offline
///
/// Exits 0 when everything verifies, 1 with the first broken position of the log and of each recording when not, and 2 on
/// wrong usage.
#[derive(Parser)]
#[command(name = "bartizan-verify", version, max_term_width = 100)]
struct Arguments {
    /// A bartizan folder, an audit log folder, or one recording file
    path: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// The log's public key (name+id+base64), or a file with it; without it the key is read from the log folder's own `public`
    #[arg(long, value_name = "KEY|FILE")]
    key: Option<String>,
    /// A checkpoint of this log that was kept elsewhere; only with one can an old copy of the whole folder be told from the
    /// newest. May be given more than once
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The log folder that a single recording is held against; by default `../log` as seen from the recording's folder
    #[arg(long, value_name = "FOLDER")]
    log: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match verified(&arguments) {
        Ok(report) => {
            let shown = if arguments.json { report.to_json() } else { report.to_text() };
            // A reader that closes early (`| head`) has seen what it wanted; the exit code still tells.
            let _ = io::stdout().lock().write_all(shown.as_bytes());
            ExitCode::from(u8::from(!report.ok()))
        }
        Err(usage) => {
            let _ = writeln!(io::stderr().lock(), "bartizan-verify: {usage}");
            ExitCode::from(2)
        }
    }
}

fn verified(arguments: &Arguments) -> Result<Report, Usage> {
    let scope = Scope::of(&arguments.path, arguments.log.as_deref())?;
    let trust = Trust { key: key(arguments.key.as_deref())?, checkpoints: notes(&arguments.checkpoint)? };
    Ok(check::check(&scope, &trust))
}

/// The key given as text or in a file.
fn key(given: Option<&str>) -> Result<Option<VerifierKey>, Usage> {
    let Some(given) = given else { return Ok(None) };
    if let Ok(key) = given.parse() {
        return Ok(Some(key));
    }
    let text = check::small_file(Path::new(given))?;
    text.parse().map(Some).map_err(|why| Usage::Key { given: given.to_owned(), why })
}

fn notes(files: &[PathBuf]) -> Result<Vec<(PathBuf, String)>, Usage> {
    files.iter().map(|file| Ok((file.clone(), check::small_file(file)?))).collect()
}
