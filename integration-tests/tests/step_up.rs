//! A target that asks for more than the login gave: a fresh code or a reason, asked for inside the jump and at the direct
//! login, by stock `ssh`. It never looks at what is asked but through the prompts that `ssh` shows.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{ACCOUNT, Builder, DEADLINE, Rig, Terminal, until};

/// Exit status of a refused channel.
const REFUSED: i32 = 254;
/// What `ssh` itself exits with when it was not let in.
const NOT_LET_IN: i32 = 255;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace('\r', "")
}

fn ran(output: &Output) {
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b"in\n"[..], Some(0)), "{}", told(output));
}

/// A scene whose one grant asks for this, and where `vault1` exists and nobody may reach it.
fn asking(require: &str) -> Rig {
    changed(Rig::new().operator("ana").target("db1").forbidden_target("vault1"), require)
}

fn changed(builder: Builder, require: &str) -> Rig {
    let rig = builder.start();
    let text = std::fs::read_to_string(rig.path("bundle/scene.toml")).unwrap();
    let folder = rig.new_folder("bundle");
    let grant = format!("require = {{ {require} }}\nallow = [\"shell\"");
    assert!(text.contains("allow = [\"shell\""), "{text}");
    std::fs::write(folder.join("scene.toml"), text.replace("allow = [\"shell\"", &grant)).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
    rig
}

/// A laptop that jumps: `ssh NAME` goes through the bastion, by one shared connection where there is one.
struct Laptop<'a> {
    rig: &'a Rig,
    folder: PathBuf,
}

impl<'a> Laptop<'a> {
    fn new(rig: &'a Rig) -> Self {
        let folder = rig.new_folder("laptop");
        let keys = rig.path("");
        let (keys, port) = (keys.display(), rig.server().address().port());
        let text = format!(
            "Host bastion\n  HostName 127.0.0.1\n  Port {port}\n  HostKeyAlias bastion.test\n  User ana\n  \
             IdentityFile {keys}ana-device\n  IdentityFile {keys}ana-key\n  ControlPath {}/mux\n  ControlMaster no\n\
             Host db1 vault1 nowhere1\n  ProxyJump bastion\n  User {ACCOUNT}\n  StrictHostKeyChecking no\n\
             Host *\n  IdentitiesOnly yes\n  IdentityFile none\n  IdentityAgent none\n  UserKnownHostsFile {keys}known_hosts\n  \
             GlobalKnownHostsFile /dev/null\n  NumberOfPasswordPrompts 1\n",
            folder.display()
        );
        std::fs::write(folder.join("config"), text).unwrap();
        // Says what the file of the prompt's last word holds, and notes what was asked.
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$1\" >> '{0}/asked'\ncase \"$1\" in\n*Reason*) exec cat '{0}/reason' ;;\n\
             *{ACCOUNT}@*) exec cat '{0}/inner' ;;\n*) exec cat '{0}/outer' ;;\nesac\n",
            folder.display()
        );
        std::fs::write(folder.join("askpass"), script).unwrap();
        let mode = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(folder.join("askpass"), mode).unwrap();
        let laptop = Self { rig, folder };
        for prompt in ["outer", "inner", "reason"] {
            laptop.will_say(prompt, "nothing");
        }
        laptop
    }

    /// The answer to one of the prompts: `outer` and `inner` ask for codes.
    fn will_say(&self, prompt: &str, answer: &str) {
        std::fs::write(self.folder.join(prompt), format!("{answer}\n")).unwrap();
    }

    /// Logs in with a fresh code, once; from then on the bastion remembers it on this device.
    fn logged_in(self) -> Self {
        self.will_say("outer", &self.rig.phone("ana").fresh());
        let output = self.command(&["bastion", "whoami"]).output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        self.forget();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.folder.join("config")).args(arguments).stdin(Stdio::null());
        command.env_remove("SSH_AUTH_SOCK").env("LC_ALL", "C");
        command.env("SSH_ASKPASS", self.folder.join("askpass")).env("SSH_ASKPASS_REQUIRE", "force");
        command
    }

    fn jump(&self, name: &str) -> Output {
        self.command(&[name, "echo in"]).output().unwrap()
    }

    /// The prompts since the last time, without what `ssh` puts before them.
    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("asked")).unwrap_or_default();
        self.forget();
        text.lines().map(|line| line.split_once(") ").map_or(line, |(_, prompt)| prompt).to_owned()).collect()
    }

    fn forget(&self) {
        let _ = std::fs::remove_file(self.folder.join("asked"));
    }

    /// Opens the connection to the bastion that the jumps share.
    fn shared(&self) -> Master {
        let master = self.command(&["-N", "-M", "bastion"]).stderr(Stdio::null()).spawn().unwrap();
        let socket = self.folder.join("mux");
        until("the shared connection", DEADLINE, || socket.exists().then_some(()));
        Master(master)
    }
}

