//! The certificate of a device: taken for this connection, once, from a device in order; anything else is no proof.

use super::laptop::{HERE, Laptop, Making, Place, bare, private, shown};
use super::*;
use crate::store::DeviceState;
use posture::report::Hex;
use ssh_key::certificate::CertType;

async fn bound() -> Scene {
    let mut scene = Scene::new().await;
    scene.device.evidence = Evidence::Bound;
    scene
}

/// A refusal before the device is proven: its code, and that on the wire it is what every unknown key gets.
fn no_proof(answer: Answer) -> &'static str {
    let Answer::Refuse { methods, why } = answer else { panic!("not refused: {answer:?}") };
    assert_eq!(methods, Methods::BOTH);
    assert_eq!(
        why.line().replace(why.reference().as_str(), "").replace(why.code(), ""),
        format!("bartizan: {WHAT_KEY} [] ref ")
    );
    why.code()
}

async fn refused_at_noon(change: impl FnOnce(&mut Making)) -> &'static str {
    let scene = bound().await;
    no_proof(shown(&mut scene.connect(), "alice", &Laptop::of("alice").forged(change)).await)
}

#[tokio::test]
async fn a_certificate_for_this_connection_is_a_proof_and_the_person_follows() {
    let scene = bound().await;
    let (mut attempt, certificate) = (scene.connect(), Laptop::of("alice").certificate());
    assert!(offered(&mut attempt, "alice", &bare(&certificate)).await);
    let answer = shown(&mut attempt, "alice", &certificate).await;
    assert!(matches!(answer, Answer::Partial { methods: Methods::KEY }), "{answer:?}");
    assert!(!offered(&mut attempt, "alice", &bare(&certificate)).await, "or OpenSSH would ask for ever");
    assert!(offered(&mut attempt, "alice", &person_key("alice")).await);
    proved(&mut attempt, "alice", &person_key("alice")).await;
    let alice = done(answered(&mut attempt, "alice", &scene.code("alice")).await);
    let device = alice.proven().unwrap();
    assert_eq!((device.name().as_str(), device.evidence()), ("lt-alice", policy::Evidence::Bound));
    assert_eq!(levels(&alice, &scene), ["managed"]);
    assert_eq!(alice.detail()["device_key"], fingerprint(&device_key("alice")));
    assert_eq!(scene.store.last_report("lt-alice").await.unwrap().unwrap().proven, NOON * 1000);
}

#[tokio::test]
async fn a_code_given_on_a_device_counts_whatever_throw_away_key_comes_with_it() {
    let scene = bound().await;
    let laptop = Laptop::of("alice");
    for remembered in [false, true] {
        let mut attempt = scene.connect();
        shown(&mut attempt, "alice", &laptop.certificate()).await;
        let answer = proved(&mut attempt, "alice", &person_key("alice")).await;
        if remembered {
            assert!(done(answer).detail()["remembered"].as_bool().unwrap());
        } else {
            done(answered(&mut attempt, "alice", &scene.code("alice")).await);
        }
    }
}

#[tokio::test]
async fn what_is_not_the_form_of_a_certificate_is_001() {
    assert_eq!(refused_at_noon(|making| making.kind = CertType::Host).await, "POSTURE-001");
    assert_eq!(refused_at_noon(|making| making.critical = false).await, "POSTURE-001");
    assert_eq!(refused_at_noon(|making| making.json = Some("{}".to_owned())).await, "POSTURE-001");
    let twice = |making: &mut Making| {
        making.json = Some(making.report.to_json().unwrap().replacen("{\"v\":1", "{\"v\":1,\"v\":1", 1));
    };
    assert_eq!(refused_at_noon(twice).await, "POSTURE-001");
    let unknown = |making: &mut Making| {
        making.json =
            Some(making.report.to_json().unwrap().replacen("{\"v\":1", "{\"v\":1,\"root\":true", 1));
    };
    assert_eq!(refused_at_noon(unknown).await, "POSTURE-001");
    assert_eq!(refused_at_noon(|making| making.json = Some(" ".repeat(33 << 10))).await, "POSTURE-001");
}

