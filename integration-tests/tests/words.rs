//! Words over SSH: what an operator, an auditor and an administrator can say to the bastion itself, and what is logged.
//! It never looks at anything but what the client printed, its exit status, and the log.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use bartizan_integration_tests::{ACCOUNT, DEADLINE, Rig, ended, until};

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn an_operator_learns_who_they_are_and_what_they_may_reach_and_nothing_more() {
    let rig = Rig::new().operator("ana").operator("bob").target("db1").forbidden_target("vault1").start();
    let ana = rig.client("ana");
    let said = ana.word("whoami --json");
    assert_eq!(code(&said), 0, "{}", err(&said));
    let me: serde_json::Value = serde_json::from_str(&out(&said)).unwrap();
    assert_eq!((&me["operator"], &me["device"]), (&"ana".into(), &"ana-laptop".into()));
    assert_eq!((&me["assurance"], &me["factors"][1]["factor"]), (&1.into(), &"code".into()));

    let said = ana.word("targets --json");
    let targets: serde_json::Value = serde_json::from_str(&out(&said)).unwrap();
    assert_eq!(targets.as_array().unwrap().len(), 1, "{targets}");
    assert_eq!((&targets[0]["target"], &targets[0]["account"]), (&"db1".into(), &ACCOUNT.into()));
    assert_eq!((&targets[0]["may"][0], &targets[0]["needs"]), (&"shell".into(), &serde_json::json!([])));

    // A shell without a word and without a terminal shows the same, and how to go on.
    let plain = ana.word("");
    assert_eq!(code(&plain), 0, "{}", err(&plain));
    assert!(out(&plain).contains("db1") && out(&plain).contains("ssh -J ana@bastion.test ACCOUNT@TARGET"));
    assert!(!out(&plain).contains("vault1"));
}

#[test]
fn what_is_no_word_is_answered_with_what_there_is() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana");
    for line in [
        "reboot",
        "rm -rf /",
        "'\u{1b}]0;x\u{7}'",
        "operator frob",
        "sh -c 'id'",
        "targets; id",
        "$(id)",
        "a 'b",
    ] {
        let said = ana.word(line);
        assert_eq!((code(&said), out(&said).as_str()), (2, ""), "{line}: {}", err(&said));
        assert!(err(&said).contains("Commands:") || err(&said).contains("Usage:"), "{line}: {}", err(&said));
        assert!(!err(&said).contains('\u{1b}'), "{line}");
    }
    assert!(err(&ana.word("reboot")).contains("whoami"), "it says what exists");
    let help = ana.word("help");
    assert_eq!(code(&help), 0);
    assert!(out(&help).contains("targets") && err(&help).is_empty());
    // No subsystem, and no target by another door.
    let sftp = ana.command("ssh").args(["-s", "ana@bastion", "sftp"]).output().unwrap();
    assert_eq!(code(&sftp), 254);
    assert!(err(&sftp).contains("[ACCESS-009]"), "{}", err(&sftp));
}

#[test]
fn roles_hold_over_ssh_and_refusals_are_logged() {
    let rig = Rig::new()
        .operator("ana")
        .operator("audrey")
        .role("auditor")
        .operator("adam")
        .role("administrator")
        .target("db1")
        .start();
    assert_eq!(rig.client("ana").ssh("db1", "echo recorded").stdout, b"recorded\n");
    rig.sealed_recordings(1);
    for line in [
        "recording list",
        "operator list",
        "operator disable adam",
        "audit list",
        "session list",
        "device list",
    ] {
        let said = rig.client("ana").word(line);
        assert_eq!((code(&said), out(&said).as_str()), (1, ""), "{line}");
        assert!(err(&said).contains("needs the role"), "{line}: {}", err(&said));
    }
    let events = rig.events();
    let refused: Vec<_> =
        events.iter().filter(|e| e["outcome"] == "refused" && e["operator"] == "ana").collect();
    assert_eq!(refused.len(), 6, "{refused:#?}");
    assert!(
        refused
            .iter()
            .all(|e| e["type"].as_str().unwrap().starts_with("admin.") && e["device"] == "ana-laptop")
    );

    let audrey = rig.client("audrey");
    let listed = audrey.word("recording list --json");
    let recordings: serde_json::Value = serde_json::from_str(&out(&listed)).unwrap();
    let id = recordings[0]["id"].as_str().unwrap().to_owned();
    let exported = audrey.word(&format!("recording export {id} --format text"));
    assert!(out(&exported).contains("recorded"), "{}", err(&exported));
    assert_eq!(code(&audrey.word("operator disable ana")), 1);
    let mut screen = audrey.word_on_terminal(&format!("recording play {id}"));
    screen.expect("recorded");
    screen.send("q");
    assert_eq!(screen.exit(), 0);
    let mut screen = audrey.word_on_terminal("audit tail");
    screen.expect("admin.recording.play");
    screen.send("\u{3}");
    assert_ne!(screen.exit(), 0, "control-C ends what does not listen");

    let adam = rig.client("adam");
    assert_eq!(code(&adam.word("operator enable adam")), 1, "nobody changes their own account");
    assert_eq!(code(&adam.word("operator disable ana")), 0);
    let event =
        rig.events().into_iter().find(|e| e["type"] == "admin.operator.disable" && e["outcome"] == "ok");
    assert_eq!(event.unwrap()["operator"], "adam");
    assert_ne!(code(&rig.client("ana").word("whoami")), 0, "she is out");
}