struct Master(Child);

impl Drop for Master {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a code that was given by now is older than the 30 seconds that the grants here ask for.
fn grown_stale() {
    let given = Instant::now();
    until("the code to grow stale", DEADLINE, || (given.elapsed() > Duration::from_secs(31)).then_some(()));
}

fn events(rig: &Rig, kind: &str) -> Vec<serde_json::Value> {
    rig.events().into_iter().filter(|event| event["type"] == kind).collect()
}

#[test]
fn a_stale_code_is_asked_again_inside_the_jump_and_then_counts_for_the_next() {
    let rig = asking("fresh = \"30s\"");
    // The login takes the code of the step to come, so that the step is still in the window when it is tried again.
    rig.phone("ana").fresh();
    let laptop = Laptop::new(&rig).logged_in();
    let login = rig.phone("ana").used();
    let shared = laptop.shared();
    ran(&laptop.jump("db1"));
    assert!(laptop.asked().is_empty(), "the code of the login is fresh");
    grown_stale();

    laptop.will_say("inner", &login);
    let output = laptop.jump("db1");
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b""[..], Some(NOT_LET_IN)));
    assert!(told(&output).contains("Permission denied (keyboard-interactive)"), "{}", told(&output));
    assert_eq!(laptop.asked(), ["One-time code: "]);
    let used = rig.refusal("LOGIN-005");
    let about = |key: &str| used[key].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        ["type", "outcome", "operator", "target", "account"].map(about),
        ["auth.step_up", "refused", "ana", "db1", ACCOUNT]
    );
    laptop.will_say("inner", &rig.phone("ana").wrong());
    assert_eq!(laptop.jump("db1").status.code(), Some(NOT_LET_IN));
    rig.refusal("LOGIN-004");

    laptop.forget();
    laptop.will_say("inner", &rig.phone("ana").fresh());
    ran(&laptop.jump("db1"));
    assert_eq!(laptop.asked(), ["One-time code: "]);
    ran(&laptop.jump("db1"));
    // Another connection from the same device.
    drop(shared);
    ran(&laptop.jump("db1"));
    assert!(laptop.asked().is_empty(), "asked again though the code is fresh");
    let steps = events(&rig, "auth.step_up");
    let ok: Vec<_> = steps.iter().filter(|event| event["outcome"] == "ok").collect();
    assert_eq!(ok.len(), 1, "{steps:#?}");
    assert_eq!(
        (&ok[0]["detail"]["asked"], &ok[0]["detail"]["remembered"]),
        (&"a one-time code".into(), &false.into())
    );
    assert_eq!(rig.sealed_recordings(4).len(), 4, "each jump was recorded");
    rig.verify_everything();
}

