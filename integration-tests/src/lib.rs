//! Scenes for whole-program tests: the real bastion, real `sshd` targets and real clients, each in a folder of its own.
//! It never knows the inside of the bastion: it speaks its command line, its files and SSH.

mod bare;
mod builder;
mod bytes;
mod client;
mod clock;
mod codes;
mod keyring;
mod laptop;
mod link;
mod machine;
mod password;
mod peer;
mod records;
mod route;
mod server;
mod shared;
mod small_disk;
mod sockets;
mod spawn;
mod strace;
mod target;
mod terminal;
mod tools;
mod wait;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

pub use bare::{BareClient, BareGuest, BareServer, Fields, Message, PROBED, Wire};
pub use builder::{ACCOUNT, Builder};
pub use bytes::{BLOCK, Content, Sum, first_line, noise, send, sha256, take, take_after};
pub use client::Client;
pub use codes::Phone;
pub use keyring::Keyring;
pub use laptop::Laptop;
pub use link::Link;
pub use machine::{get, number};
pub use password::{PASSWORD, where_root_has_a_password};
pub use peer::{Peer, free_port};
pub use route::Route;
pub use server::{Server, binary};
pub use shared::Shared;
pub use sockets::{alive, end, freeze, thaw};
pub use spawn::lasting;
pub use strace::Strace;
pub use target::Target;
pub use terminal::Terminal;
pub use tools::{node_packages, python_tool};
pub use wait::{DEADLINE, ended, soon, until};

use builder::Plan;
use small_disk::SmallDisk;

/// One scene: a running bastion, its targets, and what its operators have in hand. Everything ends when it is dropped.
pub struct Rig {
    plan: Plan,
    server: Option<Server>,
    targets: Vec<Target>,
    phones: Vec<Phone>,
    /// For names of files that must not clash.
    count: AtomicU32,
    /// Unmounted when the scene ends.
    _disk: Option<SmallDisk>,
    // Dropped last: the others live in it.
    folder: tempfile::TempDir,
}

impl Rig {
    /// Begins a scene. `Rig::new().operator("ana").target("db1").start()`
    #[expect(clippy::new_ret_no_self, reason = "a scene is described first and started then")]
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A file or folder of the scene.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new folder of the scene.
    pub fn new_folder(&self, name: &str) -> PathBuf {
        let path = self.path(format!("{name}-{}", self.next()));
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// The folder of the bastion.
    pub fn state(&self) -> PathBuf {
        self.path("bartizan")
    }

    /// The running bastion.
    pub fn server(&self) -> &Server {
        self.server.as_ref().expect("the bastion was killed and not started again")
    }

    /// Ends the bastion as a power cut would.
    pub fn kill_server(&mut self) {
        self.server.take().expect("the bastion runs").kill();
    }

    /// Ends the bastion politely but at once, and returns how it exited.
    pub fn stop_server(&mut self) -> std::process::ExitStatus {
        self.server.take().expect("the bastion runs").stop()
    }

    /// Tells the bastion to stop, once, and leaves it to its sessions.
    pub fn drain_server(&self) {
        self.server().terminate();
    }

    /// Waits until the bastion has ended by itself, and returns how it exited.
    pub fn server_ended(&mut self) -> std::process::ExitStatus {
        self.server.take().expect("the bastion runs").ended()
    }

    /// Starts the bastion on the folder as it is, on whatever port is free now.
    pub fn start_server(&mut self) {
        self.server = Some(Server::start(&self.state(), self.folder.path()));
    }

    /// The target of this name.
    pub fn target(&self, name: &str) -> &Target {
        self.targets.iter().find(|target| target.name() == name).expect("a target of the scene")
    }

    /// The phone that makes this operator's codes.
    pub fn phone(&self, operator: &str) -> &Phone {
        self.find_phone(operator).expect("an operator of the scene with a phone")
    }

    pub(crate) fn find_phone(&self, operator: &str) -> Option<&Phone> {
        self.phones.iter().find(|phone| phone.operator() == operator)
    }

    /// A client in the hands of this operator, at their own device, answering with a fresh code when asked.
    pub fn client(&self, operator: &str) -> Client<'_> {
        Client::new(self, operator)
    }

