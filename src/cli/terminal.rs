//! The terminal this command was typed at: what is written to it, its size, its keys.
//! It never leaves the terminal in another state than it found it, and treats a reader who left as the end, not as an error.

use std::io::{ErrorKind, IsTerminal as _, Read as _, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

use crate::control::clean;
use crate::control::wire::Shape;

/// Writes to standard output; a closed pipe is a quiet end.
pub(super) fn out(text: &str) -> std::io::Result<()> {
    let mut handle = std::io::stdout().lock();
    match handle.write_all(text.as_bytes()).and_then(|()| handle.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes to standard error; where even that fails nothing is left to be said.
pub(super) fn err(text: &str) {
    let mut handle = std::io::stderr().lock();
    let _ = handle.write_all(text.as_bytes()).and_then(|()| handle.flush());
}

/// Says on standard error why the command came to nothing, in one line that commands no terminal.
pub fn complain(sentence: &str) {
    err(&format!("bartizan: {}\n", clean::line(sentence)));
}

/// What standard output can show; keys only when the word listens and somebody can type.
pub(super) fn shape(listens: bool) -> Shape {
    let stdout = std::io::stdout();
    let terminal = stdout.is_terminal();
    let size = terminal.then(|| tcgetwinsize(&stdout).ok()).flatten();
    let keys = listens && terminal && std::io::stdin().is_terminal();
    Shape { terminal, columns: size.map_or(0, |s| s.ws_col), rows: size.map_or(0, |s| s.ws_row), keys }
}

/// Keys one by one and unseen, until dropped.
pub(super) struct Raw {
    before: Termios,
}

impl Raw {
    /// Takes the terminal on standard input; `None` when there is none.
    pub(super) fn take() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// What is typed. The thread ends with the process: a read of a terminal cannot be called back.
pub(super) fn keys() -> mpsc::Receiver<String> {
    let (give, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(read @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            let typed = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default()).into_owned();
            if give.blocking_send(typed).is_err() {
                return;
            }
        }
    });
    keys
}
