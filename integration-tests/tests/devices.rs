//! A laptop that proves itself to the bastion inside stock `ssh`: enrolled by a token, in order or told what to do.
//! It never cheats: what does is in `proof/`.

use std::process::{Command, Output};

use bartizan_integration_tests::{ACCOUNT, Builder, Client, Laptop, Rig, ended, soon};

/// Exit status of a channel that the bastion refused.
const REFUSED: i32 = 254;

const ENCRYPTED: &str = r#"{"disk_encryption":[{"name":"/dev/sda2","encrypted":"1"}]}"#;
const PLAIN: &str = r#"{"disk_encryption":[{"name":"/dev/sda2","encrypted":"0"}]}"#;

const LEVEL: &str = r#"
[[level]]
name = "sealed"

[[level.check]]
name = "disk encryption"
table = "disk_encryption"
when = "resource.encrypted"
mode = "block"
failed = "{name} is not encrypted"
do = "turn on LUKS, run `bartizan-agent refresh`, connect again"
"#;

fn bound() -> Builder {
    Rig::new().operator("ana").target("db1").setting("device", "evidence = \"bound\"")
}

/// Applies the scene's bundle with these words of it replaced, and more of it at its end.
fn apply(rig: &Rig, (from, to): (&str, &str), more: &str) {
    let text = std::fs::read_to_string(rig.path("bundle").join("scene.toml")).unwrap();
    assert!(text.contains(from), "{text}");
    let folder = rig.new_folder("bundle");
    std::fs::write(folder.join("scene.toml"), text.replace(from, to) + more).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
}

/// Only sealed devices get in.
const LOGINS: (&str, &str) = ("[\"key\", \"code\"]", "[\"key\", \"code\"], posture = \"sealed\"");
/// Only sealed devices get to what the grant opens.
const GRANT: (&str, &str) = ("allow = [\"shell\"", "require = { posture = \"sealed\" }\nallow = [\"shell\"");
/// What opens `db2` to every device.
const EASIER: &str = "\n[[grant]]\nname = \"easier\"\nroles = [\"ops\"]\ntargets = [\"db2\"]\naccounts = [\"root\"]\n\
     allow = [\"shell\", \"exec\"]\n";

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace('\r', "")
}

fn goes_in(client: &Client<'_>) {
    let output = client.ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b"in\n"[..], Some(0)),
        "{}",
        told(&output)
    );
}

#[test]
fn an_enrolled_laptop_proves_itself_with_every_login_and_the_log_says_by_what() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    goes_in(&laptop.client());
    goes_in(&laptop.client());
    let events = rig.events();
    let logins: Vec<_> = events.iter().filter(|event| event["type"] == "auth.login").collect();
    assert_eq!(logins.len(), 2, "{logins:#?}");
    for login in logins {
        assert_eq!((login["outcome"].as_str(), login["device"].as_str()), (Some("ok"), Some("lt-ana")));
        assert_eq!(login["detail"]["evidence"], "bound");
    }
    assert!(
        events.iter().any(|event| event["type"] == "device.enrolment" && event["outcome"] == "ok"),
        "{events:#?}"
    );
    let shown = rig.said(&["device", "show", "lt-ana", "--json"]);
    assert!(shown.contains("collected_at"), "{shown}");
}

#[test]
fn a_plain_device_key_is_not_enough_where_a_bound_proof_is_asked_for() {
    let rig = bound().start();
    let output = rig.client("ana").ssh("db1", "echo in");
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b""[..], Some(255)), "{}", told(&output));
    rig.refusal("POSTURE-004");
}

#[test]
fn a_token_serves_once_and_whom_it_brings_waits_for_a_second_person() {
    let rig = bound().start();
    let laptop = Laptop::unenrolled(&rig, "ana", "lt-ana");
    let token = laptop.register(&[]);
    let output = laptop.enrol(&token);
    assert!(
        output.status.success() && String::from_utf8_lossy(&output.stdout).contains("pending"),
        "{output:?}"
    );
    let other = Laptop::unenrolled(&rig, "ana", "lt-other");
    assert!(!other.enrol(&token).status.success(), "the token is used up");
    let laptop = laptop.running();
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(output.status.code(), Some(255), "{}", told(&output));
    rig.refusal("POSTURE-002");
    let own = rig.bartizan(&["device", "approve", "lt-ana"]);
    assert!(!own.status.success() && told(&own).contains("second person"), "{own:?}");
    let around = rig.bartizan(&["device", "unlock", "lt-ana"]);
    assert!(!around.status.success(), "{around:?}");
}

#[test]
fn a_laptop_that_is_locked_or_lost_is_cut_and_told_or_not() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    let mut running = laptop.client().start("db1", "sleep 60");
    bartizan_integration_tests::until("the session", bartizan_integration_tests::DEADLINE, || {
        (!rig.live().is_empty()).then_some(())
    });
    rig.said(&["device", "lock", "lt-ana"]);
    let status = ended("the cut session", &mut running, soon());
    assert!(!status.success());
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(output.status.code(), Some(REFUSED), "{}", told(&output));
    assert!(told(&output).contains("[POSTURE-006]") && told(&output).contains("unlock"), "{}", told(&output));
    rig.said(&["device", "unlock", "lt-ana"]);
    goes_in(&laptop.client());
    rig.said(&["device", "lost", "lt-ana"]);
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(output.status.code(), Some(255), "{}", told(&output));
    assert!(!told(&output).contains("POSTURE-006"), "whoever has it learns nothing: {}", told(&output));
}

