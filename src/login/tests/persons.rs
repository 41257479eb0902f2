//! Who may log in, and by which key.

use std::time::Duration;

use policy::Factor;

use super::*;
use crate::store::OperatorState;

#[tokio::test]
async fn device_key_and_code_together_log_an_operator_in() {
    let scene = Scene::new().await;
    scene.clock.pass(Duration::from_secs(5));
    let alice = done(scene.log_in("alice").await);
    assert_eq!(alice.operator().as_str(), "alice");
    assert_eq!(alice.device().unwrap().as_str(), "lt-alice");
    assert_eq!(alice.key(), fingerprint(&person_key("alice")));
    assert_eq!(
        alice.factors().iter().map(|&(factor, _)| factor).collect::<Vec<_>>(),
        [Factor::Key, Factor::Code]
    );
    assert_eq!(alice.assurance(), 1, "two possessions");
    assert_eq!(alice.source().to_string(), "192.0.2.7");
    let detail = alice.detail();
    assert_eq!(
        (&detail["assurance"], &detail["codes"], &detail["remembered"]),
        (&1.into(), &true.into(), &false.into())
    );
    assert_eq!((&detail["evidence"], &detail["login"]), (&"key".into(), &"alice".into()));
}

#[tokio::test]
async fn alices_key_does_not_log_bob_in() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_device("bob").await;
    assert!(!offered(&mut attempt, "bob", &person_key("alice")).await);
    assert_eq!(attempt.unfinished().unwrap().code(), "LOGIN-003");
    assert_eq!(refused(proved(&mut attempt, "bob", &person_key("alice")).await), "LOGIN-003");
    assert_eq!(refused(attempt.prompt("bob").await), "LOGIN-003");
}

#[tokio::test]
async fn alices_key_with_bobs_code_logs_nobody_in() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_key("alice").await;
    assert_eq!(refused(answered(&mut attempt, "alice", &scene.code("bob")).await), "LOGIN-004");
    let mut attempt = scene.with_key("alice").await;
    attempt.prompt("alice").await;
    let code = scene.code("bob");
    assert_eq!(refused(attempt.answers("bob", &[code.as_bytes()]).await), "LOGIN-009");
    assert_eq!(refused(attempt.answers("bob", &[code.as_bytes()]).await), "LOGIN-010");
}

#[tokio::test]
async fn another_name_drops_all_that_was_proven() {
    let scene = Scene::new().await;
    for way in 0..4 {
        let mut attempt = scene.with_key("alice").await;
        attempt.prompt("alice").await;
        let bob = person_key("bob");
        match way {
            0 => assert!(!offered(&mut attempt, "bob", &bob).await),
            1 => assert_eq!(refused(proved(&mut attempt, "bob", &bob).await), "LOGIN-009"),
            2 => assert_eq!(refused(attempt.prompt("alice+web-1").await), "LOGIN-009"),
            _ => assert_eq!(refused(attempt.answers("+", &[b"1"]).await), "LOGIN-009"),
        }
        let code = scene.code("alice");
        assert_eq!(refused(attempt.answers("alice", &[code.as_bytes()]).await), "LOGIN-009");
        assert!(
            matches!(attempt.prompt("alice").await, Answer::Disconnect { .. }),
            "not even the device is left"
        );
    }
}

#[tokio::test]
async fn unknown_disabled_revoked_and_keyless_operators_get_the_same_answers() {
    let scene = Scene::new().await;
    for (name, state) in [("carol", OperatorState::Disabled), ("dave", OperatorState::Revoked)] {
        scene.operator(name).await;
        scene.store.set_operator_state(name, state, 2).await.unwrap();
    }
    // "eve" does not exist, but somebody registered a device for her.
    let (print, text) = (fingerprint(&device_key("eve")), device_key("eve").to_openssh().unwrap());
    let laptop = NewDevice::active("lt-eve", "eve", "default", Some((&print, &text)));
    scene.store.add_device(&laptop, 1).await.unwrap();
    let mut codes = Vec::new();
    for name in ["alice", "carol", "dave"] {
        let mut attempt = scene.with_device(name).await;
        let key = if name == "alice" { key_of("a stranger's") } else { person_key(name) };
        assert!(!offered(&mut attempt, name, &key).await);
        let Answer::Refuse { methods, why } = proved(&mut attempt, name, &key).await else { panic!() };
        assert_eq!(methods, Methods::KEY);
        codes.push(why.code());
        let Answer::Refuse { methods, .. } = attempt.prompt(name).await else { panic!() };
        assert_eq!(methods, Methods::KEY);
    }
    assert_eq!(codes, ["LOGIN-003", "LOGIN-002", "LOGIN-002"]);
    // A device whose owner does not exist proves nothing: its tenant cannot be its owner's.
    let mut attempt = scene.connect();
    assert_eq!(refused(proved(&mut attempt, "eve", &device_key("eve")).await), "POSTURE-002");
}

