//! The list of targets on a terminal: what is picked becomes a session like any other, and nothing else is learnt from it.
//! It never looks past what the client's terminal shows, its exit status, and what the bastion wrote down.

use bartizan_integration_tests::{ACCOUNT, DEADLINE, Rig, Terminal, until};

/// What `ssh` exits with when a channel was refused or ended by the bastion.
const ENDED: i32 = 254;
const LEFT: &str = "\u{1b}[?1049l";

/// The list, on the terminal of somebody whose code is remembered.
fn list(rig: &Rig) -> Terminal {
    assert!(rig.client("ana").word("whoami").status.success());
    rig.client("ana").word_on_terminal("")
}

#[test]
fn what_is_picked_is_a_session_on_the_terminal_as_it_is_now() {
    let rig = Rig::new().operator("ana").target("db1").target("web2").forbidden_target("vault1").start();
    let mut screen = list(&rig);
    let before = screen.expect("2 of 2");
    for name in ["db1", "web2"] {
        assert!(before.contains(&format!("{ACCOUNT}@{name}")), "{before:?}");
    }
    assert!(!before.contains("vault1"), "{before:?}");
    screen.send("WEB");
    screen.expect("1 of 2");
    screen.resize(120, 40);
    screen.expect("\u{1b}[40;1H");
    screen.send("\r");
    screen.expect(LEFT);
    screen.line("stty size; echo on-$((40 + 2)); exit 7");
    screen.expect("40 120");
    screen.expect("on-42");
    assert_eq!(screen.exit(), 7);

    let recordings = rig.sealed_recordings(1);
    assert_eq!((&recordings[0]["target"], &recordings[0]["kind"]), (&"web2".into(), &"shell".into()));
    assert!(rig.text_of(recordings[0]["id"].as_str().unwrap()).contains("on-42"));
    let events = rig.events();
    let session = events.iter().find(|event| event["type"] == "session.session").unwrap();
    assert_eq!(
        (&session["operator"], &session["device"], &session["target"], &session["account"]),
        (&"ana".into(), &"ana-laptop".into(), &"web2".into(), &ACCOUNT.into())
    );
    rig.verify_everything();
}

#[test]
fn who_leaves_the_list_has_begun_nothing() {
    let rig = Rig::new().operator("ana").target("db1").start();
    for keys in ["\u{3}", "\u{4}", "\u{1b}", "no such thing\r\u{1b}[?1;2c\u{15}\u{1b}"] {
        let mut screen = list(&rig);
        screen.expect("1 of 1");
        screen.send(keys);
        if keys.ends_with("\u{15}\u{1b}") {
            // A key alone is told from the front of a sequence by coming alone.
            screen.send("\u{3}");
        }
        screen.expect(LEFT);
        assert_eq!(screen.exit(), 0, "{keys:?}");
    }
    assert!(rig.recordings().is_empty() && rig.live().is_empty());
}

#[test]
fn what_a_target_asks_for_is_asked_after_the_pick() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let text = std::fs::read_to_string(rig.path("bundle/scene.toml")).unwrap();
    let grant = "require = { reason = true }\nallow = [\"shell\"";
    let folder = rig.new_folder("bundle");
    std::fs::write(folder.join("scene.toml"), text.replace("allow = [\"shell\"", grant)).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
    let mut screen = list(&rig);
    screen.expect("needs a reason");
    screen.send("\r");
    screen.expect(LEFT);
    screen.expect("Reason");
    screen.line("INC-42");
    screen.line("echo on-$((40 + 2)); exit");
    screen.expect("on-42");
    assert_eq!(screen.exit(), 0);
    let events = rig.events();
    let session = events.iter().find(|event| event["type"] == "session.session").unwrap();
    assert_eq!(session["detail"]["reason"], "INC-42");
    let stepped = events.iter().find(|event| event["type"] == "auth.step_up").unwrap();
    assert_eq!((&stepped["outcome"], &stepped["target"]), (&"ok".into(), &"db1".into()));

    // Who gives no reason is not let in.
    let mut screen = list(&rig);
    screen.expect("needs a reason");
    screen.send("\r");
    screen.expect("Reason");
    screen.send("\u{3}");
    screen.expect("given up");
    assert_eq!(screen.exit(), ENDED);
    let left = rig.refusal("ACCESS-005");
    assert_eq!((&left["type"], &left["target"]), (&"auth.step_up".into(), &"db1".into()));
    rig.sealed_recordings(1);
}

#[test]
fn what_was_picked_is_killed_like_any_session_and_a_list_ends_with_its_operators_right() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let mut screen = list(&rig);
    screen.expect("1 of 1");
    screen.send("\r");
    screen.line("echo on-$((40 + 2))");
    screen.expect("on-42");
    let live = until("one session", DEADLINE, || Some(rig.live()).filter(|live| live.len() == 1));
    rig.said(&["session", "kill", live[0]["id"].as_str().unwrap()]);
    screen.expect("SESSION-001");
    assert_ne!(screen.exit(), 0);
    rig.sealed_recordings(1);

    let mut screen = list(&rig);
    screen.expect("1 of 1");
    rig.said(&["operator", "disable", "ana"]);
    // The screen is given back before the words, so that they are read.
    screen.expect(LEFT);
    screen.expect("SESSION-002");
    assert_ne!(screen.exit(), 0);
}

#[test]
fn where_nothing_may_be_reached_there_is_nothing_to_pick() {
    let rig = Rig::new().operator("ana").forbidden_target("vault1").start();
    let mut screen = list(&rig);
    let before = screen.expect("nothing; ask for a grant");
    assert!(!before.contains("vault1") && !before.contains('\u{1b}'), "{before:?}");
    assert_eq!(screen.exit(), 0);
}
