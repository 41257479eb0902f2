//! Targets that ask their operator themselves, where the bundle lets them: the questions are marked as the target's, shown and
//! recorded; the answers go to the target and nowhere else.
//! It never answers what was not asked.

use std::process::Output;

use bartizan_integration_tests::{PASSWORD, Rig, Route, Terminal, by_both_routes};

/// Exit status of a refused channel.
const REFUSED: i32 = 254;

by_both_routes! {
    a_target_that_may_ask_is_answered_by_its_operator_alone,
    nobody_is_asked_without_a_terminal_and_no_answer_is_a_refusal,
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A shell, as far as the bastion's own question.
fn shell(rig: &Rig, route: Route) -> Terminal {
    let mut shell = rig.client("ana").by(route).terminal("db1");
    shell.expect("One-time code: ");
    shell.line(&rig.phone("ana").fresh());
    shell
}

fn a_target_that_may_ask_is_answered_by_its_operator_alone(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").password().line("login = \"ask\"").start();
    let mut shell = shell(&rig, route);
    shell.expect("bartizan: the target asks for the password of root: ");
    shell.line("wrong horse");
    shell.expect("bartizan: the target asks for the password of root: ");
    shell.line(PASSWORD);
    shell.expect("# ");
    shell.line("echo in''side; exit 5");
    shell.expect("inside");
    assert_eq!(shell.exit(), 5);
    let recordings = rig.sealed_recordings(1);
    let text = rig.text_of(recordings[0]["id"].as_str().unwrap());
    assert!(text.contains("the target asks for the password of root") && text.contains("inside"), "{text}");
    assert!(!text.contains("horse"), "{text}");
    let events = rig.events();
    let end = events.iter().find(|event| event["type"] == "channel.session" && event["outcome"] == "ok");
    assert_eq!(end.unwrap()["detail"]["target_login"], "ask");
    assert!(!rig.said(&["audit", "list", "--json"]).contains("horse"));
    rig.verify_everything();
}

fn nobody_is_asked_without_a_terminal_and_no_answer_is_a_refusal(route: Route) {
    let rig = Rig::new()
        .operator("ana")
        .target("db1")
        .sshd("UsePAM yes")
        .sshd("KbdInteractiveAuthentication yes")
        .sshd("PasswordAuthentication no")
        .password()
        .line("login = \"ask\"")
        .start();
    let output = rig.client("ana").by(route).ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b""[..], Some(REFUSED)),
        "{}",
        told(&output)
    );
    assert!(told(&output).contains("connect with `ssh -t` [TARGET-011]"), "{}", told(&output));
    // The code given a moment ago counts here.
    let mut shell = rig.client("ana").by(route).terminal("db1");
    shell.expect("bartizan: the target asks: Password:");
    shell.send("half a passw\x03");
    shell.expect("the target asked, and there was no answer [TARGET-011]");
    assert_eq!(shell.exit(), REFUSED);
    let mut shell = rig.client("ana").by(route).terminal("db1");
    shell.expect("bartizan: the target asks: Password:");
    shell.line(&format!("x\x7f{PASSWORD}"));
    shell.expect("# ");
    shell.line("exit 3");
    assert_eq!(shell.exit(), 3);
    assert!(rig.target("db1").log().contains("Accepted keyboard-interactive"), "{}", rig.target("db1").log());
    rig.verify_everything();
}
