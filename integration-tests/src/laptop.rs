//! A laptop with `bartizan-agent` on it, as its owner would set it up: enrolled with a token, then running.
//! It never makes a proof itself: its agent does.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::spawn::lasting;
use crate::wait::{DEADLINE, until};
use crate::{Client, Rig, binary};

/// A machine that was enrolled, and its agent.
pub struct Laptop<'a> {
    rig: &'a Rig,
    dir: PathBuf,
    operator: String,
    name: String,
    agent: Option<Child>,
}

impl Drop for Laptop<'_> {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

impl<'a> Laptop<'a> {
    /// Registers a machine for the operator, with more words of `device register`, and enrols it.
    pub fn enrolled(rig: &'a Rig, operator: &str, name: &str, words: &[&str]) -> Self {
        let laptop = Self::unenrolled(rig, operator, name);
        let output = laptop.enrol(&laptop.register(words));
        assert!(output.status.success(), "{output:?}");
        laptop
    }

    /// A machine that nobody has heard of.
    pub fn unenrolled(rig: &'a Rig, operator: &str, name: &str) -> Self {
        let dir = rig.path(format!("agent-{name}"));
        Self { rig, dir, operator: operator.to_owned(), name: name.to_owned(), agent: None }
    }

    /// Has it registered, and returns the token.
    pub fn register(&self, words: &[&str]) -> String {
        let usual =
            ["device", "register", &self.name, "--operator", &self.operator, "--address", "127.0.0.1"];
        self.rig.said(&[&usual, words].concat()).trim().to_owned()
    }

    /// Brings a token to it.
    pub fn enrol(&self, token: &str) -> Output {
        let mut child = self.command(&["enroll", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(token.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What its collectors find, from now on.
    pub fn finds(&self, facts: &str) {
        std::fs::write(self.dir.join("facts"), facts).unwrap();
        let config = self.dir.join("agent.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        if !text.contains("facts_from") {
            std::fs::write(&config, format!("facts_from = \"facts\"\n{text}")).unwrap();
        }
        if self.agent.is_some() {
            let output = self.refresh();
            assert!(output.status.success(), "{output:?}");
        }
    }

    /// Has it hear what is asked for, and collect.
    pub fn refresh(&self) -> Output {
        self.command(&["refresh"]).output().unwrap()
    }

    /// Starts the agent.
    pub fn running(mut self) -> Self {
        let log = std::fs::File::create(self.dir.join("log")).unwrap();
        self.agent = Some(lasting(self.command(&["run"]).stdout(Stdio::null()).stderr(log)));
        let socket = self.socket();
        until("the agent to listen", DEADLINE, || socket.exists().then_some(()));
        self
    }

    /// `ssh` and its like, at this machine.
    pub fn client(&self) -> Client<'a> {
        let client = self.rig.client(&self.operator).without_device();
        client.option(&format!("IdentityAgent {}", self.socket().display())).option("IdentitiesOnly no")
    }

    /// The report that it would send now.
    pub fn report(&self) -> String {
        let output = self.command(&["show", "--json"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("agent.sock")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary("bartizan-agent"));
        command.arg("--dir").arg(&self.dir).args(words);
        command.env("HOME", &self.dir).env_remove("SSH_AUTH_SOCK").env_remove("XDG_CONFIG_HOME");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}