#[test]
fn a_file_comes_by_standard_input_and_none_is_opened_for_an_operator() {
    let rig = Rig::new().operator("ana").operator("adam").role("administrator").target("db1").start();
    let adam = rig.client("adam");
    let key = rig.path("another-key");
    let keygen =
        Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(keygen.success());
    let new = std::fs::read_to_string(rig.path("another-key.pub")).unwrap();
    let mut child = adam
        .command("ssh")
        .args(["adam@bastion", "operator key add ana -"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(new.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    assert_eq!(code(&said), 0, "{}", err(&said));
    assert_eq!(rig.said(&["operator", "key", "list", "ana"]).matches("SHA256:").count(), 2);

    let path = rig.path("ana-key.pub");
    let path = path.to_str().unwrap();
    for line in [
        format!("operator key add ana {path}"),
        format!("operator totp ana --secret-file {path}"),
        format!("device register lt-9 --operator ana --key {path}"),
    ] {
        let said = adam.word(&line);
        assert_eq!(code(&said), 1, "{line}");
        assert!(err(&said).contains("did not come with the request"), "{line}: {}", err(&said));
    }
    let target = rig.path("written-by-the-server");
    for line in [
        format!("recording export r-01JD37F2K00000000000000000 -o {}", target.display()),
        format!("ssh-config --known-hosts {}", target.display()),
    ] {
        let said = adam.word(&line);
        assert_eq!(code(&said), 2, "{line}: {}", err(&said));
    }
    assert!(!target.exists());
}

#[test]
fn words_are_bounded_and_end_with_what_they_rest_on() {
    let rig = Rig::new().operator("ana").role("auditor").target("db1").start();
    let ana = rig.client("ana");
    let shared = ana.share_words();
    let mut tails: Vec<_> = (0..16)
        .map(|_| {
            let mut tail = shared.start("audit tail");
            let mut first = [0; 1];
            std::io::Read::read_exact(tail.stdout.as_mut().unwrap(), &mut first).unwrap();
            tail
        })
        .collect();
    let another = shared.command("whoami").output().unwrap();
    assert_eq!(code(&another), 254);
    assert!(err(&another).contains("[LIMIT-001]"), "{}", err(&another));
    // One that ends by itself makes room.
    let mut one = tails.pop().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&one), rustix::process::Signal::TERM)
        .unwrap();
    // Not for the end of its output, which its master holds: that may sleep over it until something else wakes it.
    ended("the tail", &mut one, DEADLINE);
    until("room for a word", DEADLINE, || {
        let said = shared.command("whoami").output().unwrap();
        (code(&said) == 0).then_some(())
    });
    rig.said(&["operator", "disable", "ana"]);
    for tail in tails {
        let said = tail.wait_with_output().unwrap();
        assert_ne!(code(&said), 0, "{}", err(&said));
    }
}

#[test]
fn a_word_ends_when_the_role_it_needs_is_taken_away() {
    let rig = Rig::new().operator("audrey").role("auditor").target("db1").start();
    let mut tail = rig
        .client("audrey")
        .command("ssh")
        .args(["audrey@bastion", "audit tail --json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    std::io::Read::read_exact(tail.stdout.as_mut().unwrap(), &mut first).unwrap();
    let bundle = rig.new_folder("bundle");
    let text = std::fs::read_to_string(rig.path("bundle/scene.toml")).unwrap();
    assert!(text.contains("\"auditor\""));
    std::fs::write(bundle.join("scene.toml"), text.replace("\"auditor\"", "\"reader\"")).unwrap();
    rig.said(&["access", "apply", bundle.to_str().unwrap()]);
    let said = tail.wait_with_output().unwrap();
    assert_eq!(code(&said), 254, "{}", err(&said));
    assert!(err(&said).contains("[SESSION-002]"), "{}", err(&said));
    assert_eq!(code(&rig.client("audrey").word("whoami")), 0, "the connection itself may stay");
}
