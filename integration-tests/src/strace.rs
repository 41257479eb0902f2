//! `strace` on the running bastion: to see what it writes, and to let calls fail that succeed on a healthy machine.
//! It never stays: the bastion goes on without it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::Rig;

/// An attached `strace`.
pub struct Strace {
    child: Child,
    output: PathBuf,
}

impl Strace {
    /// Attaches to all threads of the bastion, also to those that come; what it sees goes to a file.
    pub fn attach(rig: &Rig, options: &[&str]) -> Self {
        let output = rig.new_folder("strace").join("trace");
        let mut command = Command::new("strace");
        command.arg("-f").args(options).arg("-o").arg(&output);
        let mut child = command
            .args(["-p", &rig.server().pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed: integration-tests/run installs it");
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        // "strace: Process 1 attached with 9 threads", once it has all of them.
        while !line.contains(" attached") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "strace did not attach");
        }
        // Kept open, so that it can go on speaking.
        std::thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
        Self { child, output }
    }

    /// Where it writes what it sees.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// Detaches; returns what it saw.
    pub fn detach(mut self) -> String {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, Signal::INT);
        self.child.wait().unwrap();
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap()).into_owned()
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        if self.child.try_wait().unwrap().is_none() {
            let _ = rustix::process::kill_process(pid, Signal::INT);
            let _ = self.child.wait();
        }
    }
}