#[test]
fn a_code_given_elsewhere_on_the_device_counts_in_a_connection_that_was_open_before() {
    let rig = asking("fresh = \"30s\"");
    let laptop = Laptop::new(&rig).logged_in();
    let shared = laptop.shared();
    grown_stale();
    // A login that names the target is asked at the login itself.
    let direct = rig.client("ana").ssh("db1", "echo in");
    ran(&direct);
    ran(&laptop.jump("db1"));
    assert!(laptop.asked().is_empty());
    let steps = events(&rig, "auth.step_up");
    assert_eq!((steps.len(), &steps[0]["detail"]["remembered"]), (1, &true.into()), "{steps:#?}");
    drop(shared);
}

#[test]
fn a_reason_is_asked_by_both_doors_and_kept_with_the_session() {
    let rig = asking("reason = true");
    let laptop = Laptop::new(&rig).logged_in();
    laptop.will_say("reason", "  INC-42:\u{1b}[2J\u{202e} disk  full ");
    ran(&laptop.jump("db1"));
    assert_eq!(laptop.asked(), ["Reason: "]);
    let direct =
        laptop.command(&["-l", &format!("ana+{ACCOUNT}+db1"), "bastion", "echo in"]).output().unwrap();
    ran(&direct);
    assert_eq!(laptop.asked(), ["Reason: "]);

    let kept = "INC-42: [2J disk full";
    rig.sealed_recordings(2);
    for kind in ["auth.step_up", "session.session", "channel.session"] {
        let events = events(&rig, kind);
        let first = |event: &&serde_json::Value| event["detail"]["opened"].is_null();
        let reasons: Vec<_> = events.iter().filter(first).map(|event| &event["detail"]["reason"]).collect();
        assert_eq!(reasons, [kept, kept], "{kind}: {events:#?}");
    }
    let session = events(&rig, "session.session")[0]["session"].as_str().unwrap().to_owned();
    let shown = rig.said(&["session", "show", &session]);
    assert!(shown.lines().any(|line| line.starts_with("reason") && line.ends_with(kept)), "{shown}");
    let shown: serde_json::Value =
        serde_json::from_str(&rig.said(&["session", "show", &session, "--json"])).unwrap();
    assert_eq!(shown["reason"], kept);
}

#[test]
fn code_and_reason_are_asked_in_one_round_and_a_bad_reason_spends_no_code() {
    let rig = asking("fresh = \"30s\", reason = true");
    let laptop = Laptop::new(&rig).logged_in();
    grown_stale();
    let code = rig.phone("ana").fresh();
    laptop.will_say("inner", &code);
    laptop.will_say("reason", "");
    assert_eq!(laptop.jump("db1").status.code(), Some(NOT_LET_IN));
    assert_eq!(laptop.asked(), ["One-time code: ", "Reason: "]);
    assert_eq!(rig.refusal("LOGIN-014")["type"], "auth.step_up");
    laptop.will_say("reason", &"long ".repeat(100));
    assert_eq!(laptop.jump("db1").status.code(), Some(NOT_LET_IN));
    laptop.will_say("reason", "INC-42");
    ran(&laptop.jump("db1"));
}

#[test]
fn wrong_answers_are_asked_again_in_one_connection_and_not_for_ever() {
    let rig = asking("reason = true");
    let laptop = Laptop::new(&rig).logged_in();
    laptop.will_say("reason", "");
    let output = laptop.command(&["-o", "NumberOfPasswordPrompts=9", "db1", "echo in"]).output().unwrap();
    assert_eq!(output.status.code(), Some(NOT_LET_IN));
    let line = "bartizan: the reason was not accepted; write one line [LOGIN-014] ref ";
    assert!(told(&output).contains(line), "{}", told(&output));
    assert_eq!(laptop.asked(), ["Reason: "; 3]);
    assert_eq!(events(&rig, "auth.step_up").len(), 3);

    let mut command = laptop.command(&["-o", "NumberOfPasswordPrompts=9", "db1", "echo in"]);
    command.env_remove("SSH_ASKPASS").env_remove("SSH_ASKPASS_REQUIRE").env("TERM", "xterm");
    let mut terminal = Terminal::open(command);
    terminal.expect("Reason: ");
    terminal.line("");
    terminal.expect("not accepted");
    terminal.expect("Reason: ");
    terminal.line("INC-42");
    terminal.expect("in");
    assert_eq!(terminal.exit(), 0);
}

