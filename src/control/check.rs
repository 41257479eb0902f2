//! `check`: everything a start rests on, a line each: ok, or what is wrong and what to do.
//! It never mends anything and leaves nothing behind.

use std::io::Write as _;
use std::path::Path;

use keys::Keys;
use serde::Serialize;
use serde_json::json;
use ssh_key::HashAlg;

use super::reply::{Reply, Trouble};
use super::{Done, clean};
use crate::access::Access;
use crate::bastion::Bastion;
use crate::clock::Clock;
use crate::config::{Config, ConfigError};
use crate::sandbox;
use crate::store::Store;

/// 2026-01-01: no honest clock is before this program was written.
const WRITTEN: i64 = 1_767_225_600;

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// config, keys, bundle, store, recordings, clock or sandbox.
    pub what: &'static str,
    /// Whether it is in order.
    pub ok: bool,
    /// What is there, or what is wrong and the remedy.
    pub says: String,
}

impl Line {
    fn new(what: &'static str, found: Result<String, String>) -> Self {
        let ok = found.is_ok();
        Self { what, ok, says: found.unwrap_or_else(|why| why) }
    }
}

/// The running server looks at what it has open, and at the file it would start from next time.
pub(super) async fn run<R: Reply>(bastion: &Bastion, json: bool, out: &mut R) -> Result<Done, Trouble> {
    let config = Config::load(&bastion.config.dir);
    let mut lines = vec![config_line(&config)];
    // Opened again: what matters is whether the next start would find them in order.
    lines.push(keys_line(&bastion.config));
    lines.push(Line::new("bundle", bundle(&bastion.store).await));
    lines.push(Line::new("store", store(&bastion.store).await));
    lines.push(Line::new("recordings", writable(&bastion.config.recordings_dir())));
    lines.push(Line::new("clock", clock(bastion.clock.as_ref(), &bastion.config)));
    lines.push(Line::new("sandbox", sandbox()));
    say(&lines, json, out).await
}

/// The same without a server. The caller holds the directory's lock.
pub async fn offline(config: Result<Config, ConfigError>, clock_of: &dyn Clock) -> Vec<Line> {
    let mut lines = vec![config_line(&config)];
    let Ok(config) = config else { return lines };
    lines.push(keys_line(&config));
    // Opening a store that is not there would make one.
    let opened = match std::fs::metadata(config.database()) {
        Ok(_) => Store::open(&config.database()).await.map_err(sentence),
        Err(why) => {
            Err(format!("{} cannot be read: {why}; restore it from a backup", config.database().display()))
        }
    };
    match opened {
        Ok(opened) => {
            lines.push(Line::new("bundle", bundle(&opened).await));
            lines.push(Line::new("store", store(&opened).await));
            opened.close().await;
        }
        Err(why) => lines.push(Line::new("store", Err(why))),
    }
    lines.push(Line::new("recordings", writable(&config.recordings_dir())));
    lines.push(Line::new("clock", clock(clock_of, &config)));
    lines.push(Line::new("sandbox", Ok(could_be_held().to_owned())));
    lines
}

/// Says the report; the answer is no when a line is not ok.
pub async fn say<R: Reply>(lines: &[Line], json: bool, out: &mut R) -> Result<Done, Trouble> {
    let ok = lines.iter().all(|line| line.ok);
    if json {
        let value = json!({ "ok": ok, "checks": lines });
        out.out(&format!("{}\n", clean::json(&value.to_string()))).await?;
    } else {
        out.out(&said(lines)).await?;
    }
    Ok(if ok { Done::Well } else { Done::No })
}

fn said(lines: &[Line]) -> String {
    let mark = |ok| if ok { "ok" } else { "WRONG" };
    lines.iter().map(|l| format!("{:<10}  {:<5}  {}\n", l.what, mark(l.ok), clean::line(&l.says))).collect()
}

fn sentence(error: impl std::error::Error) -> String {
    Trouble::from(error).to_string()
}