#[tokio::test]
async fn a_key_that_is_no_active_devices_is_002_whoever_is_named() {
    assert_eq!(refused_at_noon(|making| making.signer = private("another CA")).await, "POSTURE-002");
    for state in [DeviceState::Lost, DeviceState::Retired] {
        let scene = bound().await;
        scene.store.set_device_state("lt-alice", state, 2).await.unwrap();
        for user in ["alice", "nobody"] {
            let certificate = Laptop::of("alice").certificate();
            assert_eq!(no_proof(shown(&mut scene.connect(), user, &certificate).await), "POSTURE-002");
        }
    }
    let scene = bound().await;
    let stranger = Laptop::new("lt-alice", "alice", "a stranger's machine").certificate();
    assert_eq!(no_proof(shown(&mut scene.connect(), "alice", &stranger).await), "POSTURE-002");
}

#[tokio::test]
async fn another_tenants_device_is_002() {
    let scene = bound().await;
    let (print, text) = (fingerprint(&key_of("other")), key_of("other").to_openssh().unwrap());
    let other = NewDevice::active("other", "alice", "acme", Some((&print, &text)));
    scene.store.add_device(&other, 1).await.unwrap();
    let certificate = Laptop::new("other", "alice", "other").certificate();
    assert_eq!(no_proof(shown(&mut scene.connect(), "alice", &certificate).await), "POSTURE-002");
}

#[tokio::test]
async fn a_proof_for_another_connection_host_key_or_through_a_forwarded_agent_is_004() {
    let scene = bound().await;
    let laptop = Laptop::of("alice");
    let certificate = laptop.certificate();
    let elsewhere = [Place { session: [9; 32], ..HERE }, Place { hostkey: [9; 32], ..HERE }];
    for place in elsewhere {
        let answer = scene.connect().certified("alice", &certificate, &place).await;
        assert_eq!(no_proof(answer), "POSTURE-004", "replayed on another connection");
        let made_there = laptop.issued(&laptop.report(place));
        assert_eq!(no_proof(shown(&mut scene.connect(), "alice", &made_there).await), "POSTURE-004");
    }
    assert_eq!(refused_at_noon(|making| making.report.bind.is_forwarding = true).await, "POSTURE-004");
    let short = |making: &mut Making| making.report.bind.session_id = Hex::new(&[7; 31]).unwrap();
    assert_eq!(refused_at_noon(short).await, "POSTURE-004");
}

#[tokio::test]
async fn an_expired_or_future_one_is_005() {
    for shift in [-121, -1000, 61, 100_000] {
        let shifted = |making: &mut Making| making.at = making.at.saturating_add_signed(shift);
        assert_eq!(refused_at_noon(shifted).await, "POSTURE-005", "{shift}");
    }
    let old = |making: &mut Making| making.report.collected_at -= 1000;
    assert_eq!(refused_at_noon(old).await, "POSTURE-005", "old facts");
}

#[tokio::test]
async fn a_number_that_was_used_before_is_005_in_the_same_login_and_in_every_other() {
    let scene = bound().await;
    let laptop = Laptop::of("alice");
    let certificate = laptop.certificate();
    let mut first = scene.connect();
    assert!(matches!(shown(&mut first, "alice", &certificate).await, Answer::Partial { .. }));
    assert_eq!(refused(shown(&mut first, "alice", &certificate).await), "LOGIN-003");
    assert_eq!(no_proof(shown(&mut scene.connect(), "alice", &certificate).await), "POSTURE-005");
    // Another throw-away key under the same number is no better.
    let again = laptop.forged(|making| {
        making.report.bind.seq = 1;
        making.throw_away = private("another");
    });
    assert_eq!(no_proof(shown(&mut scene.connect(), "alice", &again).await), "POSTURE-005");
}

#[tokio::test]
async fn parallel_logins_may_arrive_out_of_order_but_not_from_long_ago() {
    let scene = bound().await;
    let laptop = Laptop::of("alice");
    let numbered = |number| laptop.forged(|making| making.report.bind.seq = number);
    for number in [5000, 4000, 3976] {
        let answer = shown(&mut scene.connect(), "alice", &numbered(number)).await;
        assert!(matches!(answer, Answer::Partial { .. }), "{number}: {answer:?}");
    }
    assert_eq!(no_proof(shown(&mut scene.connect(), "alice", &numbered(3975)).await), "POSTURE-005");
}

