//! The README's first command, by somebody who has nothing: an empty home and an empty environment.
//! It never prepares anything by hand.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use bartizan_integration_tests::{DEADLINE, Phone, Terminal, binary, ended, lasting, until};
use serde_json::Value;

/// A quickstart in a home of its own.
struct Newcomer {
    home: tempfile::TempDir,
    server: Child,
    said: mpsc::Receiver<String>,
    agent: Option<PathBuf>,
}

impl Newcomer {
    fn arrives() -> Self {
        Self::arrives_with(|_| None)
    }

    /// Somebody whose home was lived in, and whose own agent may run; what prepares it gives its socket.
    fn arrives_with(prepare: impl FnOnce(&Path) -> Option<PathBuf>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let agent = prepare(home.path());
        let (server, said) = quickstart(home.path(), agent.as_deref());
        Self { home, server, said, agent }
    }

    /// Runs it once more after it has ended.
    fn again(&mut self) {
        (self.server, self.said) = quickstart(self.home.path(), self.agent.as_deref());
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        bare(self.home.path(), program)
    }

    fn bartizan(&self, words: &[&str]) -> Output {
        self.command(binary("bartizan")).args(words).output().unwrap()
    }

    /// `ssh`, `scp` or `sftp` by the file that was written, as somebody who answers nothing.
    fn silently(&self, program: &str, words: &[&str]) -> Output {
        let file = ["-F", "bartizan/ssh_config", "-o", "BatchMode=yes"];
        self.command(program).args(file).args(words).output().unwrap()
    }

    fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let listed = self.bartizan(&["audit", "list", "--json", "--type", kind]);
        assert!(listed.status.success(), "{listed:?}");
        let text = String::from_utf8(listed.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn devices(&self) -> Vec<serde_json::Value> {
        let listed = self.bartizan(&["device", "list", "--json"]);
        serde_json::from_slice(&listed.stdout).unwrap()
    }

    /// What the server prints, up to and with the line to try.
    fn greeting(&self) -> String {
        let mut text = String::new();
        while !text.contains("ssh -F ") {
            text +=
                &self.said.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("no line to try in:\n{text}"));
            text.push('\n');
        }
        text
    }

