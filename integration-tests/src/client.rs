//! An operator at a machine: stock clients with a configuration file and an answer to the prompt.
//! It never touches the caller's own `~/.ssh` or agent.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::clock;
use crate::{ACCOUNT, Link, Rig, Route, Shared, Terminal};

/// Who connects, by which route, from which device, with which answer.
#[derive(Clone)]
pub struct Client<'a> {
    rig: &'a Rig,
    route: Route,
    operator: String,
    key_of: String,
    device_of: Option<String>,
    answer: Option<String>,
    options: Vec<String>,
    bastion_options: Vec<String>,
    port: Option<u16>,
}

impl<'a> Client<'a> {
    pub(crate) fn new(rig: &'a Rig, operator: &str) -> Self {
        Self {
            rig,
            route: Route::Direct,
            operator: operator.to_owned(),
            key_of: operator.to_owned(),
            device_of: Some(operator.to_owned()),
            answer: None,
            options: Vec::new(),
            bastion_options: Vec::new(),
            port: None,
        }
    }

    /// Goes to its targets this way.
    pub fn by(mut self, route: Route) -> Self {
        self.route = route;
        self
    }

    /// Jumps over a connection to the bastion that is already open.
    pub fn over(mut self, shared: &Shared) -> Self {
        self.bastion_options.push(format!("ControlPath {}", shared.socket().display()));
        self.by(Route::Jump)
    }

    /// Reaches the bastion over this link.
    pub fn through(mut self, link: &Link) -> Self {
        self.port = Some(link.address().port());
        self
    }

    /// Offers no device key.
    pub fn without_device(mut self) -> Self {
        self.device_of = None;
        self
    }

    /// Offers another operator's device key.
    pub fn at_device_of(mut self, operator: &str) -> Self {
        self.device_of = Some(operator.to_owned());
        self
    }

    /// Offers another operator's key.
    pub fn with_key_of(mut self, operator: &str) -> Self {
        self.key_of = operator.to_owned();
        self
    }

    /// Answers every prompt with this.
    pub fn answering(mut self, answer: &str) -> Self {
        self.answer = Some(answer.to_owned());
        self
    }

    /// One more line of ssh_config, for the connection in which commands run.
    pub fn option(mut self, line: &str) -> Self {
        self.options.push(line.to_owned());
        self
    }

    /// `operator+account+target@bastion`, or `account@target` by a jump.
    pub fn at(&self, target: &str) -> String {
        self.as_account(ACCOUNT, target)
    }

    /// The same for another account.
    pub fn as_account(&self, account: &str, target: &str) -> String {
        match self.route {
            Route::Direct => format!("{}+{account}+{target}@bastion", self.operator),
            Route::Jump => format!("{account}@{target}"),
        }
    }

    /// `ssh://` and the same, for programs that read addresses. There a plus may mean a space, so commas stand for it.
    pub fn url(&self, target: &str, path: &Path) -> String {
        format!("ssh://{}{}", self.at(target).replace('+', ","), path.display())
    }