#[tokio::test]
async fn of_two_connections_at_one_instant_one_gets_the_number() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = Scene::with(Store::open(&folder.path().join("bartizan.db")).await.unwrap()).await;
    scene.device.evidence = Evidence::Bound;
    let certificate = Laptop::of("alice").certificate();
    let (mut one, mut two) = (scene.connect(), scene.connect());
    let answers =
        tokio::join!(shown(&mut one, "alice", &certificate), shown(&mut two, "alice", &certificate));
    let taken = [answers.0, answers.1].into_iter().filter(|answer| matches!(answer, Answer::Partial { .. }));
    assert_eq!(taken.count(), 1);
}

#[tokio::test]
async fn a_proven_device_that_is_locked_personal_or_anothers_is_told_so() {
    let scene = bound().await;
    let laptop = Laptop::of("alice");
    let Answer::Remediate(barred) = shown(&mut scene.connect(), "bob", &laptop.certificate()).await else {
        panic!()
    };
    assert_eq!(barred.refusal().code(), "POSTURE-007");
    scene.store.set_device_state("lt-alice", DeviceState::Locked, 2).await.unwrap();
    let certificate = laptop.certificate();
    let Answer::Remediate(barred) = shown(&mut scene.connect(), "alice", &certificate).await else {
        panic!()
    };
    assert!(barred.text().contains("[POSTURE-006]"), "{}", barred.text());
    assert_eq!(
        no_proof(shown(&mut scene.connect(), "alice", &certificate).await),
        "POSTURE-005",
        "its number is used"
    );
    let (print, text) = (fingerprint(&key_of("own")), key_of("own").to_openssh().unwrap());
    let mut own = NewDevice::active("own", "alice", "default", Some((&print, &text)));
    own.personal = true;
    scene.store.add_device(&own, 1).await.unwrap();
    let certificate = Laptop::new("own", "alice", "own").certificate();
    let Answer::Remediate(barred) = shown(&mut scene.connect(), "alice", &certificate).await else {
        panic!()
    };
    assert_eq!(barred.refusal().code(), "POSTURE-006");
}

#[tokio::test]
async fn a_certificate_never_passes_for_a_persons_key_and_its_key_never_for_anybody() {
    let scene = bound().await;
    let certificate = Laptop::of("alice").certificate();
    let mut attempt = scene.connect();
    assert_eq!(refused(proved(&mut attempt, "alice", &bare(&certificate)).await), "POSTURE-002");
    shown(&mut attempt, "alice", &certificate).await;
    assert_eq!(refused(proved(&mut attempt, "alice", &bare(&certificate)).await), "LOGIN-003");
    let second = Laptop::of("alice").forged(|making| making.throw_away = private("person alice"));
    assert_eq!(refused(shown(&mut attempt, "alice", &second).await), "LOGIN-003");
    let signed_by_person = Laptop::of("alice").forged(|making| making.signer = private("person alice"));
    assert_eq!(refused(shown(&mut attempt, "alice", &signed_by_person).await), "LOGIN-003");
    assert_eq!(refused(attempt.prompt("alice").await), "LOGIN-003", "nothing was gained");
}

#[tokio::test]
async fn keys_of_the_kind_that_certificates_are_for_may_sign_alike_known_or_not_and_so_many_and_no_more() {
    let scene = bound().await;
    let mut attempt = scene.connect();
    let keys = ["person alice", "person bob", "device of alice", "a stranger's"];
    for key in keys.iter().cycle().take(24) {
        assert!(offered(&mut attempt, "alice", &key_of(key)).await, "{key}");
    }
    for key in keys {
        assert!(!offered(&mut attempt, "alice", &key_of(key)).await, "{key}");
    }
}

