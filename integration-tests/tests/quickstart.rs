//! The README's first command, by somebody who has nothing: an empty home and an empty environment.
//! It never prepares anything by hand.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;

use bartizan_integration_tests::{DEADLINE, Phone, Terminal, binary, ended, until};

/// A quickstart in a home of its own.
struct Newcomer {
    home: tempfile::TempDir,
    server: Child,
    said: mpsc::Receiver<String>,
}

impl Newcomer {
    fn arrives() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (server, said) = quickstart(home.path());
        Self { home, server, said }
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        bare(self.home.path(), program)
    }

    fn bartizan(&self, words: &[&str]) -> Output {
        self.command(binary("bartizan")).args(words).output().unwrap()
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

fn quickstart(home: &Path) -> (Child, mpsc::Receiver<String>) {
    let mut server = bare(home, binary("bartizan"))
        .args(["quickstart", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let out = BufReader::new(server.stdout.take().unwrap());
    let (sender, said) = mpsc::channel();
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    (server, said)
}

#[test]
fn a_newcomer_gets_a_recorded_shell_with_one_line_and_one_code() {
    let mut newcomer = Newcomer::arrives();
    let greeting = newcomer.greeting();
    let phone = Phone::scanning(&greeting);
    let line = greeting.lines().find(|line| line.contains("ssh -F ")).unwrap().trim();
    let line = &line[line.find("ssh -F ").unwrap()..];

    let mut ssh = newcomer.command("sh");
    ssh.args(["-c", &format!("exec {line}")]).env("TERM", "xterm");
    let mut shell = Terminal::open(ssh);
    shell.expect("One-time code: ");
    shell.line(&phone.fresh());
    shell.line("echo hel''lo from $0");
    shell.expect("hello from ");
    shell.line("exit");
    assert_eq!(shell.exit(), 0);

    let recording = until("the recording", DEADLINE, || {
        let listed = newcomer.bartizan(&["recording", "list", "--json"]);
        let text = String::from_utf8(listed.stdout).unwrap();
        let at = text.find("\"r-")?;
        Some(text[at + 1..at + 29].to_owned())
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
    (newcomer.server, newcomer.said) = quickstart(newcomer.home.path());
    newcomer.greeting();
    let listed = newcomer.bartizan(&["recording", "list", "--json"]);
    assert!(
        String::from_utf8_lossy(&listed.stdout).contains(&recording),
        "run again, it serves what is there"
    );
}

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
    assert!(Command::new("cp").arg("-a").arg(state.join("log")).arg(&copy).status().unwrap().success());
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
