//! `enroll TOKEN`: makes the device's key, takes over what the token says of the bastion, and proves the key there once.
//! It never shows the token to another process, and leaves nothing behind that a second try could stumble over.
//!
//! The proof is one SSH login as `enroll+<token id>` by the system's `ssh`, with a session-bound certificate of the new key, and
//! the command `enroll <token>`. Exit status 0 means that the bastion took it; what it prints is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use posture::token::{Token, TokenError};
use zeroize::Zeroizing;

use super::errand::{self, Errand, ErrandError};
use crate::config::{Config, ConfigError};
use crate::environment::Clock;
use crate::files::{self, FileError};
use crate::key::{FileKey, KeyError};
use crate::serve::{Agent, AgentError};
use crate::ssh::{self, Said};

const SOCKET: &str = "enroll.sock";

/// Why the device was not enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// The token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The folder is another device's.
    #[error("{} is already that of device {device}; choose another --dir, or move it away", .dir.display())]
    Taken {
        /// The folder.
        dir: PathBuf,
        /// Whose it is.
        device: String,
    },
    /// The key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The agent for this one login.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The login.
    #[error(transparent)]
    Errand(#[from] ErrandError),
    /// The bastion could not be reached, or did not take the proof.
    #[error("not enrolled: {said}{remedy}")]
    Refused {
        /// What `ssh` or the bastion said.
        said: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// Enrols the device of this folder; gives what to tell whoever did it. May be repeated, with the same token until it was taken
/// and with a new one after.
///
/// # Errors
/// [`EnrollError`]; the key and the configuration stay for the next try.
pub async fn enroll(dir: &Path, text: &str, clock: Arc<dyn Clock>) -> Result<String, EnrollError> {
    let token = Token::parse(text)?;
    files::private_folder(dir)?;
    let mut config = Config::of_token(&token);
    match Config::read(dir) {
        Ok(before) if before.device != config.device => {
            return Err(EnrollError::Taken { dir: dir.to_owned(), device: before.device });
        }
        // What was set by hand stays.
        Ok(before) => {
            (config.agent, config.socket) = (before.agent, before.socket);
            (config.targets, config.facts_from) = (before.targets, before.facts_from);
        }
        Err(ConfigError::Missing(_)) => {}
        Err(why) => return Err(why.into()),
    }
    let key = Arc::new(FileKey::open_or_create(dir)?);
    config.write(dir)?;
    // Nobody's own keys are offered: the device alone is to be proven.
    let alone = Config { agent: None, socket: SOCKET.into(), ..config };
    let agent = Agent::with_key(dir, alone, key, None, clock)?;
    let said = log_in(dir, agent, &token, text).await?;
    told(dir, &token, &said)
}

/// The one login.
async fn log_in(dir: &Path, agent: Agent, token: &Token, text: &str) -> Result<Said, EnrollError> {
    let config = agent.config().clone();
    let command = Zeroizing::new(format!("enroll {text}"));
    let socket = dir.join(SOCKET);
    let errand = Errand {
        name: "enroll",
        bastion: &config.bastion,
        login: &token.id,
        command: command.as_str(),
        socket: &socket,
    };
    let served = agent.serve_logins();
    let said = tokio::select! {
        said = errand::run(dir, &errand) => said.map_err(EnrollError::from),
        stopped = served => match stopped {
            Err(why) => Err(why.into()),
            Ok(never) => match never {},
        },
    };
    let _ = std::fs::remove_file(&socket);
    said
}

/// What came of it, for whoever did it.
fn told(dir: &Path, token: &Token, said: &Said) -> Result<String, EnrollError> {
    if said.status == Some(0) {
        let printed = ssh::clean(said.out.trim());
        // The bastion's own words: the device may be in use at once, or after a second person's yes.
        let printed =
            if printed.is_empty() { format!("{} took device {}", token.host, token.device) } else { printed };
        return Ok(format!("{printed}\nits key is in {}; now run `bartizan-agent install`\n", dir.display()));
    }
    let text = ssh::clean(said.err.trim());
    let remedy = match said.status {
        Some(255)
            if text.contains("Host key verification failed")
                || text.contains("REMOTE HOST IDENTIFICATION") =>
        {
            "; the server there does not have the token's host key: tell your administrator, and do not try elsewhere"
        }
        Some(255) if text.contains("Permission denied") || text.contains("did not prove") => {
            "; the token may be used or older than 15 minutes, or this clock wrong by more than a minute: \
             set the clock, or have a new token made with `bartizan device register`"
        }
        Some(255) => "; check that this machine can reach the bastion, and run it again with the same token",
        _ => "; have a new token made with `bartizan device register`",
    };
    let said = if text.is_empty() { "the bastion gave no reason".to_owned() } else { text };
    Err(EnrollError::Refused { said, remedy })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm";
        Token {
            id: "a1".to_owned(),
            secret: "0123456789abcdef".to_owned(),
            device: "lt-0421".to_owned(),
            owner: "alice".to_owned(),
            kind: "laptop".to_owned(),
            personal: false,
            host: "127.0.0.1".to_owned(),
            port: 2222,
            host_keys: vec![key.to_owned()],
            host_ca: Vec::new(),
            names: Vec::new(),
            facts: std::collections::BTreeSet::new(),
            processes: Vec::new(),
        }
    }

    #[test]
    fn every_failure_says_what_to_do() {
        let failed = |status, err: &str| {
            let said = Said { status, out: String::new(), err: err.to_owned() };
            told(Path::new("/d"), &token(), &said).unwrap_err().to_string()
        };
        assert!(failed(Some(255), "Host key verification failed.").contains("tell your administrator"));
        assert!(failed(Some(255), "enroll+a1@b: Permission denied (publickey).").contains("device register"));
        assert!(failed(Some(255), "connect to host b port 22: Connection refused").contains("same token"));
        assert!(failed(Some(254), "bartizan: the token was used\u{1b}[2J [ENROL-001]").contains("used?[2J"));
        assert!(failed(None, "").contains("no reason"));
    }

    #[tokio::test]
    async fn a_folder_of_another_device_is_not_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("agent");
        files::private_folder(&dir).unwrap();
        let other = Config { device: "other".to_owned(), ..Config::of_token(&token()) };
        other.write(&dir).unwrap();
        let text = token().to_text().unwrap();
        let refused = enroll(&dir, &text, Arc::new(crate::environment::SystemClock)).await;
        assert!(matches!(refused, Err(EnrollError::Taken { .. })));
        assert!(!dir.join("device").exists());
    }
}
