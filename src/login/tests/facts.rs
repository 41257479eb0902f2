//! What a device says of itself, held against the level that the bundle asks of every login.

use policy::Level;
use posture::report::Facts;
use posture::report::Report;

use super::laptop::{HERE, Laptop, shown};
use super::*;

/// Every login from a device whose disks are encrypted; `mode` says how much it counts.
fn sealed(mode: &str) -> String {
    format!(
        "[login]\nrequire = {{ factors = [\"key\", \"code\"], posture = \"sealed\" }}\n\n\
         [[level]]\nname = \"sealed\"\n\n[[level.check]]\nname = \"disk encryption\"\ntable = \"disk_encryption\"\n\
         when = \"resource.encrypted\"\nmode = \"{mode}\"\nfailed = \"{{name}} is not encrypted\"\n\
         do = \"turn on LUKS, run `bartizan-agent refresh`, connect again\"\n\n\
         [[level.check]]\nname = \"firewall\"\ntable = \"firewall\"\nrows = \"any\"\nwhen = \"resource.enabled\"\n\
         mode = \"{mode}\"\nfailed = \"nothing filters what comes in\"\ndo = \"turn it on\"\n"
    )
}

async fn bound(mode: &str) -> Scene {
    let mut scene = Scene::new().await.bundled(&sealed(mode));
    scene.device.evidence = Evidence::Bound;
    scene
}

fn telling(laptop: &Laptop, facts: &str) -> Report {
    let mut report = laptop.report(HERE);
    report.facts = serde_json::from_str::<Facts>(facts).unwrap();
    report
}

const BAD: &str = r#"{"disk_encryption":[{"name":"/dev/sda1","encrypted":"1"},{"name":"/dev/sda2","encrypted":"0"}],
    "firewall":[{"enabled":"0"}]}"#;
const GOOD: &str =
    r#"{"disk_encryption":[{"name":"/dev/sda2","encrypted":"1"}],"firewall":[{"enabled":"1"}]}"#;

#[tokio::test]
async fn a_device_that_is_not_as_the_policy_asks_is_told_every_check_that_failed_and_what_to_do() {
    let scene = bound("block").await;
    let laptop = Laptop::of("alice");
    let certificate = laptop.issued(&telling(&laptop, BAD));
    let Answer::Remediate(barred) = shown(&mut scene.connect(), "alice", &certificate).await else {
        panic!()
    };
    assert_eq!((barred.refusal().code(), barred.device()), ("POSTURE-009", Some("lt-alice")));
    let reference = barred.refusal().reference();
    assert_eq!(
        barred.text(),
        format!(
            "bartizan: this laptop may not connect yet                      [POSTURE-009]\n  \
             failed  disk encryption: /dev/sda2 is not encrypted\n  \
             do      turn on LUKS, run `bartizan-agent refresh`, connect again\n  \
             failed  firewall: nothing filters what comes in\n  \
             do      turn it on\n  \
             ref     {reference}, for the service desk\n"
        )
    );
    assert!(barred.refusal().cause().contains("/dev/sda2 is not encrypted"));
    let last = scene.store.last_report("lt-alice").await.unwrap().unwrap();
    assert!(last.report.contains("/dev/sda2"), "the service desk can look");
    let fixed = laptop.issued(&telling(&laptop, GOOD));
    assert!(matches!(shown(&mut scene.connect(), "alice", &fixed).await, Answer::Partial { .. }));
}

#[tokio::test]
async fn what_was_not_told_has_failed() {
    let scene = bound("block").await;
    let laptop = Laptop::of("alice");
    let certificate = laptop.issued(&telling(&laptop, "{}"));
    let Answer::Remediate(barred) = shown(&mut scene.connect(), "alice", &certificate).await else {
        panic!()
    };
    assert!(barred.text().contains("did not tell its disk_encryption"), "{}", barred.text());
    let mut scene = scene;
    scene.device.evidence = Evidence::Key;
    let answer = proved(&mut scene.connect(), "alice", &device_key("alice")).await;
    assert!(matches!(answer, Answer::Remediate(_)), "a plain key says nothing: {answer:?}");
}

#[tokio::test]
async fn a_check_that_only_warns_lets_in_until_its_day() {
    let laptop = Laptop::of("alice");
    for (mode, lets_in) in
        [("observe", true), ("warn until 2026-12-01", true), ("warn until 2026-11-01", false)]
    {
        let scene = bound(mode).await;
        let answer = shown(&mut scene.connect(), "alice", &laptop.issued(&telling(&laptop, BAD))).await;
        assert_eq!(matches!(answer, Answer::Partial { .. }), lets_in, "{mode}: {answer:?}");
    }
}

#[tokio::test]
async fn facts_bar_also_a_device_that_comes_after_the_person() {
    let scene = bound("block").await.any_device();
    let laptop = Laptop::of("alice");
    let mut attempt = scene.connect();
    assert!(matches!(proved(&mut attempt, "alice", &person_key("alice")).await, Answer::Partial { .. }));
    let answer = shown(&mut attempt, "alice", &laptop.issued(&telling(&laptop, BAD))).await;
    assert!(matches!(answer, Answer::Remediate(_)), "{answer:?}");
}

#[tokio::test]
async fn levels_are_judged_anew_by_the_bundle_in_force() {
    let scene = bound("block").await;
    let laptop = Laptop::of("alice");
    let mut attempt = scene.connect();
    shown(&mut attempt, "alice", &laptop.issued(&telling(&laptop, GOOD))).await;
    proved(&mut attempt, "alice", &person_key("alice")).await;
    let alice = done(answered(&mut attempt, "alice", &scene.code("alice")).await);
    assert!(levels(&alice, &scene).contains(&"sealed".to_owned()));
    let stricter = sealed("block").replace("resource.enabled", "!resource.enabled");
    let file = SourceFile { name: "access.toml".to_owned(), text: stricter };
    let now = scene.clock.now();
    let judged = alice.proven().unwrap().known().assess(&Bundle::parse(&[file]).unwrap(), now, now);
    assert!(!judged.levels.contains(&Level::parse("sealed").unwrap()));
}
