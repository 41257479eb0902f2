//! A scene: a real sshd on loopback, an enrolled device, its running agent, a person with keys in a real ssh-agent.
//! It never reads the machine's own SSH configuration, and never listens beyond loopback.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What a scene stands on.
pub(crate) struct Scene {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    running: Vec<Child>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Scene {
    /// A person's key pair and the host keys `host` and `other`, and an sshd that presents `host` and asks any key.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("ba").tempdir().unwrap();
        for name in ["host", "other", "person", "ca"] {
            keygen(&folder.path().join(name));
        }
        let mut scene = Self { folder, port: 0, running: Vec::new() };
        scene.port = scene.sshd("host", "");
        scene
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The agent's folder.
    pub(crate) fn dir(&self) -> PathBuf {
        self.path("agent")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir().join("agent.sock")
    }

    pub(crate) fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// `algorithm base64` of a key.
    pub(crate) fn public(&self, name: &str) -> String {
        self.text(&format!("{name}.pub")).split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// Starts an sshd with this host key and more lines; gives its port. The person's key may log in.
    pub(crate) fn sshd(&mut self, host_key: &str, more: &str) -> u16 {
        let folder = self.folder.path().display();
        let config = self.path(&format!("sshd_{host_key}_{}", self.running.len()));
        let text = format!(
            "HostKey {folder}/{host_key}\nAuthorizedKeysFile {folder}/person.pub {folder}/authorized\nUsePAM no\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nUseDNS no\n\
             PidFile none\nPrintMotd no\nLogLevel VERBOSE\nAllowAgentForwarding yes\nMaxAuthTries 20\n{more}\n"
        );
        std::fs::write(&config, text).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let log = self.path("sshd.log");
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let socket = OwnedFd::from(socket);
                let mut child = Command::new("/usr/sbin/sshd");
                child.arg("-i").arg("-f").arg(&config).arg("-E").arg(&log).stderr(Stdio::null());
                child.stdin(Stdio::from(socket.try_clone().unwrap())).stdout(Stdio::from(socket));
                let mut child = child.spawn().unwrap();
                std::thread::spawn(move || child.wait());
            }
        });
        port
    }

    /// Enrols by hand: the device's key, and what it knows of the bastion. `pins` are lines of `[bastion]`.
    pub(crate) fn enrol(&self, pins: &str) {
        agent::FileKey::open_or_create(&self.dir()).unwrap();
        let text = format!(
            "device = \"lt-0421\"\nowner = \"alice\"\nfacts = [\"os_version\", \"disk_encryption\"]\nfacts_from = \"facts\"\n\
             [bastion]\nhost = \"127.0.0.1\"\nport = {}\n{pins}\n",
            self.port
        );
        std::fs::write(self.dir().join("agent.toml"), text).unwrap();
        self.facts("0");
    }

    /// What the collectors would find.
    pub(crate) fn facts(&self, encrypted: &str) {
        let facts = format!(r#"{{"disk_encryption":[{{"name":"/dev/dm-0","encrypted":"{encrypted}"}}]}}"#);
        std::fs::write(self.dir().join("facts"), facts).unwrap();
    }

    /// `bartizan-agent` on this scene's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bartizan-agent"));
        command.arg("--dir").arg(self.dir()).args(arguments);
        command.env("HOME", self.folder.path()).env_remove("SSH_AUTH_SOCK").env_remove("XDG_CONFIG_HOME");
        command.stdin(Stdio::null());
        command
    }

    /// Runs the agent, in front of this agent of the person's.
    pub(crate) fn run(&mut self, own: Option<&Path>) -> u32 {
        let mut command = self.command(&["run"]);
        if let Some(own) = own {
            command.env("SSH_AUTH_SOCK", own);
        }
        let log = std::fs::File::create(self.path("agent.log")).unwrap();
        let child = command.stderr(log).spawn().unwrap();
        let id = child.id();
        self.running.push(child);
        let socket = self.socket();
        wait(|| std::os::unix::net::UnixStream::connect(&socket).is_ok());
        id
    }

    /// A real ssh-agent that holds the person's key.
    pub(crate) fn own_agent(&mut self) -> PathBuf {
        let socket = self.path("own.sock");
        let child =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        self.running.push(child);
        wait(|| socket.exists());
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg(self.path("person"))
            .env("SSH_AUTH_SOCK", &socket)
            .output()
            .unwrap();
        assert!(added.status.success(), "{added:?}");
        socket
    }

    /// The stock client, against this port, with the agent and nothing else.
    pub(crate) fn ssh(&self, port: u16, arguments: &[&str]) -> Output {
        let agent = format!("IdentityAgent={}", self.socket().display());
        let mut command = self.client(port);
        command.arg("-o").arg(agent).args(arguments).output().unwrap()
    }

    /// The same by another agent.
    pub(crate) fn ssh_by(&self, agent: &str, port: u16) -> Output {
        self.client(port).args(["-o", agent, "127.0.0.1", "true"]).output().unwrap()
    }

    fn client(&self, port: u16) -> Command {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-v", "-p", &port.to_string(), "-l", "root", "-o", "IdentityFile=none"]);
        command.args([
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "BatchMode=yes",
        ]);
        command.stdin(Stdio::null());
        command
    }

    /// A folder's agent over this socket: `ssh-add` with these arguments.
    pub(crate) fn ssh_add(&self, arguments: &[&str]) -> Output {
        Command::new("ssh-add")
            .args(arguments)
            .env("SSH_AUTH_SOCK", self.socket())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// Makes a key pair without a passphrase.
pub(crate) fn keygen(path: &Path) {
    let name = path.file_name().unwrap().to_str().unwrap();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
}

/// Waits until something holds.
pub(crate) fn wait(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "it did not come to hold");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Both outputs as text.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