/// A way to a target: what it is, and the program that tries it.
type Way = (&'static str, Command);

/// How people and their tools come to a target.
fn ways(rig: &Rig, laptop: &Laptop<'_>) -> Vec<Way> {
    let client = laptop.client();
    let at = client.at("db1");
    let way = |program: &str, words: &[&str]| {
        let mut command = client.command(program);
        command.args(words);
        command
    };
    let (there, clone) = (rig.path("origin.git"), rig.new_folder("clones").join("clone"));
    let mut git = Command::new("git");
    git.args(["clone", "-q", &format!("ssh://{}{}", at.replace('+', ","), there.display())]).arg(clone);
    git.env("GIT_SSH_COMMAND", client.remote_shell()).env("GIT_CONFIG_GLOBAL", "/dev/null");
    client.prepare(&mut git);
    let remote = format!("{at}:{}/HEAD", there.display());
    let mut ways = shells(rig, laptop);
    ways.extend([
        ("a command without prompts", way("ssh", &["-o", "BatchMode=yes", &at, "echo in"])),
        ("scp", way("scp", &[&remote, rig.new_folder("copied").to_str().unwrap()])),
        ("the older scp", way("scp", &["-O", &remote, rig.new_folder("copied").to_str().unwrap()])),
        ("sftp", way("sftp", &["-b", "/dev/null", &at])),
        ("git clone", git),
        ("a jump without prompts", by_jump(rig, &client.clone().option("BatchMode yes"))),
    ]);
    ways
}

/// By either form of a target's name.
fn shells(rig: &Rig, laptop: &Laptop<'_>) -> Vec<Way> {
    let client = laptop.client();
    let mut direct = client.command("ssh");
    direct.args([&client.at("db1"), "echo in"]);
    vec![("a command", direct), ("a jump", by_jump(rig, &client))]
}

/// `ssh -J ana@bastion root@db1 echo in`.
fn by_jump(rig: &Rig, client: &Client<'_>) -> Command {
    let mut ssh = client.command("ssh");
    ssh.args(["-J", "ana@bastion", "-o"])
        .arg(format!("UserKnownHostsFile={}", rig.path("known_hosts").display()));
    ssh.args([&format!("{ACCOUNT}@db1"), "echo in"]);
    ssh
}

/// A repository to clone and a file to fetch.
fn origin(rig: &Rig) {
    let git =
        Command::new("git").args(["init", "-q", "--bare"]).arg(rig.path("origin.git")).status().unwrap();
    assert!(git.success());
}

/// Every way ends with the same three lines, and nothing is reached.
fn each_is_told_what_to_do(rig: &Rig, ways: Vec<Way>) {
    let before = rig.target("db1").connections();
    for (what, mut command) in ways {
        let output = command.output().unwrap();
        let said = told(&output);
        assert!(!output.status.success(), "{what}: {said}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains("in\n"), "{what}: {output:?}");
        for line in [
            "bartizan: this laptop may not connect yet                      [POSTURE-009]\n",
            "  failed  disk encryption: /dev/sda2 is not encrypted\n",
            "  do      turn on LUKS, run `bartizan-agent refresh`, connect again\n",
            ", for the service desk\n",
        ] {
            assert!(said.contains(line), "{what}: {said}");
        }
    }
    assert_eq!(rig.target("db1").connections(), before);
}

fn each_goes_in(ways: Vec<Way>) {
    for (what, mut command) in ways {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{what}: {}", told(&output));
    }
}

#[test]
fn a_laptop_whose_disk_is_not_encrypted_is_told_so_by_every_client_and_gets_in_once_it_is() {
    let rig = bound().start();
    origin(&rig);
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]);
    laptop.finds(PLAIN);
    let laptop = laptop.running();
    apply(&rig, LOGINS, LEVEL);
    each_is_told_what_to_do(&rig, ways(&rig, &laptop));
    assert!(laptop.client().prompts().is_empty(), "nobody was asked for a code");
    let refused = rig.events().into_iter().filter(|event| event["code"] == "POSTURE-009").collect::<Vec<_>>();
    assert!(refused.iter().all(|event| event["type"] == "device.remediation"), "{refused:#?}");
    laptop.finds(ENCRYPTED);
    each_goes_in(ways(&rig, &laptop));
}

#[test]
fn a_target_that_asks_for_more_refuses_with_the_same_words_also_by_a_jump_and_the_others_do_not() {
    let rig = bound().target("db2").start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]);
    laptop.finds(PLAIN);
    let laptop = laptop.running();
    apply(&rig, GRANT, &format!("{LEVEL}{EASIER}"));
    let easier = laptop.client().ssh("db2", "echo in");
    assert_eq!(easier.stdout, b"in\n", "{}", told(&easier));
    each_is_told_what_to_do(&rig, shells(&rig, &laptop));
    let event = rig.refusal("POSTURE-009");
    assert_eq!((event["type"].as_str(), event["target"].as_str()), (Some("access.denied"), Some("db1")));
    laptop.finds(ENCRYPTED);
    each_goes_in(shells(&rig, &laptop));
}

#[test]
fn a_check_that_only_warns_is_told_on_standard_error_and_lets_in() {
    let rig = bound().start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]);
    laptop.finds(PLAIN);
    let laptop = laptop.running();
    apply(&rig, GRANT, &LEVEL.replace("\"block\"", "\"warn until 2099-01-01\""));
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b"in\n"[..], Some(0)),
        "{}",
        told(&output)
    );
    let line = "bartizan: disk encryption: /dev/sda2 is not encrypted (warn until 2099-01-01); turn on LUKS";
    assert!(told(&output).contains(line), "{}", told(&output));
}