    /// Logs in by the line of the greeting, on a terminal, with the one code that is asked for.
    fn logs_in(&self, greeting: &str, phone: &Phone) -> Terminal {
        let line = greeting.lines().find(|line| line.contains("ssh -F ")).unwrap().trim();
        let mut ssh = self.command("sh");
        ssh.args(["-c", &format!("exec {}", &line[line.find("ssh -F ").unwrap()..])]).env("TERM", "xterm");
        let mut shell = Terminal::open(ssh);
        shell.expect("One-time code: ");
        shell.line(&phone.fresh());
        shell
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Nothing but a home and the usual places for programs.
fn bare(home: &Path, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
        .current_dir(home);
    command
}

fn quickstart(home: &Path, agent: Option<&Path>) -> (Child, mpsc::Receiver<String>) {
    let mut command = bare(home, binary("bartizan"));
    if let Some(agent) = agent {
        command.env("SSH_AUTH_SOCK", agent);
    }
    let log = std::fs::File::create(home.join("server.log")).unwrap();
    command.args(["quickstart", "--listen", "127.0.0.1:0"]);
    let mut server = lasting(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log));
    let out = BufReader::new(server.stdout.take().unwrap());
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    (server, said)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_newcomer_gets_a_recorded_shell_with_one_line_and_one_code() {
    let mut newcomer = Newcomer::arrives();
    let greeting = newcomer.greeting();
    assert_eq!(greeting.matches("ssh -F ").count(), 1, "one line to try: {greeting}");
    let phone = Phone::scanning(&greeting);
    let mut shell = newcomer.logs_in(&greeting, &phone);
    shell.line("echo hel''lo from $0");
    shell.expect("hello from ");
    shell.line("exit 3");
    assert_eq!(shell.exit(), 3);

    let recording = until("the recording", DEADLINE, || {
        let listed = newcomer.bartizan(&["recording", "list", "--json"]);
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let sealed = listed.as_array()?.iter().find(|one| one["state"] == "sealed")?;
        Some(sealed["id"].as_str()?.to_owned())
    });
    let played = newcomer.bartizan(&["recording", "play", &recording, "--speed", "1000"]);
    assert!(String::from_utf8_lossy(&played.stdout).contains("hello from"), "{played:?}");
    let exported = newcomer.bartizan(&["recording", "export", &recording, "--format", "text"]);
    assert!(String::from_utf8_lossy(&exported.stdout).contains("hello from"), "{exported:?}");
    for words in [&["recording", "verify", &recording][..], &["audit", "verify"]] {
        let said = newcomer.bartizan(words);
        assert!(said.status.success() && String::from_utf8_lossy(&said.stdout).contains("ok"), "{said:?}");
    }
    flipped_bytes_are_named(&newcomer, &recording);

    newcomer.server.kill().unwrap();
    ended("the server", &mut newcomer.server, DEADLINE);
    newcomer.again();
    newcomer.greeting();
    let listed = newcomer.bartizan(&["recording", "list", "--json"]);
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains(&recording),
        "run again, it serves what is there"
    );
    let silent = newcomer.silently("ssh", &["demo", "echo in"]);
    assert_eq!(
        silent.stdout,
        b"in\n",
        "the agent too, over the sockets of one that was killed: {}",
        text(&silent)
    );
}

#[test]
fn the_machine_proves_itself_at_every_login_and_the_code_is_remembered() {
    let mut newcomer = Newcomer::arrives();
    let greeting = newcomer.greeting();
    let mut shell = newcomer.logs_in(&greeting, &Phone::scanning(&greeting));
    shell.line("exit");
    assert_eq!(shell.exit(), 0);

    let output = newcomer.silently("ssh", &["demo", "echo out; echo err >&2; exit 7"]);
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b"out\n"[..], Some(7)),
        "{}",
        text(&output)
    );
    std::fs::write(newcomer.home.path().join("sent"), "by scp").unwrap();
    let there = newcomer.home.path().join("there");
    let copied = newcomer.silently("scp", &["sent", &format!("demo:{}", there.display())]);
    assert!(copied.status.success(), "{}", text(&copied));
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "by scp");
    std::fs::write(newcomer.home.path().join("batch"), format!("get {} back\n", there.display())).unwrap();
    let fetched = newcomer.silently("sftp", &["-b", "batch", "demo"]);
    assert!(fetched.status.success(), "{}", text(&fetched));
    assert_eq!(std::fs::read_to_string(newcomer.home.path().join("back")).unwrap(), "by scp");
    let said = newcomer.silently("ssh", &["bastion", "whoami", "--json"]);
    assert!(text(&said).contains("bound"), "words too: {}", text(&said));

    let logins = newcomer.events("auth.login");
    assert_eq!(logins.len(), 5, "{logins:#?}");
    let [device] = &newcomer.devices()[..] else { panic!("one device: {:?}", newcomer.devices()) };
    for (at, login) in logins.iter().enumerate() {
        assert_eq!((&login["outcome"], &login["device"]), (&"ok".into(), &device["name"]), "{login:#}");
        assert_eq!(login["detail"]["evidence"], "bound", "{login:#}");
        assert_eq!(login["detail"]["remembered"], at > 0, "{login:#}");
    }
    let registered = newcomer.events("admin.device.register");
    assert_eq!(registered.last().unwrap()["detail"]["word"]["fingerprint"], device["fingerprint"]);
    let verified = newcomer.bartizan(&["recording", "verify"]);
    assert!(text(&verified).starts_with("ok: 4 recordings"), "{}", text(&verified));

    // Nothing proves the machine but the agent inside the server, which ends with it.
    let alone = newcomer.silently("ssh", &["-o", "IdentityAgent=none", "bastion", "whoami"]);
    assert_eq!((alone.stdout.as_slice(), alone.status.code()), (&b""[..], Some(255)), "{}", text(&alone));
    let agent = newcomer.home.path().join("bartizan/agent");
    interrupt(&mut newcomer.server);
    assert!(!agent.join("agent.sock").exists() && !agent.join("control.sock").exists());
    newcomer.again();
    newcomer.greeting();
    let again = newcomer.silently("ssh", &["demo", "echo in"]);
    assert_eq!(again.stdout, b"in\n", "{}", text(&again));
    let doctor = newcomer
        .command(binary("bartizan-agent"))
        .args(["--dir", "bartizan/agent", "doctor", "--ssh-config", "bartizan/ssh_config"])
        .output()
        .unwrap();
    let wrong: Vec<_> = String::from_utf8_lossy(&doctor.stdout)
        .lines()
        .filter(|line| !line.starts_with("ok") && !line.contains("fact "))
        .map(str::to_owned)
        .collect();
    assert!(wrong.is_empty() && !doctor.stdout.is_empty(), "{wrong:?} {}", text(&doctor));
}

/// As Ctrl-C does.
fn interrupt(server: &mut Child) {
    let sent = Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let status = ended("the server", server, DEADLINE);
    assert_eq!(status.code(), Some(0));
}

fn keygen(words: &[&str], path: &Path) {
    let made = Command::new("ssh-keygen").arg("-q").args(words).arg("-f").arg(path).output().unwrap();
    assert!(made.status.success(), "{made:?}");
}

