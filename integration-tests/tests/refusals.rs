//! Who is turned away, with which code in the log, and what they are told: the same by the login name and by a jump.
//! It never reads a refusal from the bastion's memory: only from `audit list` and the client's screen.

use std::process::Output;

use bartizan_integration_tests::{ACCOUNT, Builder, Client, Rig, Route, by_both_routes};

/// Exit status of a refused channel.
const REFUSED: i32 = 254;
/// What `ssh` itself exits with when it was not let in.
const NOT_LOGGED_IN: i32 = 255;

by_both_routes! {
    a_machine_without_a_device_key_is_not_listened_to,
    a_wrong_code_and_a_used_code_are_refused,
    another_persons_code_and_another_persons_key_are_refused,
    names_that_must_not_be_learnt_are_refused_alike,
    an_unknown_operator_and_a_disabled_one_are_turned_away_alike,
    a_target_with_another_host_key_is_not_talked_to,
    a_forward_is_refused_and_nothing_is_dialled,
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The line of the bastion, without the reference that differs every time.
fn line(output: &Output) -> String {
    let told = told(output);
    let line = told
        .lines()
        .find(|line| line.starts_with("bartizan: "))
        .unwrap_or_else(|| panic!("no line in {told:?}"));
    line.split(" ref ").next().unwrap().to_owned()
}

fn try_in(client: &Client<'_>) -> Output {
    let output = client.ssh("db1", "echo in");
    assert_eq!(output.stdout, b"", "nothing ran");
    output
}

fn a_machine_without_a_device_key_is_not_listened_to(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let stranger = rig.client("ana").by(route).without_device();
    let output = try_in(&stranger);
    assert_eq!(output.status.code(), Some(NOT_LOGGED_IN), "{}", told(&output));
    let events = rig.events();
    let refused =
        events.iter().find(|event| event["code"].as_str().is_some_and(|code| code.starts_with("POSTURE-")));
    assert!(refused.is_some(), "{events:#?}");
    // The person's key was never looked at, so no code was asked for.
    assert!(
        !stranger.prompts().iter().any(|prompt| prompt.contains("One-time code")),
        "{:?}",
        stranger.prompts()
    );
}

fn a_wrong_code_and_a_used_code_are_refused(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").fresh("0s").start();
    let wrong = rig.phone("ana").wrong();
    assert_eq!(try_in(&rig.client("ana").by(route).answering(&wrong)).status.code(), Some(NOT_LOGGED_IN));
    rig.refusal("LOGIN-004");
    let right = rig.client("ana").by(route).ssh("db1", "echo in");
    assert_eq!(right.stdout, b"in\n", "{}", told(&right));
    let used = rig.phone("ana").used();
    assert_eq!(try_in(&rig.client("ana").by(route).answering(&used)).status.code(), Some(NOT_LOGGED_IN));
    rig.refusal("LOGIN-005");
}

fn another_persons_code_and_another_persons_key_are_refused(route: Route) {
    let rig = Rig::new().operator("alice").operator("bob").target("db1").start();
    let code = rig.phone("bob").fresh();
    assert_eq!(try_in(&rig.client("alice").by(route).answering(&code)).status.code(), Some(NOT_LOGGED_IN));
    assert_eq!(rig.refusal("LOGIN-004")["operator"], "alice");
    assert_eq!(try_in(&rig.client("alice").by(route).with_key_of("bob")).status.code(), Some(NOT_LOGGED_IN));
    rig.refusal("LOGIN-003");
}

fn names_that_must_not_be_learnt_are_refused_alike(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").forbidden_target("vault1").start();
    // Who asks for a name by a jump trusts the bastion for it; how much was sent and received is told at the end.
    let known = rig.path("known");
    let authorities = rig.said(&["ca", "show", "host"]);
    let lines: String = authorities.lines().map(|key| format!("@cert-authority * {key}\n")).collect();
    std::fs::write(&known, lines).unwrap();
    let option = format!("UserKnownHostsFile {}", known.display());
    let ana = rig.client("ana").by(route).option(&option).option("LogLevel VERBOSE");
    // From now on no code is asked for.
    assert_eq!(ana.ssh("db1", "echo in").stdout, b"in\n");
    let ask = |account: &str, target: &str| {
        let output = ana.command("ssh").arg(ana.as_account(account, target)).arg("echo in").output().unwrap();
        assert_eq!(output.stdout, b"", "nothing ran");
        assert_eq!(output.status.code(), Some(REFUSED), "{}", told(&output));
        let told = told(&output);
        let counts = told.lines().find(|line| line.starts_with("Transferred: ")).expect("the bytes");
        let bytes = counts.split(", in ").next().unwrap().to_owned();
        (line(&output), bytes)
    };
    // Names of one length, so that the bytes may be counted.
    let unknown_target = ask(ACCOUNT, "ghost1");
    assert!(unknown_target.0.contains("[ACCESS-000]"), "{unknown_target:?}");
    assert_eq!(ask(ACCOUNT, "vault1"), unknown_target);
    assert_eq!(ask("postgres", "db1").0, unknown_target.0);
    for code in ["ACCESS-001", "ACCESS-002", "ACCESS-003"] {
        rig.refusal(code);
    }
    assert_eq!(rig.target("vault1").connections(), 0, "nothing was dialled");
    assert_eq!(rig.recordings().len(), 1, "nothing was recorded");
}

fn an_unknown_operator_and_a_disabled_one_are_turned_away_alike(route: Route) {
    let anything = |builder: Builder| builder.operator("ana").operator("bob").target("db1");
    // Where no device is asked for, and from a device that is neither's.
    let anywhere = anything(Rig::new()).setting("device", "require = \"any\"").start();
    let managed = anything(Rig::new()).start();
    for (rig, device_of) in [(&anywhere, None), (&managed, Some("ana"))] {
        rig.said(&["operator", "disable", "bob"]);
        let ask = |who: &str| {
            let client = rig.client(who).by(route).with_key_of("bob");
            let output = try_in(&match device_of {
                Some(other) => client.at_device_of(other),
                None => client.without_device(),
            });
            let references = |word: &str| {
                if word.len() == 10 && !word.contains(|c: char| c.is_lowercase()) { "REF" } else { word }
                    .to_owned()
            };
            let words: Vec<String> = told(&output)
                .replace(who, "WHO")
                .split_whitespace()
                .map(|w| references(w.trim_end_matches(',')))
                .collect();
            (output.status.code(), words.join(" "))
        };
        assert_eq!(ask("bob"), ask("nobody"));
    }
    anywhere.refusal("LOGIN-001");
    anywhere.refusal("LOGIN-002");
    managed.said(&["operator", "enable", "bob"]);
    assert_eq!(managed.client("bob").by(route).ssh("db1", "echo in").stdout, b"in\n");
}

#[test]
fn an_account_that_is_none_is_refused_inside_a_jump() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(Route::Jump);
    for account in ["ro ot", "root+db1", "rööt"] {
        let output = ana.command("ssh").args(["-l", account, "db1", "echo in"]).output().unwrap();
        assert_eq!(output.status.code(), Some(NOT_LOGGED_IN), "{account}: {}", told(&output));
    }
    let refusal = rig.refusal("LOGIN-007");
    assert_eq!((&refusal["operator"], &refusal["target"]), (&"ana".into(), &"db1".into()));
    let logged = rig.events().iter().filter(|event| event["code"] == "LOGIN-007").count();
    assert_eq!(logged, 3, "once a connection");
    assert_eq!(rig.target("db1").connections(), 0);
}