fn config_line(config: &Result<Config, ConfigError>) -> Line {
    let found = match config {
        Ok(config) => {
            let listen: Vec<String> = config.ssh.listen.iter().map(ToString::to_string).collect();
            Ok(format!(
                "{}, listens on {}",
                config.dir.join(crate::config::FILE).display(),
                listen.join(", ")
            ))
        }
        Err(error) => Err(error.to_string()),
    };
    Line::new("config", found)
}

/// What holds the running server. `quickstart` is not held: the shell of its demo target is its caller's own.
fn sandbox() -> Result<String, String> {
    sandbox::held().map_or_else(|| Ok("not held: `bartizan serve` would be".to_owned()), |held| held.says())
}

fn could_be_held() -> &'static str {
    if sandbox::possible() {
        "`bartizan serve` will hold itself to its own files"
    } else {
        "this kernel has no Landlock: files will be kept by their permissions alone"
    }
}

fn keys_line(config: &Config) -> Line {
    let opened = Keys::open(&config.keys_dir());
    let says = |keys: Keys| {
        let host: Vec<String> =
            keys.host_public().iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string()).collect();
        format!("{}, host key {}", config.keys_dir().display(), host.join(", "))
    };
    Line::new("keys", opened.map(says).map_err(sentence))
}

async fn bundle(store: &Store) -> Result<String, String> {
    let Some(stored) = store.current_bundle().await.map_err(sentence)? else {
        return Ok("none applied yet: nothing is permitted".to_owned());
    };
    let access = Access::load(store).await.map_err(sentence)?.bundle();
    let (operators, targets) = (access.operators().len(), access.targets().len());
    Ok(format!("version {}, operators {operators}, targets {targets}", stored.version))
}

async fn store(store: &Store) -> Result<String, String> {
    match store.complaint().await.map_err(sentence)? {
        None => Ok("sound".to_owned()),
        Some(complaint) => Err(format!("damaged: {complaint}; restore it from a backup")),
    }
}

/// Writes a file there and takes it away again. The answer is a line for people.
///
/// # Errors
/// Why it cannot be written, with what to do.
pub fn writable(dir: &Path) -> Result<String, String> {
    let probe = dir.join(".check");
    let tried = std::fs::File::create(&probe).and_then(|mut file| {
        file.write_all(b"bartizan")?;
        file.sync_all()
    });
    let _ = std::fs::remove_file(&probe);
    match tried {
        Ok(()) => Ok(format!("{}, can be written", dir.display())),
        Err(why) => {
            Err(format!("{} cannot be written: {why}; free the disk or mend its mode", dir.display()))
        }
    }
}

/// Codes, certificates and proofs rest on the clock.
fn clock(clock: &dyn Clock, config: &Config) -> Result<String, String> {
    let now = clock.now();
    if now.as_second() < WRITTEN {
        return Err(format!("it says {now}, which is long past; set it (NTP)"));
    }
    let filter = ledger::log::Filter::default();
    // No log yet is no witness against the clock.
    let last =
        ledger::log::tail(&config.log_dir(), filter, 1).ok().and_then(|(last, _)| last.into_iter().next());
    match last {
        Some(entry) if entry.event.time.as_second() > now.as_second() + 5 => {
            let last = entry.event.time;
            Err(format!("it says {now}, but the audit log was last written at {last}; set it (NTP)"))
        }
        _ => Ok(super::report::moment(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_named_and_nothing_is_left_in_a_good_one() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(writable(dir.path()).is_ok());
        assert_eq!(std::fs::read_dir(dir.path()).expect("read").count(), 0);
        let gone = dir.path().join("gone");
        assert!(writable(&gone).expect_err("gone").contains("gone cannot be written"));
    }

    #[test]
    fn a_line_cannot_command_the_terminal() {
        let line = Line { what: "bundle", ok: false, says: "target x\x1b[2J".to_owned() };
        assert_eq!(said(&[line]), "bundle      WRONG  target x\\x1b[2J\n");
    }
}
