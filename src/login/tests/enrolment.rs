//! The way of a new machine into the inventory: a token, a proof of its key, and nothing that a stranger could use.

use posture::token::Token;

use super::laptop::{HERE, Laptop, Place, shown};
use super::*;
use crate::device::{Enrolment, Offer};
use crate::store::DeviceState;

/// A machine on record, and the token for it.
async fn registered(scene: &Scene, name: &str, imported: bool) -> (String, Token) {
    let new = NewDevice {
        state: DeviceState::Registered,
        imported,
        ..NewDevice::active(name, "alice", "default", None)
    };
    scene.store.add_device(&new, 1).await.unwrap();
    let offer = Offer::open(&scene.store, name, scene.clock.now()).await.unwrap();
    let token = Token {
        id: offer.id().to_owned(),
        secret: offer.secret().to_owned(),
        device: name.to_owned(),
        owner: "alice".to_owned(),
        kind: "laptop".to_owned(),
        personal: false,
        host: "bastion.example".to_owned(),
        port: 22,
        host_keys: vec![key_of("host").to_openssh().unwrap()],
        host_ca: Vec::new(),
        names: Vec::new(),
        facts: Default::default(),
        processes: Vec::new(),
    };
    (format!("enroll+{}", token.id), token)
}

fn enrolling(answer: Answer) -> Enrolment {
    match answer {
        Answer::EnrolDevice(enrolment) => *enrolment,
        other => panic!("not enrolling: {other:?}"),
    }
}

#[tokio::test]
async fn a_new_machine_proves_its_key_brings_its_token_and_waits_for_a_second_person() {
    let scene = Scene::new().await;
    let (login, token) = registered(&scene, "lt-new", false).await;
    let laptop = Laptop::new("lt-new", "alice", "new");
    let enrolment = enrolling(shown(&mut scene.connect(), &login, &laptop.certificate()).await);
    let text = token.to_text().unwrap();
    let enrolled = enrolment.complete(&scene.store, &text, scene.clock.now()).await.unwrap();
    assert_eq!((enrolled.device.as_str(), enrolled.state), ("lt-new", DeviceState::Pending));
    assert!(enrolment.complete(&scene.store, &text, scene.clock.now()).await.is_err(), "once");
    assert_eq!(
        refused(shown(&mut scene.connect(), "alice", &laptop.certificate()).await),
        "POSTURE-002",
        "pending"
    );
    scene.store.approve_device("lt-new", "ben", 2).await.unwrap();
    assert!(matches!(
        shown(&mut scene.connect(), "alice", &laptop.certificate()).await,
        Answer::Partial { .. }
    ));
}

#[tokio::test]
async fn one_that_is_vouched_for_is_in_use_at_once() {
    let scene = Scene::new().await;
    let (login, token) = registered(&scene, "lt-new", true).await;
    let laptop = Laptop::new("lt-new", "alice", "new");
    let enrolment = enrolling(shown(&mut scene.connect(), &login, &laptop.certificate()).await);
    let enrolled =
        enrolment.complete(&scene.store, &token.to_text().unwrap(), scene.clock.now()).await.unwrap();
    assert_eq!(enrolled.state, DeviceState::Active);
    assert!(matches!(
        shown(&mut scene.connect(), "alice", &laptop.certificate()).await,
        Answer::Partial { .. }
    ));
}

#[tokio::test]
async fn an_unknown_or_late_token_another_name_a_known_key_or_another_connection_open_nothing() {
    let scene = Scene::new().await;
    let (login, _) = registered(&scene, "lt-new", true).await;
    let laptop = Laptop::new("lt-new", "alice", "new");
    let answer = shown(&mut scene.connect(), "enroll+nosuchtoken", &laptop.certificate()).await;
    assert_eq!(refused(answer), "POSTURE-002");
    for other in [
        Laptop::new("lt-other", "alice", "new"),
        Laptop::new("lt-new", "alice", "device of bob"),
        Laptop::new("lt-new", "alice", "person bob"),
    ] {
        assert_eq!(refused(shown(&mut scene.connect(), &login, &other.certificate()).await), "POSTURE-002");
    }
    let elsewhere = Place { session: [9; 32], ..HERE };
    let answer = scene.connect().certified(&login, &laptop.certificate(), &elsewhere).await;
    assert_eq!(refused(answer), "POSTURE-004");
    let certificate = laptop.certificate();
    enrolling(shown(&mut scene.connect(), &login, &certificate).await);
    assert_eq!(
        refused(shown(&mut scene.connect(), &login, &certificate).await),
        "POSTURE-005",
        "its number is used"
    );
    scene.clock.pass(std::time::Duration::from_secs(15 * 60));
    let late = laptop.forged(|making| {
        making.at += 900;
        making.report.collected_at += 900;
    });
    assert_eq!(refused(shown(&mut scene.connect(), &login, &late).await), "POSTURE-002");
}

#[tokio::test]
async fn a_token_that_is_not_the_logins_or_has_another_secret_enrols_nothing_and_stays() {
    let scene = Scene::new().await;
    let (login, token) = registered(&scene, "lt-new", true).await;
    let (_, other) = registered(&scene, "lt-two", true).await;
    let laptop = Laptop::new("lt-new", "alice", "new");
    let enrolment = enrolling(shown(&mut scene.connect(), &login, &laptop.certificate()).await);
    let mut guessed = token.clone();
    guessed.secret = "A".repeat(32);
    for wrong in [other.to_text().unwrap().to_string(), guessed.to_text().unwrap().to_string(), String::new()]
    {
        assert!(enrolment.complete(&scene.store, &wrong, scene.clock.now()).await.is_err());
        assert_eq!(scene.store.device("lt-new").await.unwrap().unwrap().state, DeviceState::Registered);
    }
    assert!(enrolment.complete(&scene.store, &token.to_text().unwrap(), scene.clock.now()).await.is_ok());
}

#[tokio::test]
async fn enrolling_is_no_login_and_a_persons_key_opens_nothing_by_that_name() {
    let scene = Scene::new().await;
    let (login, _) = registered(&scene, "lt-new", true).await;
    let mut attempt = scene.connect();
    for key in [person_key("alice"), key_of("new")] {
        assert!(matches!(proved(&mut attempt, &login, &key).await, Answer::Pass { .. }));
    }
    assert!(matches!(attempt.prompt(&login).await, Answer::Disconnect { .. }));
    let mut attempt = scene.connect();
    enrolling(shown(&mut attempt, &login, &Laptop::new("lt-new", "alice", "new").certificate()).await);
    assert_eq!(refused(proved(&mut attempt, &login, &person_key("alice")).await), "LOGIN-010");
}
