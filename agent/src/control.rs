//! The agent's second socket, for its own commands: fresh facts, and what it has.
//! It never gives out a key, and is never forwarded anywhere as an agent's socket may be.
//!
//! One line asks, one line of JSON answers: `{"facts":..}` or `{"error":".."}`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config::Config;
use crate::facts::Snapshot;
use crate::identity::Maker;

/// The longest line, in bytes, either way.
const LONGEST: u64 = 256 * 1024;
/// How long collecting may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Collect now, what `agent.toml` names now.
    Refresh,
    /// What a login would send now.
    Facts,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Answer {
    Facts(Snapshot),
    Error(String),
}

/// Why a running agent gave no facts.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// None runs.
    #[error("no agent answers at {}; start it with `bartizan-agent run`", .0.display())]
    NotRunning(PathBuf),
    /// It answered something else or not at all.
    #[error("the agent gave no answer that can be read; restart it")]
    Garbled,
    /// It has no facts.
    #[error("the agent could not collect its facts: {0}")]
    Facts(String),
}

pub(crate) fn socket_in(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

/// Answers one question.
pub(crate) async fn answer(stream: UnixStream, dir: &Path, maker: &Maker) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    (&mut stream).take(64).read_line(&mut line).await?;
    let now = maker.clock.unix();
    let found = match line.as_str() {
        // Which facts are wanted may have changed.
        "refresh\n" => match Config::read(dir) {
            Ok(config) => maker.watch.refresh_for(dir, &config, now).await.map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        },
        "facts\n" => maker.watch.fresh(now).await.map_err(|why| why.to_string()),
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let answer = found.map_or_else(Answer::Error, Answer::Facts);
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    stream.write_all(&text).await
}

/// Asks the agent that runs in this folder.
pub(crate) async fn ask(dir: &Path, ask: Ask) -> Result<Snapshot, ControlError> {
    let path = socket_in(dir);
    let mut stream = UnixStream::connect(&path).await.map_err(|_| ControlError::NotRunning(path))?;
    let word: &[u8] = match ask {
        Ask::Refresh => b"refresh\n",
        Ask::Facts => b"facts\n",
    };
    let exchange = async {
        stream.write_all(word).await?;
        let mut text = Vec::new();
        stream.take(LONGEST).read_to_end(&mut text).await?;
        Ok::<_, io::Error>(text)
    };
    let text = timeout(PATIENCE, exchange).await.ok().and_then(Result::ok).ok_or(ControlError::Garbled)?;
    match serde_json::from_slice(&text).map_err(|_| ControlError::Garbled)? {
        Answer::Facts(snapshot) => Ok(snapshot),
        Answer::Error(why) => Err(ControlError::Facts(why)),
    }
}
