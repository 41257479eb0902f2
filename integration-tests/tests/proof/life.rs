//! The life of a laptop, from its token to its lock, by the people who may decide about it.
//! It never changes anything but by words that are said over SSH.

use std::io::{BufRead as _, BufReader};
use std::process::Output;
use std::time::Instant;

use bartizan_integration_tests::{DEADLINE, Laptop, Rig, ended, soon, until};

use crate::refused::told;

fn says(rig: &Rig, who: &str, word: &str) -> String {
    let output = rig.client(who).word(word);
    assert!(output.status.success(), "{who}: {word}: {}", told(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// What somebody is told who may not.
fn may_not(rig: &Rig, who: &str, word: &str) -> String {
    let output = rig.client(who).word(word);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{who}: {word}");
    told(&output)
}

fn state(rig: &Rig) -> String {
    let shown: serde_json::Value =
        serde_json::from_str(&rig.said(&["device", "show", "lt-ana", "--json"])).unwrap();
    shown["state"].as_str().unwrap().to_owned()
}

fn turned_away(output: &Output) {
    let said = told(output);
    assert_eq!((output.stdout.as_slice(), output.status.code()), (&b""[..], Some(255)), "{said}");
    assert!(said.contains("[POSTURE-000]"), "{said}");
}

#[test]
fn a_laptop_is_registered_by_one_person_approved_by_another_and_locked_under_its_session() {
    let administrators = ["adam", "eve", "ana"];
    let named =
        |scene: bartizan_integration_tests::Builder, who: &&str| scene.operator(who).role("administrator");
    let rig = administrators.iter().fold(Rig::new(), named).target("db1").start();
    let laptop = Laptop::unenrolled(&rig, "ana", "lt-ana");
    let token = says(&rig, "adam", "device register lt-ana --operator ana --address 127.0.0.1");
    assert_eq!(state(&rig), "registered");
    let brought = laptop.enrol(token.trim());
    assert!(brought.status.success(), "{}", told(&brought));
    assert_eq!(state(&rig), "pending");

    let laptop = laptop.running();
    let waiting = laptop.client().ssh("db1", "echo in");
    turned_away(&waiting);
    let cause = rig.refusal("POSTURE-002")["reason"].as_str().unwrap().to_owned();
    assert!(cause.contains("it is pending, not active"), "{cause}");

    let by_whom_it_was_registered = may_not(&rig, "adam", "device approve lt-ana");
    assert!(by_whom_it_was_registered.contains("second person"), "{by_whom_it_was_registered}");
    let by_its_owner = may_not(&rig, "ana", "device approve lt-ana");
    assert!(by_its_owner.contains("another administrator"), "{by_its_owner}");
    let around = may_not(&rig, "adam", "device unlock lt-ana");
    assert!(around.contains("approved"), "{around}");
    assert_eq!(state(&rig), "pending");
    says(&rig, "eve", "device approve lt-ana");
    assert_eq!(state(&rig), "active");
    let approved = rig.events().into_iter().rfind(|event| event["type"] == "admin.device.approve").unwrap();
    assert_eq!((approved["operator"].as_str(), approved["outcome"].as_str()), (Some("eve"), Some("ok")));

    let mut session = laptop.client().start("db1", "echo in; exec sleep 600");
    let mut line = String::new();
    BufReader::new(session.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "in\n");
    says(&rig, "eve", "device lock lt-ana");
    let returned = Instant::now();
    let left = ended("the session from the locked laptop", &mut session, soon());
    assert!(!left.success() && returned.elapsed() < soon(), "{left} after {:?}", returned.elapsed());
    until("the session to be off the list", DEADLINE, || rig.live().is_empty().then_some(()));
    assert_eq!(rig.refusal("SESSION-002")["device"], "lt-ana");
    let locked = laptop.client().ssh("db1", "echo in");
    assert_eq!(locked.status.code(), Some(254), "{}", told(&locked));
    assert!(told(&locked).contains("[POSTURE-006]"), "{}", told(&locked));
}
