//! Which machine may be sat at, and what is said when it may not.

use super::*;
use crate::store::DeviceState;

fn remediation(answer: Answer) -> crate::device::Remediation {
    match answer {
        Answer::Remediate(remediation) => *remediation,
        other => panic!("no remediation: {other:?}"),
    }
}

#[tokio::test]
async fn without_a_device_a_persons_key_is_never_looked_at() {
    let scene = Scene::new().await;
    for user in ["alice", "nobody"] {
        let mut attempt = scene.connect();
        for key in [person_key("alice"), key_of("a stranger's")] {
            assert!(
                offered(&mut attempt, user, &key).await,
                "any key may sign that a certificate could be for"
            );
            let Answer::Pass { methods, why } = proved(&mut attempt, user, &key).await else { panic!() };
            assert_eq!((methods, why.code()), (Methods::BOTH, "POSTURE-002"));
        }
        assert!(offered(&mut attempt, "alice", &device_key("alice")).await || user != "alice", "no penalty");
    }
}

#[tokio::test]
async fn the_first_prompt_without_a_device_ends_the_connection_with_one_text() {
    let scene = Scene::new().await;
    let mut texts = Vec::new();
    for (user, key) in [("alice", person_key("alice")), ("alice", key_of("x")), ("nobody", key_of("y"))] {
        let mut attempt = scene.connect();
        offered(&mut attempt, user, &key).await;
        let Answer::Disconnect { text, why } = attempt.prompt(user).await else { panic!() };
        assert_eq!(why.code(), "POSTURE-003", "it was to sign, and did not");
        assert!(text.ends_with(&format!(" [POSTURE-000] ref {}", why.reference())), "{text}");
        texts.push(text.replace(why.reference().as_str(), ""));
        assert!(matches!(attempt.prompt(user).await, Answer::Refuse { methods: Methods::NONE, .. }));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1);
}

#[tokio::test]
async fn a_locked_device_is_told_so_once_it_is_proven_and_goes_no_further() {
    let scene = Scene::new().await;
    scene.store.set_device_state("lt-alice", DeviceState::Locked, 2).await.unwrap();
    let mut attempt = scene.connect();
    assert!(offered(&mut attempt, "alice", &device_key("alice")).await);
    let barred = remediation(proved(&mut attempt, "alice", &device_key("alice")).await);
    assert_eq!((barred.refusal().code(), barred.device()), ("POSTURE-006", Some("lt-alice")));
    assert!(barred.text().contains("[POSTURE-006]") && barred.text().contains("unlock"), "{}", barred.text());
    assert_eq!(refused(proved(&mut attempt, "alice", &person_key("alice")).await), "LOGIN-010");
    assert!(attempt.unfinished().is_none());
}

#[tokio::test]
async fn a_personal_device_is_barred_where_a_managed_one_is_required() {
    let scene = Scene::new().await;
    let (print, text) = (fingerprint(&key_of("own")), key_of("own").to_openssh().unwrap());
    let mut own = NewDevice::active("own", "alice", "default", Some((&print, &text)));
    own.personal = true;
    scene.store.add_device(&own, 1).await.unwrap();
    let barred = remediation(proved(&mut scene.connect(), "alice", &key_of("own")).await);
    assert_eq!(barred.refusal().code(), "POSTURE-006");
    let scene = scene.any_device();
    let mut attempt = scene.connect();
    assert!(matches!(proved(&mut attempt, "alice", &key_of("own")).await, Answer::Partial { .. }));
    proved(&mut attempt, "alice", &person_key("alice")).await;
    let alice = done(answered(&mut attempt, "alice", &scene.code("alice")).await);
    assert!(levels(&alice, &scene).is_empty(), "proven, but not managed");
}

#[tokio::test]
async fn anothers_device_is_told_so_whether_the_operator_exists_or_not() {
    let scene = Scene::new().await;
    let mut texts = Vec::new();
    for user in ["bob", "nobody"] {
        let barred = remediation(proved(&mut scene.connect(), user, &device_key("alice")).await);
        assert_eq!(barred.refusal().code(), "POSTURE-007");
        texts.push(barred.text().replace(barred.refusal().reference().as_str(), ""));
    }
    assert_eq!(texts[0], texts[1]);
}

