//! An enrolled device that asks, alone, which facts are wanted: told only to one that is proven and in order, and no login.

use posture::FACTS_LOGIN;

use super::laptop::{HERE, Laptop, Place, shown};
use super::*;
use crate::store::DeviceState;

fn login() -> String {
    format!("enroll+{FACTS_LOGIN}")
}

#[tokio::test]
async fn a_device_in_use_is_told_once_for_each_proof_and_nothing_leads_on() {
    let scene = Scene::new().await;
    let (mut attempt, certificate) = (scene.connect(), Laptop::of("alice").certificate());
    let answer = shown(&mut attempt, &login(), &certificate).await;
    assert!(
        matches!(&answer, Answer::TellFacts(device) if device.name().as_str() == "lt-alice"),
        "{answer:?}"
    );
    assert_eq!(refused(proved(&mut attempt, &login(), &person_key("alice")).await), "LOGIN-010");
    assert_eq!(refused(shown(&mut scene.connect(), &login(), &certificate).await), "POSTURE-005", "used");
}

#[tokio::test]
async fn who_is_no_device_in_use_is_told_nothing() {
    let scene = Scene::new().await;
    let stranger = Laptop::new("lt-alice", "alice", "a stranger's");
    assert_eq!(refused(shown(&mut scene.connect(), &login(), &stranger.certificate()).await), "POSTURE-002");
    let renamed = Laptop::new("lt-bob", "bob", "device of alice");
    assert_eq!(refused(shown(&mut scene.connect(), &login(), &renamed.certificate()).await), "POSTURE-002");
    let elsewhere = Place { session: [9; 32], ..HERE };
    let answer = scene.connect().certified(&login(), &Laptop::of("alice").certificate(), &elsewhere).await;
    assert_eq!(refused(answer), "POSTURE-004");
    let mut attempt = scene.connect();
    for key in [person_key("alice"), key_of("a stranger's")] {
        assert_eq!(refused(proved(&mut attempt, &login(), &key).await), "POSTURE-002", "a plain key is none");
    }
    assert!(matches!(attempt.prompt(&login()).await, Answer::Disconnect { .. }));
    let answer = proved(&mut scene.connect(), &login(), &device_key("alice")).await;
    assert!(matches!(&answer, Answer::Remediate(why) if why.refusal().code() == "POSTURE-007"), "{answer:?}");
    scene.store.set_device_state("lt-alice", DeviceState::Locked, 2).await.unwrap();
    let answer = shown(&mut scene.connect(), &login(), &Laptop::of("alice").certificate()).await;
    assert!(matches!(&answer, Answer::Remediate(why) if why.refusal().code() == "POSTURE-006"), "{answer:?}");
    scene.store.set_device_state("lt-alice", DeviceState::Lost, 3).await.unwrap();
    let answer = shown(&mut scene.connect(), &login(), &Laptop::of("alice").certificate()).await;
    assert_eq!(refused(answer), "POSTURE-002");
}

#[tokio::test]
async fn the_list_is_what_the_bundle_asks_of_its_devices() {
    let scene = Scene::new().await;
    let text = crate::device::facts_wanted(&scene.bundle).to_text();
    assert!(text.starts_with("{\"facts\":[\"disk_encryption\""), "{text}");
    assert!(text.ends_with("\"processes\":[]}"), "{text}");
}
