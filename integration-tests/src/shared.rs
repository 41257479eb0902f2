//! One connection that many commands share: OpenSSH's ControlMaster.
//! It never opens a second connection by itself.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Client;
use crate::wait::{DEADLINE, ended, until};

/// A connection without a channel of its own.
pub struct Shared {
    master: Child,
    socket: PathBuf,
    host: String,
}

impl Shared {
    pub(crate) fn open(client: &Client<'_>, socket: PathBuf, host: String) -> Self {
        let mut command = client.command("ssh");
        command.args(["-N", "-M", "-S"]).arg(&socket).arg(&host).stdout(Stdio::null()).stderr(Stdio::null());
        let mut master = command.spawn().unwrap();
        until("the shared connection", DEADLINE, || {
            assert!(master.try_wait().unwrap().is_none(), "the shared connection was not let in");
            socket.exists().then_some(())
        });
        Self { master, socket, host }
    }

    /// Where commands find it.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The client that holds the connection.
    pub fn master(&self) -> &Child {
        &self.master
    }

    /// A command on a new channel.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-S"]).arg(&self.socket).args([&self.host, line]).stdin(Stdio::null());
        command
    }

    /// The same, started with pipes for input and output.
    pub fn start(&self, line: &str) -> Child {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Ends the connection as its owner would.
    pub fn close(mut self) {
        let mut leave = Command::new("ssh");
        leave
            .args(["-F", "none", "-O", "exit", "-S"])
            .arg(&self.socket)
            .arg(&self.host)
            .stderr(Stdio::null());
        assert!(leave.status().unwrap().success());
        ended("the shared connection", &mut self.master, DEADLINE);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
    }
}
