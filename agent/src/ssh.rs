//! Runs the system's `ssh`, bounded in time and output.
//! It never passes a secret on its command line, where everybody on the machine could read it.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use tokio::time::timeout;

/// The most that is read of each output, in bytes.
const MOST: u64 = 1024 * 1024;

/// What `ssh` said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit status; `None` when a signal ended it.
    pub(crate) status: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Why it said nothing.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// It is not there.
    #[error("`ssh` cannot be run: {0}; install OpenSSH 8.9 or later")]
    Run(#[from] std::io::Error),
    /// It does not end.
    #[error("`ssh` did not end within {} s; see whether the bastion can be reached", .0.as_secs())]
    Endless(Duration),
}

/// Runs `ssh`, with this configuration file alone where one is named.
pub(crate) async fn run<A: AsRef<OsStr>>(
    config: Option<&Path>,
    arguments: &[A],
    patience: Duration,
) -> Result<Said, SshError> {
    let mut command = Command::new("ssh");
    if let Some(config) = config {
        command.arg("-F").arg(config);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let exchange = async {
        let mut child = command.spawn()?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (out, err) = tokio::try_join!(text(out), text(err))?;
        Ok::<_, std::io::Error>(Said { status: child.wait().await?.code(), out, err })
    };
    Ok(timeout(patience, exchange).await.map_err(|_| SshError::Endless(patience))??)
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(MOST).read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Text of another machine without anything that could move a cursor or change a terminal.
pub(crate) fn clean(text: &str) -> String {
    let plain =
        |c: char| if c == '\n' || c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() { c } else { '?' };
    text.replace('\r', "").chars().map(plain).take(4096).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_machine_cannot_draw_on_the_screen() {
        assert_eq!(clean("a\u{1b}[2Jb\r\n\u{202e}c"), "a?[2Jb\n?c");
        assert_eq!(clean(&"x".repeat(9999)).len(), 4096);
    }
}
