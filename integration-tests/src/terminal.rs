//! A client on a terminal, as a person at a keyboard uses it.
//! It never waits without a deadline.

use std::process::Command;
use std::time::Duration;

use expectrl::process::unix::{UnixProcess, WaitStatus};
use expectrl::session::OsSession;
use expectrl::{Eof, Error, Expect as _, Needle};

use crate::spawn;
use crate::wait::{DEADLINE, until};

/// A program on a terminal of 100 columns and 30 rows.
pub struct Terminal {
    session: OsSession,
}

impl Terminal {
    /// Starts it there.
    pub fn open(command: Command) -> Self {
        let alone = spawn::alone();
        let mut session = expectrl::Session::spawn(command).unwrap();
        drop(alone);
        // It would look again and again without a rest: that is left to `wait`.
        session.set_expect_timeout(Some(Duration::ZERO));
        session.get_process_mut().set_window_size(100, 30).unwrap();
        Self { session }
    }

    /// Waits for this text; returns what came before it.
    pub fn expect(&mut self, text: &str) -> String {
        match self.wait(&text) {
            Ok(before) => String::from_utf8_lossy(&before).into_owned(),
            Err(error) => panic!("waiting for {text:?} on the terminal: {error}"),
        }
    }

    /// What came before what is looked for.
    fn wait(&mut self, wanted: &impl Needle) -> Result<Vec<u8>, Error> {
        until("what is expected on the terminal", DEADLINE, || match self.session.expect(wanted) {
            Err(Error::ExpectTimeout) => None,
            found => Some(found.map(|found| found.before().to_vec())),
        })
    }

    /// Types.
    pub fn send(&mut self, text: &str) {
        self.session.send(text).unwrap();
    }

    /// Types a line.
    pub fn line(&mut self, text: &str) {
        self.send(&format!("{text}\r"));
    }

    /// Gives the terminal another size, as dragging a window does.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.session.get_process_mut().set_window_size(columns, rows).unwrap();
    }

    /// Waits until the program has gone; its exit status, or 128 and the signal's number.
    pub fn exit(mut self) -> i32 {
        let _ = self.wait(&Eof);
        let process: &UnixProcess = self.session.get_process();
        until("the client to end", DEADLINE, || match process.status() {
            Ok(WaitStatus::Exited(_, code)) => Some(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => Some(128 + signal as i32),
            Ok(_) => None,
            Err(_) => Some(-1),
        })
    }
}