#[test]
fn a_client_that_cannot_be_asked_is_told_what_is_asked_and_the_log_says_what_was_not_given() {
    let rig = asking("reason = true");
    let laptop = Laptop::new(&rig).logged_in();
    let output = laptop.command(&["-o", "BatchMode=yes", "db1", "echo in"]).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b""[..], Some(NOT_LET_IN)));
    let said = told(&output);
    let line = said.lines().find(|line| line.starts_with("bartizan: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("db1 asks for a reason; ") && line.contains(" [ACCESS-005] ref "), "{said}");
    assert!(said.contains("Permission denied (keyboard-interactive)"), "{said}");
    let event = rig.refusal("ACCESS-005");
    assert_eq!(event["type"], "auth.step_up");
    assert!(line.ends_with(event["detail"]["ref"].as_str().unwrap()), "{line}: {event:#?}");
}

#[test]
fn names_that_are_unknown_and_names_that_are_forbidden_differ_in_nothing_and_ask_nothing() {
    let rig = asking("fresh = \"30s\", reason = true");
    let laptop = Laptop::new(&rig).logged_in();
    grown_stale();
    let tried = |name: &str| {
        let output = laptop.jump(name);
        assert_eq!(
            (output.stdout.as_slice(), output.status.code()),
            (&b""[..], Some(REFUSED)),
            "{}",
            told(&output)
        );
        assert!(laptop.asked().is_empty(), "{name} asks for something");
        let said = told(&output);
        let lines: Vec<String> =
            said.lines().map(|line| line.split(" ref ").next().unwrap().replace(name, "NAME")).collect();
        lines.into_iter().filter(|line| !line.starts_with("Warning: Permanently added")).collect::<Vec<_>>()
    };
    let (unknown, forbidden) = (tried("nowhere1"), tried("vault1"));
    assert_eq!(unknown, forbidden);
    assert!(unknown.iter().any(|line| line.contains("[ACCESS-000]")), "{unknown:?}");
    // An account that no grant names, of a target that asks for more on another.
    let output = laptop.command(&["-l", "nobody", "db1", "echo in"]).output().unwrap();
    assert_eq!(output.status.code(), Some(REFUSED), "{}", told(&output));
    assert!(told(&output).contains("[ACCESS-000]"), "{}", told(&output));
    assert!(laptop.asked().is_empty());
}

#[test]
fn what_cannot_be_given_at_a_prompt_is_told_by_the_channel() {
    let rig = asking("reason = true, posture = \"healthy\"");
    let laptop = Laptop::new(&rig).logged_in();
    let output = laptop.jump("db1");
    assert_eq!(output.status.code(), Some(REFUSED), "{}", told(&output));
    assert!(told(&output).contains("[POSTURE-009]"), "{}", told(&output));
    assert!(laptop.asked().is_empty());
}

#[test]
fn a_rule_that_reads_the_reason_has_it_asked_and_judges_it() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let folder = rig.new_folder("bundle");
    std::fs::copy(rig.path("bundle/scene.toml"), folder.join("scene.toml")).unwrap();
    let rule = "@id(\"ticket\") forbid (principal, action, resource)\n\
        unless { context has reason && context.reason like \"INC-*\" };\n";
    std::fs::write(folder.join("rules.cedar"), rule).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
    let laptop = Laptop::new(&rig).logged_in();
    laptop.will_say("reason", "because");
    let output = laptop.jump("db1");
    assert_eq!((laptop.asked(), output.status.code()), (vec!["Reason: ".to_owned()], Some(REFUSED)));
    assert!(told(&output).contains("[ACCESS-004]"), "{}", told(&output));
    laptop.will_say("reason", "INC-42");
    ran(&laptop.jump("db1"));
}
