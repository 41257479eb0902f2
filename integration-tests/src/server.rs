//! The bastion's own process: started on a folder, found at the address it writes down, measured, ended.
//! It never ends a process that it did not start.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use rustix::process::Signal;

use crate::clock;
use crate::sockets::{connections_at, end, send};
use crate::spawn::lasting;
use crate::wait::{DEADLINE, ended, long, until};

/// The longest that a server is left to a test: one that waits for what never comes then fails, for its clients end.
const LIFETIME: Duration = Duration::from_secs(600);
/// The same where long tests were asked for.
const LONG_LIFETIME: Duration = Duration::from_secs(3 * 3600);

/// A running `bartizan serve`.
pub struct Server {
    child: Child,
    _lifetime: Sender<()>,
    address: SocketAddr,
}

impl Server {
    /// Starts on this folder, in this scene, and waits until it listens.
    pub(crate) fn start(state: &Path, scene: &Path) -> Self {
        let log = &scene.join("server.log");
        let listening = state.join("listening");
        for left in [&listening, &state.join("listening.admin")] {
            let _ = std::fs::remove_file(left);
        }
        let log_file = File::options().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(binary("bartizan"));
        clock::lend_to_bastion(&mut command, scene, state);
        command.arg("--dir").arg(state).arg("serve");
        command.stdin(Stdio::null()).stdout(log_file.try_clone().unwrap()).stderr(log_file);
        let mut child = lasting(&mut command);
        let address = until("the bastion to listen", DEADLINE, || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the bastion ended: {status}\n{}", std::fs::read_to_string(log).unwrap_or_default());
            }
            let text = std::fs::read_to_string(&listening).ok()?;
            // A line without its end is still being written.
            text.split_once('\n').map(|(line, _)| line.trim().parse().unwrap())
        });
        let lifetime = limited(child.id());
        Self { child, _lifetime: lifetime, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Operators' connections that it holds now.
    pub fn connections(&self) -> usize {
        connections_at(self.address.port())
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it ever held, in bytes, but for its own program: that of a debug build is half as large again.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:").saturating_sub(self.status("RssFile:")) << 10
    }

    /// The memory it holds now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:") << 10
    }

    /// Open descriptors, but for those of the database: its pool grows with the load, up to a bound.
    pub fn descriptors(&self) -> usize {
        let open = std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap();
        let names = open.filter_map(|one| std::fs::read_link(one.unwrap().path()).ok());
        names.filter(|name| !name.to_string_lossy().contains("/bartizan.db")).count()
    }

    fn status(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// The one signal that asks it to stop.
    pub(crate) fn terminate(&self) {
        send(self.pid(), Signal::TERM);
    }

    /// Waits until it has ended.
    pub(crate) fn ended(mut self) -> ExitStatus {
        ended("the bastion", &mut self.child, DEADLINE)
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Told twice: the first time it waits for its sessions, the second time it does not.
    pub(crate) fn stop(mut self) -> ExitStatus {
        let pid = self.pid();
        until("the bastion to end", Duration::from_secs(30), || {
            let ended = self.child.try_wait().unwrap();
            if ended.is_none() {
                send(pid, Signal::TERM);
                // Two signals at one moment are one.
                std::thread::sleep(Duration::from_millis(100));
            }
            ended
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ends this process when its time is over, unless what is answered is dropped before.
fn limited(id: u32) -> Sender<()> {
    let lifetime = if long() { LONG_LIFETIME } else { LIFETIME };
    let (sender, dropped) = channel::<()>();
    std::thread::spawn(move || {
        if dropped.recv_timeout(lifetime) == Err(RecvTimeoutError::Timeout) {
            eprintln!("the bastion {id} was ended after {lifetime:?}: its test waits for what does not come");
            end(id);
        }
    });
    sender
}

/// A program of the workspace, beside the test's own.
///
/// # Panics
/// When it was not built: `cargo build --workspace --bins`.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(2).unwrap().join(name);
    assert!(path.exists(), "{} is missing: run cargo build --workspace --bins", path.display());
    path
}