#[test]
fn a_login_name_that_is_none_is_refused_before_any_look_up() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana");
    for name in ["ana++db1", "ana+root+db1+more", "+", "ana+root+db 1", "ana+root+dß1"] {
        let mut command = ana.command("ssh");
        let output = command.arg("-l").arg(name).arg("bastion").arg("echo in").output().unwrap();
        assert_eq!(output.status.code(), Some(NOT_LOGGED_IN), "{name}: {}", told(&output));
    }
    rig.refusal("LOGIN-007");
}

fn a_target_with_another_host_key_is_not_talked_to(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").target("db2").start();
    // The bundle says db1 lives where db2 does.
    let folder = rig.new_folder("bundle");
    let text = std::fs::read_to_string(rig.path("bundle/scene.toml")).unwrap();
    let (one, two) = (rig.target("db1").address().to_string(), rig.target("db2").address().to_string());
    std::fs::write(folder.join("scene.toml"), text.replace(&one, &two)).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
    let output = rig.client("ana").by(route).ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(REFUSED)),
        "{}",
        told(&output)
    );
    rig.refusal("TARGET-004");
}

fn a_forward_is_refused_and_nothing_is_dialled(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(route);
    let forward = format!("127.0.0.1:{}", rig.target("db1").address().port());
    let output = ana.command("ssh").arg("-W").arg(&forward).arg(ana.at("db1")).output().unwrap();
    assert!(!output.status.success());
    assert!(!String::from_utf8_lossy(&output.stdout).contains("SSH-2.0"), "{output:?}");
    assert_eq!(rig.target("db1").connections(), 0);
}