    /// Runs a command of the bastion on this scene's folder.
    pub fn bartizan(&self, words: &[&str]) -> Output {
        bartizan(&self.state(), words)
    }

    /// Runs a command of the bastion that must succeed, and returns what it printed.
    pub fn said(&self, words: &[&str]) -> String {
        printed(self.bartizan(words), words)
    }

    /// Applies the bundle again with these grants taken away.
    pub fn apply_without_grants(&self) -> Output {
        let folder = self.new_folder("bundle");
        self.plan.without_grants().write(&folder, &self.targets);
        self.bartizan(&["access", "apply", folder.to_str().unwrap()])
    }

    /// Applies the bundle again with nothing but programs and files granted.
    pub fn apply_without_forwards(&self) -> Output {
        let folder = self.new_folder("bundle");
        self.plan.without_forwards().write(&folder, &self.targets);
        self.bartizan(&["access", "apply", folder.to_str().unwrap()])
    }

    /// The bundle of the beginning, with another address and host key (`algorithm base64`) for a target.
    pub fn bundle_with(&self, target: &str, address: SocketAddr, host_key: &str) -> String {
        let target = self.target(target);
        let text = std::fs::read_to_string(self.path("bundle/scene.toml")).unwrap();
        text.replace(&target.address().to_string(), &address.to_string()).replace(target.host_key(), host_key)
    }

    /// Applies a bundle of one file.
    pub fn apply(&self, bundle: &str) -> Output {
        let folder = self.new_folder("bundle");
        std::fs::write(folder.join("scene.toml"), bundle).unwrap();
        self.bartizan(&["access", "apply", folder.to_str().unwrap()])
    }

    /// Applies the bundle of the beginning.
    pub fn apply_again(&self) -> Output {
        let folder = self.new_folder("bundle");
        self.plan.write(&folder, &self.targets);
        self.bartizan(&["access", "apply", folder.to_str().unwrap()])
    }

    /// Applies the bundle of the beginning with its text changed.
    pub fn apply_changed(&self, change: impl Fn(String) -> String) -> Output {
        let folder = self.new_folder("bundle");
        self.plan.write(&folder, &self.targets);
        let file = folder.join("scene.toml");
        std::fs::write(&file, change(std::fs::read_to_string(&file).unwrap())).unwrap();
        self.bartizan(&["access", "apply", folder.to_str().unwrap()])
    }

    /// Applies the bundle of the beginning with another server in place of a target.
    pub fn stand_in(&self, target: &str, address: std::net::SocketAddr, host_key: &str) {
        let target = self.target(target);
        let text = std::fs::read_to_string(self.path("bundle/scene.toml")).unwrap();
        let text = text
            .replace(&target.address().to_string(), &address.to_string())
            .replace(target.host_key(), host_key);
        let folder = self.new_folder("bundle");
        std::fs::write(folder.join("scene.toml"), text).unwrap();
        self.said(&["access", "apply", folder.to_str().unwrap()]);
    }

    /// The plain host key of the bastion, `algorithm base64`, as clients pin it that know no certificates.
    pub fn plain_host_key(&self) -> String {
        let port = self.server().address().port().to_string();
        let scan =
            Command::new("ssh-keyscan").args(["-t", "ed25519", "-p", &port, "127.0.0.1"]).output().unwrap();
        let text = String::from_utf8(scan.stdout).unwrap();
        let line = text.lines().find(|line| !line.starts_with('#')).expect("a host key of the bastion");
        line.split_once(' ').unwrap().1.to_owned()
    }

    fn next(&self) -> u32 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        // Targets wait for their connections to end, so the bastion goes first.
        if let Some(server) = self.server.take() {
            server.kill();
        }
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.path("server.log")).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(60)..].join("\n");
            eprintln!("-- the bastion's last lines --\n{last}");
        }
    }
}

fn bartizan(state: &Path, words: &[&str]) -> Output {
    Command::new(binary("bartizan")).arg("--dir").arg(state).args(words).output().unwrap()
}

fn printed(output: Output, words: &[&str]) -> String {
    assert!(
        output.status.success(),
        "bartizan {words:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
