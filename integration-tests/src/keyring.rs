//! An `ssh-agent` that holds an operator's keys, for clients that take no more than one key by name.
//! It never outlives its scene.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Rig;
use crate::wait::{DEADLINE, until};

/// A running agent.
pub struct Keyring {
    agent: Child,
    socket: PathBuf,
}

impl Keyring {
    /// Holds an operator's keys as people would have it: the device's, then their own.
    pub fn of(rig: &Rig, operator: &str) -> Self {
        let socket = rig.new_folder("keyring").join("socket");
        let mut agent = Command::new("ssh-agent");
        agent.args(["-D", "-a"]).arg(&socket).stdout(Stdio::null()).stderr(Stdio::null());
        let keyring = Self { agent: agent.spawn().unwrap(), socket };
        until("the agent to listen", DEADLINE, || keyring.socket.exists().then_some(()));
        let keys = ["device", "key"].map(|which| rig.path(format!("{operator}-{which}")));
        let added =
            Command::new("ssh-add").arg("-q").args(keys).env("SSH_AUTH_SOCK", &keyring.socket).status();
        assert!(added.unwrap().success());
        keyring
    }

    /// For `SSH_AUTH_SOCK`.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Keyring {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}