#[tokio::test]
async fn a_persons_key_that_comes_before_the_device_costs_nothing() {
    let scene = bound().await;
    let mut attempt = scene.connect();
    for _ in 0..3 {
        let answer = proved(&mut attempt, "alice", &person_key("alice")).await;
        assert!(matches!(answer, Answer::Pass { methods: Methods::BOTH, .. }), "{answer:?}");
    }
    assert!(matches!(
        shown(&mut attempt, "alice", &Laptop::of("alice").certificate()).await,
        Answer::Partial { .. }
    ));
    let answer = proved(&mut attempt, "alice", &person_key("alice")).await;
    assert!(matches!(answer, Answer::Partial { methods: Methods::PROMPT }), "{answer:?}");
}

#[tokio::test]
async fn the_end_of_a_login_without_proof_says_in_the_log_what_was_wrong_with_the_last_one_and_nothing_on_the_wire()
 {
    let scene = bound().await;
    let laptop = Laptop::of("alice");
    let mut texts = Vec::new();
    for certificate in [
        laptop.issued(&laptop.report(Place { session: [9; 32], ..HERE })),
        laptop.forged(|making| making.at -= 500),
    ] {
        let mut attempt = scene.connect();
        let code = no_proof(shown(&mut attempt, "alice", &certificate).await);
        proved(&mut attempt, "alice", &person_key("alice")).await;
        assert!(attempt.unfinished().is_none(), "it is in the log already");
        let Answer::Disconnect { text, why } = attempt.prompt("alice").await else { panic!() };
        assert_eq!(why.code(), code);
        texts.push(text.replace(why.reference().as_str(), ""));
    }
    assert!(texts[0] == texts[1] && texts[0].contains("[POSTURE-000]"), "{texts:?}");
}

#[tokio::test]
async fn a_key_that_was_told_to_sign_and_never_did_rightly_is_003_at_the_end() {
    let scene = bound().await;
    let certificate = Laptop::of("alice").certificate();
    // Of a wrong signature the transport tells nobody: what comes next is all there is.
    let mut attempt = scene.connect();
    assert!(offered(&mut attempt, "alice", &bare(&certificate)).await);
    assert_eq!(attempt.unfinished().unwrap().code(), "POSTURE-003");
    assert!(offered(&mut attempt, "alice", &person_key("alice")).await);
    proved(&mut attempt, "alice", &person_key("alice")).await;
    assert_eq!(attempt.unfinished().unwrap().code(), "POSTURE-003");
    let Answer::Disconnect { why, .. } = attempt.prompt("alice").await else { panic!() };
    assert_eq!(why.code(), "POSTURE-003");
    // Late is not never.
    let mut attempt = scene.connect();
    assert!(offered(&mut attempt, "alice", &bare(&certificate)).await);
    assert!(offered(&mut attempt, "alice", &bare(&certificate)).await);
    assert!(matches!(shown(&mut attempt, "alice", &certificate).await, Answer::Partial { .. }));
    assert_eq!(attempt.unfinished().unwrap().code(), "LOGIN-012");
}

#[tokio::test]
async fn where_any_machine_will_do_a_certificate_may_come_after_the_person() {
    let mut scene = Scene::new().await.any_device();
    scene.device.evidence = Evidence::Bound;
    let mut attempt = scene.connect();
    let answer = proved(&mut attempt, "alice", &person_key("alice")).await;
    assert!(matches!(answer, Answer::Partial { methods: Methods::BOTH }), "{answer:?}");
    let certificate = Laptop::of("alice").certificate();
    assert!(offered(&mut attempt, "alice", &bare(&certificate)).await);
    let answer = shown(&mut attempt, "alice", &certificate).await;
    assert!(matches!(answer, Answer::Partial { methods: Methods::PROMPT }), "{answer:?}");
    let alice = done(answered(&mut attempt, "alice", &scene.code("alice")).await);
    assert_eq!(alice.device().unwrap().as_str(), "lt-alice");
}

#[tokio::test]
async fn where_a_plain_device_key_is_enough_a_certificate_is_too() {
    let scene = Scene::new().await;
    let answer = shown(&mut scene.connect(), "alice", &Laptop::of("alice").certificate()).await;
    assert!(matches!(answer, Answer::Partial { methods: Methods::KEY }), "{answer:?}");
}
