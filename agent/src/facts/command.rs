//! Runs a program of the system for what it prints, bounded in time and output.
//! It never runs a shell, never looks for a program where its user could have put one, and never waits for one that hangs.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::time::timeout;

/// The most that is read of a program's output, in bytes.
const MOST: u64 = 1024 * 1024;

/// What a program printed, and whether it ended well.
#[derive(Debug)]
pub(super) struct Printed {
    pub(super) text: String,
    pub(super) succeeded: bool,
}

/// What `program` prints within `patience`; `None` when it is not there, does not end,
/// or prints too much.
pub(super) async fn output(program: &str, arguments: &[&str], patience: Duration) -> Option<Printed> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let run = async {
        let mut child = command.spawn().ok()?;
        let mut bytes = Vec::new();
        child.stdout.take()?.take(MOST + 1).read_to_end(&mut bytes).await.ok()?;
        if bytes.len() as u64 > MOST {
            return None;
        }
        let succeeded = child.wait().await.ok()?.success();
        Some(Printed { text: String::from_utf8(bytes).ok()?, succeeded })
    };
    timeout(patience, run).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_hangs_or_is_missing_gives_nothing() {
        let short = Duration::from_millis(100);
        assert!(output("sleep", &["60"], short).await.is_none());
        assert!(output("no-such-program", &[], short).await.is_none());
        assert!(output("yes", &[], short).await.is_none());
    }

    #[tokio::test]
    async fn what_it_prints_and_how_it_ends_is_told() {
        let printed = output("sh", &["-c", "echo a; exit 3"], Duration::from_secs(10)).await.unwrap();
        assert_eq!((printed.text.as_str(), printed.succeeded), ("a\n", false));
    }
}