#[tokio::test]
async fn a_lost_retired_or_pending_device_is_like_an_unknown_key() {
    let scene = Scene::new().await;
    scene.store.set_device_state("lt-alice", DeviceState::Lost, 2).await.unwrap();
    for _ in 0..2 {
        let mut attempt = scene.connect();
        let Answer::Pass { methods, why } = proved(&mut attempt, "alice", &device_key("alice")).await else {
            panic!()
        };
        assert_eq!((methods, why.code()), (Methods::BOTH, "POSTURE-002"));
        scene.store.set_device_state("lt-alice", DeviceState::Retired, 3).await.unwrap();
    }
}

#[tokio::test]
async fn a_device_of_another_tenant_is_no_proof() {
    let scene = Scene::new().await;
    let (print, text) = (fingerprint(&key_of("other")), key_of("other").to_openssh().unwrap());
    let other = NewDevice::active("other", "alice", "acme", Some((&print, &text)));
    scene.store.add_device(&other, 1).await.unwrap();
    assert_eq!(refused(proved(&mut scene.connect(), "alice", &key_of("other")).await), "POSTURE-002");
}

#[tokio::test]
async fn where_bound_evidence_is_demanded_a_plain_device_key_is_none() {
    let mut scene = Scene::new().await;
    scene.device.evidence = Evidence::Bound;
    let mut attempt = scene.connect();
    let answer = proved(&mut attempt, "alice", &device_key("alice")).await;
    assert!(matches!(answer, Answer::Refuse { methods: Methods::BOTH, .. }), "{answer:?}");
    assert_eq!(refused(answer), "POSTURE-004");
}

#[tokio::test]
async fn a_device_key_is_no_persons_key() {
    let scene = Scene::new().await.any_device();
    let mut attempt = scene.with_device("alice").await;
    let again = device_key("alice");
    assert_eq!(refused(proved(&mut attempt, "alice", &again).await), "LOGIN-003");
    assert_eq!(refused(proved(&mut attempt, "alice", &device_key("bob")).await), "LOGIN-003");
}

#[tokio::test]
async fn where_any_machine_will_do_the_device_may_come_after_the_person() {
    let scene = Scene::new().await.any_device();
    let mut attempt = scene.connect();
    assert!(offered(&mut attempt, "alice", &person_key("alice")).await);
    let answer = proved(&mut attempt, "alice", &person_key("alice")).await;
    assert!(matches!(answer, Answer::Partial { methods: Methods::BOTH }), "{answer:?}");
    assert!(!offered(&mut attempt, "alice", &person_key("alice")).await, "or OpenSSH would ask for ever");
    assert!(offered(&mut attempt, "alice", &device_key("alice")).await);
    let answer = proved(&mut attempt, "alice", &device_key("alice")).await;
    assert!(matches!(answer, Answer::Partial { methods: Methods::PROMPT }), "{answer:?}");
    let alice = done(answered(&mut attempt, "alice", &scene.code("alice")).await);
    assert_eq!(alice.device().unwrap().as_str(), "lt-alice");
}

#[tokio::test]
async fn where_any_machine_will_do_a_login_without_device_says_so() {
    let scene = Scene::new().await.any_device();
    let mut attempt = scene.connect();
    proved(&mut attempt, "alice", &person_key("alice")).await;
    let alice = done(answered(&mut attempt, "alice", &scene.code("alice")).await);
    assert!(alice.device().is_none() && alice.proven().is_none());
    assert!(alice.detail()["evidence"].is_null());
}

#[tokio::test]
async fn a_locked_device_bars_also_after_the_person() {
    let scene = Scene::new().await.any_device();
    scene.store.set_device_state("lt-alice", DeviceState::Locked, 2).await.unwrap();
    let mut attempt = scene.connect();
    proved(&mut attempt, "alice", &person_key("alice")).await;
    let barred = remediation(proved(&mut attempt, "alice", &device_key("alice")).await);
    assert_eq!(barred.refusal().code(), "POSTURE-006");
}

#[tokio::test]
async fn a_device_locked_between_key_and_code_lets_nobody_in() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_key("alice").await;
    scene.store.set_device_state("lt-alice", DeviceState::Locked, 2).await.unwrap();
    assert_eq!(refused(answered(&mut attempt, "alice", &scene.code("alice")).await), "POSTURE-006");
}