#[tokio::test]
async fn without_a_required_device_unknown_and_known_look_alike_too() {
    let scene = Scene::new().await.any_device();
    for (name, code) in [("alice", "LOGIN-003"), ("nobody", "LOGIN-001")] {
        let mut attempt = scene.connect();
        let key = key_of("a stranger's");
        assert!(offered(&mut attempt, name, &key).await, "any key may sign that a certificate could be for");
        let Answer::Refuse { methods, why } = proved(&mut attempt, name, &key).await else { panic!() };
        assert_eq!((methods, why.code()), (Methods::KEY, code));
        let Answer::Refuse { methods, .. } = attempt.prompt(name).await else { panic!() };
        assert_eq!(methods, Methods::KEY);
    }
}

#[tokio::test]
async fn a_malformed_name_is_refused_before_any_look_up() {
    let scene = Scene::new().await;
    let long = "a".repeat(10 * 1024);
    scene.store.close().await;
    for user in ["", "+", "a++b", "a+b+c+d", "alice ", "al\u{456}ce", "alice\0", &long] {
        let mut attempt = scene.connect();
        let key = device_key("alice");
        assert!(!offered(&mut attempt, user, &key).await);
        assert_eq!(refused(proved(&mut attempt, user, &key).await), "LOGIN-007", "{user:?}");
        assert_eq!(refused(attempt.prompt(user).await), "LOGIN-007");
        assert!(attempt.claimed().is_none());
    }
}

#[tokio::test]
async fn a_key_counts_once() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_device("alice").await;
    assert!(!offered(&mut attempt, "alice", &device_key("alice")).await);
    assert_eq!(refused(proved(&mut attempt, "alice", &device_key("alice")).await), "LOGIN-003");
    assert!(offered(&mut attempt, "alice", &person_key("alice")).await, "and nothing is lost by it");
    proved(&mut attempt, "alice", &person_key("alice")).await;
    assert!(!offered(&mut attempt, "alice", &person_key("alice")).await);
    assert_eq!(refused(proved(&mut attempt, "alice", &person_key("alice")).await), "LOGIN-003");
    assert_eq!(
        done(answered(&mut attempt, "alice", &scene.code("alice")).await).operator().as_str(),
        "alice"
    );
}

#[tokio::test]
async fn an_operator_disabled_between_key_and_code_is_not_let_in() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_key("alice").await;
    scene.store.set_operator_state("alice", OperatorState::Disabled, 2).await.unwrap();
    assert_eq!(refused(answered(&mut attempt, "alice", &scene.code("alice")).await), "LOGIN-002");
}

#[tokio::test]
async fn a_bundle_that_names_operators_says_who_exists_and_the_stores_state_wins() {
    let scene = Scene::new().await.bundled("[[operator]]\nname = \"alice\"\nroles = [\"dba\"]\n");
    let name = |text: &str| policy::OperatorName::parse(text).unwrap();
    let alice = person(&scene.store, &scene.bundle, &name("alice")).await.unwrap().unwrap();
    assert_eq!(alice.roles.iter().map(policy::RoleName::as_str).collect::<Vec<_>>(), ["dba"]);
    assert_eq!(
        person(&scene.store, &scene.bundle, &name("bob")).await.unwrap(),
        None,
        "local, but not in the bundle"
    );
    scene.store.set_operator_state("alice", OperatorState::Disabled, 2).await.unwrap();
    assert!(!person(&scene.store, &scene.bundle, &name("alice")).await.unwrap().unwrap().enabled());
}

#[tokio::test]
async fn a_factor_that_cannot_be_given_is_never_taken_for_given() {
    let scene =
        Scene::new().await.bundled("[login]\nrequire = { factors = [\"key\", \"code\", \"password\"] }\n");
    assert_eq!(refused(scene.log_in("alice").await), "ACCESS-005");
}

#[tokio::test]
async fn offers_and_prompts_without_end_come_to_one() {
    let scene = Scene::new().await;
    let mut attempt = scene.connect();
    for _ in 0..100 {
        assert!(offered(&mut attempt, "alice", &device_key("alice")).await);
    }
    assert_eq!(refused(proved(&mut attempt, "alice", &device_key("alice")).await), "LIMIT-001");
    let mut attempt = scene.with_key("alice").await;
    for _ in 0..98 {
        assert!(matches!(attempt.prompt("alice").await, Answer::Ask { .. }));
    }
    let code = scene.code("alice");
    assert_eq!(refused(attempt.answers("alice", &[code.as_bytes()]).await), "LIMIT-001");
}

#[tokio::test]
async fn a_store_that_fails_lets_nobody_in() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_key("alice").await;
    attempt.prompt("alice").await;
    scene.store.close().await;
    let code = scene.code("alice");
    let Answer::Disconnect { why, .. } = attempt.answers("alice", &[code.as_bytes()]).await else { panic!() };
    assert_eq!(why.code(), "LOGIN-011");
    assert_eq!(refused(attempt.prompt("alice").await), "LOGIN-010");
}