    /// A client program (`ssh`, `scp`, `sftp`) with its configuration. Asked for a code, it answers.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.arguments());
        self.prepare(&mut command);
        command
    }

    /// The configuration and the jump, as every client program takes them.
    fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["-F".to_owned(), self.configuration().display().to_string()];
        if self.route == Route::Jump {
            arguments.extend(["-J".to_owned(), self.alone()]);
        }
        arguments
    }

    /// For programs that call `ssh` themselves: the command line for `rsync -e` or `GIT_SSH_COMMAND`.
    pub fn remote_shell(&self) -> String {
        format!("ssh {}", self.arguments().join(" "))
    }

    /// For programs with a client of their own: the command that carries them to a target, inside the bastion's login.
    pub fn proxy(&self, target: &str) -> String {
        format!("ssh -F {} -W {target}:22 {}", self.configuration().display(), self.alone())
    }

    /// The environment in which prompts are answered.
    pub fn prepare(&self, command: &mut Command) {
        let answer = self.rig.path(format!("answer-{}", self.rig.next()));
        let answered = std::fs::read_to_string(self.rig.path("answered")).unwrap_or_default();
        let ready = || match self.rig.find_phone(&self.operator) {
            Some(phone) => phone.ready(|code| answered.lines().any(|line| line == code)),
            None => "no phone".to_owned(),
        };
        let code = self.answer.clone().unwrap_or_else(ready);
        std::fs::write(&answer, format!("{code}\n")).unwrap();
        clock::lend_to_client(command, &self.rig.path(""));
        command
            .env_remove("SSH_AUTH_SOCK")
            .env("SSH_ASKPASS", self.askpass())
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("BARTIZAN_TEST_ANSWER", &answer)
            .env("LC_ALL", "C")
            .stdin(Stdio::null());
    }

    /// Runs one command on a target.
    pub fn ssh(&self, target: &str, line: &str) -> Output {
        self.command("ssh").arg(self.at(target)).arg(line).output().unwrap()
    }

    /// Says a word to the bastion itself: `ssh operator@bastion WORD...`.
    pub fn word(&self, word: &str) -> Output {
        self.clone().by(Route::Direct).command("ssh").arg(self.alone()).arg(word).output().unwrap()
    }

    /// Says a word on a terminal, or none: `ssh -t operator@bastion WORD...`. Prompts are answered by the test.
    pub fn word_on_terminal(&self, word: &str) -> Terminal {
        let mut command = Command::new("ssh");
        command.arg("-t").arg("-F").arg(self.configuration()).arg(self.alone());
        command.args(Some(word).filter(|word| !word.is_empty()));
        command.env_remove("SSH_AUTH_SOCK").env_remove("SSH_ASKPASS").env("TERM", "xterm-256color");
        Terminal::open(command)
    }

    /// Opens a connection that words can share.
    pub fn share_words(&self) -> Shared {
        let socket = self.rig.path(format!("mux-{}", self.rig.next()));
        Shared::open(&self.clone().by(Route::Direct), socket, self.alone())
    }

    /// `operator@bastion`.
    fn alone(&self) -> String {
        format!("{}@bastion", self.operator)
    }

    /// Starts one command on a target, with pipes to all its streams.
    pub fn start(&self, target: &str, line: &str) -> Child {
        self.command("ssh")
            .arg(self.at(target))
            .arg(line)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Opens a connection that commands can share.
    pub fn share(&self, target: &str) -> Shared {
        let socket = self.rig.path(format!("mux-{}", self.rig.next()));
        Shared::open(self, socket, self.at(target))
    }

    /// Opens a shell on a terminal. The code is typed by the test.
    pub fn terminal(&self, target: &str) -> Terminal {
        let mut command = Command::new("ssh");
        command.args(self.arguments()).arg(self.at(target));
        command.env_remove("SSH_AUTH_SOCK").env_remove("SSH_ASKPASS").env("TERM", "xterm-256color");
        Terminal::open(command)
    }

    /// The prompts that were answered in this scene so far, without the `(name@host) ` that `ssh` puts before them.
    pub fn prompts(&self) -> Vec<String> {
        let seen = std::fs::read_to_string(self.rig.path("prompts")).unwrap_or_default();
        let bare = |line: &str| line.split_once(") ").map_or(line, |(_, prompt)| prompt).to_owned();
        seen.lines().map(bare).collect()
    }

    /// Device key first, then the person's, and nothing else.
    fn configuration(&self) -> PathBuf {
        let path = self.rig.path(format!("ssh-config-{}", self.rig.next()));
        // Without a server the test says in an option where to connect.
        let listening = || self.rig.server.as_ref().map_or(1, |server| server.address().port());
        let port = self.port.unwrap_or_else(listening);
        let folder = self.rig.path("");
        let folder = folder.display();
        let device = self
            .device_of
            .as_ref()
            .map(|of| format!("  IdentityFile {folder}{of}-device\n"))
            .unwrap_or_default();
        let lines = |lines: &[String]| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
        let (bastion, last) = (lines(&self.bastion_options), lines(&self.options));
        // By a jump the last host is the target; else the bastion is all that `ssh` knows of.
        let (bastion, target) = match self.route {
            Route::Direct => (bastion + &last, String::new()),
            Route::Jump => (bastion, format!("Host * !bastion\n{last}")),
        };
        let text = format!(
            "Host bastion\n{bastion}  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias bastion.test\n{device}  IdentityFile {folder}{}-key\n  \
             NumberOfPasswordPrompts 1\n  PreferredAuthentications publickey,keyboard-interactive\n\
             {target}Host *\n  IdentitiesOnly yes\n  IdentityAgent none\n  UserKnownHostsFile {folder}known_hosts\n  \
             GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n",
            self.key_of
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// A program that says what is in the answer file and notes what it was asked.
    fn askpass(&self) -> PathBuf {
        let path = self.rig.path("askpass");
        if !path.exists() {
            let folder = self.rig.path("");
            let folder = folder.display();
            let text = format!(
                "#!/bin/sh\nprintf '%s\\n' \"$1\" >> '{folder}prompts'\ncat \"$BARTIZAN_TEST_ANSWER\" >> '{folder}answered'\n\
                 exec cat \"$BARTIZAN_TEST_ANSWER\"\n"
            );
            // Renamed into place: another thread may be about to run it.
            let fresh = self.rig.path(format!("askpass-{}", self.rig.next()));
            std::fs::write(&fresh, text).unwrap();
            let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
            std::fs::set_permissions(&fresh, mode).unwrap();
            std::fs::rename(&fresh, &path).unwrap();
        }
        path
    }
}