#[test]
fn the_first_key_of_the_home_is_the_persons_and_their_own_agent_goes_on_signing_with_it() {
    let mut own = None;
    let newcomer = Newcomer::arrives_with(|home| {
        let socket = home.join("own.sock");
        own = Some(
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap(),
        );
        std::fs::create_dir(home.join(".ssh")).unwrap();
        let key = home.join(".ssh/id_ed25519");
        keygen(&["-t", "ed25519", "-N", ""], &key);
        until("the agent", DEADLINE, || socket.exists().then_some(()));
        let add =
            || bare(home, "ssh-add").arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket).output().unwrap();
        let added = add();
        assert!(added.status.success(), "{added:?}");
        // From now on nobody but that agent can use it.
        keygen(&["-p", "-P", "", "-N", "a passphrase that nobody types"], &key);
        Some(socket)
    });
    let greeting = newcomer.greeting();
    let mut shell = newcomer.logs_in(&greeting, &Phone::scanning(&greeting));
    shell.line("exit");
    assert_eq!(shell.exit(), 0);
    assert!(!newcomer.home.path().join("bartizan/person_key").exists());
    let mut own = own.unwrap();
    own.kill().unwrap();
    own.wait().unwrap();
    let without = newcomer.silently("ssh", &["demo", "true"]);
    assert_eq!(without.status.code(), Some(255), "it was that agent: {}", text(&without));
}

#[test]
fn a_directory_of_an_older_quickstart_is_served_with_the_device_it_has() {
    let newcomer = Newcomer::arrives_with(|home| {
        let say = |words: &[&str]| {
            let said =
                bare(home, binary("bartizan")).args(["--dir", "bartizan"]).args(words).output().unwrap();
            assert!(said.status.success(), "{words:?}: {said:?}");
            String::from_utf8(said.stdout).unwrap()
        };
        say(&["init"]);
        let state = home.join("bartizan");
        std::fs::write(state.join("bartizan.toml"), OLDER).unwrap();
        keygen(&["-t", "ed25519", "-N", "", "-C", "device key of this machine"], &state.join("device_key"));
        let whoami = Command::new("id").arg("-un").output().unwrap();
        let operator = String::from_utf8(whoami.stdout).unwrap().trim().to_owned();
        say(&["operator", "add", &operator, "--role", "demo"]);
        let key = state.join("device_key.pub");
        say(&["device", "register", "older", "--operator", &operator, "--key", key.to_str().unwrap()]);
        None
    });
    let greeting = newcomer.greeting();
    let mut shell = newcomer.logs_in(&greeting, &Phone::scanning(&greeting));
    shell.line("exit");
    assert_eq!(shell.exit(), 0);
    let names: Vec<_> = newcomer.devices().iter().map(|device| device["name"].clone()).collect();
    assert_eq!(names, ["older"]);
    let logins = newcomer.events("auth.login");
    assert_eq!((&logins[0]["device"], &logins[0]["detail"]["evidence"]), (&"older".into(), &"bound".into()));
    let log = std::fs::read_to_string(newcomer.home.path().join("server.log")).unwrap();
    assert!(log.contains("evidence") && log.contains("write \"bound\""), "what to do is told: {log}");
}

/// The configuration that an older quickstart wrote.
const OLDER: &str =
    "# quickstart: served with the demo target. Without this line `bartizan quickstart` serves plainly.

[ssh]
listen = [\"127.0.0.1:2222\"]

[device]
require = \"managed\"
# A plain device key of the inventory is enough: it lies in this directory.
evidence = \"key\"
";

/// One flipped byte in a copy of the recording and in a copy of the log: both verifiers point at it.
fn flipped_bytes_are_named(newcomer: &Newcomer, recording: &str) {
    let state = newcomer.home.path().join("bartizan");
    let file = state.join("recordings").join(format!("{recording}.rec"));
    let whole = std::fs::read(&file).unwrap();
    let mut broken = whole.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    std::fs::write(&file, &broken).unwrap();
    let said = newcomer.bartizan(&["recording", "verify", recording]);
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(names_a_position(&said), "{said:?}");
    std::fs::write(&file, &whole).unwrap();
    assert!(newcomer.bartizan(&["recording", "verify", recording]).status.success());

    let copy = newcomer.home.path().join("log-copy");
    until("a copy of the log, not taken while a checkpoint is changed", DEADLINE, || {
        let _ = std::fs::remove_dir_all(&copy);
        let copied = Command::new("cp").arg("-a").arg(state.join("log")).arg(&copy).output().unwrap();
        copied.status.success().then_some(())
    });
    let verify = || newcomer.command(binary("bartizan-verify")).arg(&copy).output().unwrap();
    assert!(verify().status.success(), "{:?}", verify());
    let largest = std::fs::read_dir(&copy)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut log = std::fs::read(&largest).unwrap();
    let middle = log.len() / 2;
    log[middle] ^= 1;
    std::fs::write(&largest, &log).unwrap();
    let said = verify();
    assert_eq!(said.status.code(), Some(1), "{said:?}");
    assert!(names_a_position(&said), "{said:?}");
}

fn names_a_position(output: &Output) -> bool {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text).to_lowercase();
    ["frame", "entry", "offset", "byte"].iter().any(|word| text.contains(word))
        && text.contains(|c: char| c.is_ascii_digit())
}
