//! Which facts a laptop sends: those that the bundle asks for, heard from the bastion by the proven device alone, and shown to
//! whoever sits at it.

use std::process::Output;

use bartizan_integration_tests::{Laptop, Rig};

/// Exit status of a channel that the bastion refused.
const REFUSED: i32 = 254;

/// A level of the bundle's own; the checks follow.
const LEVEL: &str = "\n[[level]]\nname = \"watched\"\n";

/// A check that asks for nothing but what is built in.
const DISKS: &str = r#"
[[level.check]]
name = "disk encryption"
table = "disk_encryption"
when = "resource.encrypted"
mode = "block"
failed = "{name} is not encrypted"
do = "turn on LUKS"
"#;

/// Checks that ask for more than what is built in.
const MORE: &str = r#"
[[level.check]]
name = "system"
table = "os_version"
when = 'resource.platform == "debian"'
mode = "block"
failed = "{platform} is not looked after here"
do = "use another machine"

[[level.check]]
name = "sensor"
table = "processes"
rows = "any"
when = 'resource.name == "falcon-sensor"'
mode = "block"
failed = "the sensor does not run"
do = "start it"
"#;

const EVERYTHING: &str = r#"{"disk_encryption":[{"name":"/dev/sda2","encrypted":"1"}],
    "os_version":[{"platform":"debian","version":"12"}],"processes":[{"name":"falcon-sensor"}]}"#;

/// Asks every login to be at the level with these checks.
fn apply(rig: &Rig, checks: &[&str]) {
    let scene = std::fs::read_to_string(rig.path("bundle").join("scene.toml")).unwrap();
    let asks = scene.replace("\"code\"]", "\"code\"], posture = \"watched\"");
    assert_ne!(scene, asks);
    let folder = rig.new_folder("bundle");
    std::fs::write(folder.join("scene.toml"), [&[asks.as_str(), LEVEL], checks].concat().concat()).unwrap();
    rig.said(&["access", "apply", folder.to_str().unwrap()]);
}

fn scene() -> Rig {
    Rig::new().operator("ana").target("db1").setting("device", "evidence = \"bound\"").start()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace('\r', "")
}

fn goes_in(laptop: &Laptop<'_>) {
    let output = laptop.client().ssh("db1", "echo in");
    assert_eq!(
        (output.stdout.as_slice(), output.status.code()),
        (&b"in\n"[..], Some(0)),
        "{}",
        told(&output)
    );
}

/// The tables that a login would send now.
fn sent(laptop: &Laptop<'_>) -> Vec<String> {
    let report: serde_json::Value = serde_json::from_str(&laptop.report()).unwrap();
    let mut names: Vec<String> = report["facts"].as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

#[test]
fn a_fact_that_the_bundle_begins_to_ask_for_is_named_and_sent_once_the_laptop_was_refreshed() {
    let rig = scene();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]);
    laptop.finds(EVERYTHING);
    let laptop = laptop.running();
    apply(&rig, &[DISKS]);
    goes_in(&laptop);
    assert_eq!(sent(&laptop), ["disk_encryption"], "the others were not asked for when it was enrolled");

    apply(&rig, &[DISKS, MORE]);
    let output = laptop.client().ssh("db1", "echo in");
    let said = told(&output);
    assert_eq!(output.status.code(), Some(REFUSED), "{said}");
    assert!(said.contains("[POSTURE-009]\n  failed  system: it did not tell its os_version\n"), "{said}");
    assert!(said.contains("  failed  sensor: it did not tell its processes\n"), "{said}");
    assert!(said.contains("  do      run `bartizan-agent refresh`, connect again"), "{said}");
    assert_eq!(sent(&laptop), ["disk_encryption"], "nothing more is sent before its owner refreshes it");

    let refreshed = laptop.refresh();
    assert!(refreshed.status.success(), "{refreshed:?}");
    let news = "sent from now on: os_version, processes\nprograms looked for from now on: falcon-sensor\n";
    assert_eq!(told(&refreshed), news);
    assert_eq!(sent(&laptop), ["disk_encryption", "os_version", "processes"]);
    goes_in(&laptop);
    let shown: serde_json::Value =
        serde_json::from_str(&rig.said(&["device", "show", "lt-ana", "--json"])).unwrap();
    let would: serde_json::Value = serde_json::from_str(&laptop.report()).unwrap();
    assert_eq!(shown["report"]["facts"], would["facts"], "what `show` prints is what was sent");
    let asked: Vec<_> = rig.events().into_iter().filter(|event| event["type"] == "device.facts").collect();
    let [event] = &asked[..] else { panic!("{asked:#?}") };
    assert_eq!((&event["outcome"], &event["device"]), (&"ok".into(), &"lt-ana".into()));

    // What is not asked for any more is not sent any more.
    apply(&rig, &[DISKS]);
    let refreshed = laptop.refresh();
    let news = "no longer sent: os_version, processes\nprograms no longer looked for: falcon-sensor\n";
    assert_eq!(told(&refreshed), news);
    assert_eq!(sent(&laptop), ["disk_encryption"]);
    goes_in(&laptop);
}

#[test]
fn which_facts_are_asked_for_is_told_to_devices_in_use_alone() {
    let rig = scene();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    let pending = Laptop::unenrolled(&rig, "ana", "lt-pending");
    assert!(pending.enrol(&pending.register(&[])).status.success());
    let pending = pending.running();
    let asks = |agent: &Laptop<'_>, user: &str, word: &[&str]| {
        let client =
            agent.client().option(&format!("User {user}")).option("PreferredAuthentications publickey");
        client.command("ssh").arg("bastion").args(word).output().unwrap()
    };
    // The device alone, whatever it says there: the list, and no way on.
    for word in [&["facts"][..], &["operator list"], &[]] {
        let output = asks(&laptop, "enroll+facts", word);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        assert!(output.stdout.starts_with(b"{\"facts\":[\"disk_encryption\""), "{output:?}");
    }
    let jump =
        laptop.client().option("User enroll+facts").command("ssh").args(["-W", "db1:22", "bastion"]).output();
    let jump = jump.unwrap();
    assert!(!jump.status.success() && jump.stdout.is_empty(), "{jump:?}");

    let nobody = rig.client("ana").option("User enroll+facts");
    let plain = nobody.command("ssh").args(["bastion", "facts"]).output().unwrap();
    for output in [plain, asks(&pending, "enroll+facts", &["facts"])] {
        assert_eq!(
            (output.stdout.as_slice(), output.status.code()),
            (&b""[..], Some(255)),
            "{}",
            told(&output)
        );
        assert!(!told(&output).contains("disk"), "{}", told(&output));
    }
    let refused = pending.refresh();
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("what the bastion asks for now is not known"), "{}", told(&refused));

    rig.said(&["device", "lock", "lt-ana"]);
    let locked = laptop.refresh();
    assert!(told(&locked).contains("[POSTURE-006]"), "{}", told(&locked));
    assert_eq!(locked.status.code(), Some(1));
}
