//! A code given on a device counts for a while, there and nowhere else.

use std::time::Duration;

use super::*;
use crate::store::{DeviceState, OperatorState};

/// Device and key alone, as `ssh` in batch mode would.
async fn batch(scene: &Scene, user: &str) -> Answer {
    let mut attempt = scene.connect();
    let operator = user.split('+').next().unwrap();
    proved(&mut attempt, user, &device_key(operator)).await;
    proved(&mut attempt, user, &person_key(operator)).await
}

fn is_asked(answer: &Answer) -> bool {
    matches!(answer, Answer::Partial { methods: Methods::PROMPT })
}

#[tokio::test]
async fn two_logins_within_one_second_need_one_code() {
    let scene = Scene::new().await;
    done(scene.log_in("alice").await);
    let again = done(batch(&scene, "alice").await);
    assert_eq!(again.detail()["remembered"], true);
    assert_eq!(again.assurance(), 1);
}

#[tokio::test]
async fn a_remembered_code_keeps_the_time_it_was_given_and_is_not_renewed() {
    let scene = Scene::new().await;
    let given = scene.clock.now();
    done(scene.log_in("alice").await);
    for _ in 0..7 {
        scene.clock.pass(Duration::from_secs(3600));
        let alice = done(batch(&scene, "alice").await);
        assert_eq!(alice.factors()[1].1, given);
    }
    scene.clock.pass(Duration::from_secs(3600));
    assert!(is_asked(&batch(&scene, "alice").await), "eight hours are over");
}

#[tokio::test]
async fn fresh_zero_asks_at_every_connection() {
    let scene = Scene::new().await.bundled("[login]\nfresh = \"0s\"\n");
    done(scene.log_in("alice").await);
    assert!(is_asked(&batch(&scene, "alice").await));
}

#[tokio::test]
async fn the_strictest_grant_on_the_named_target_says_how_fresh() {
    let text = "
        [[operator]]
        name = \"alice\"
        roles = [\"sre\"]
        [[target]]
        name = \"db-1\"
        address = \"10.0.0.5:22\"
        host_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\"]
        accounts = [\"deploy\"]
        default_account = \"deploy\"
        [[grant]]
        name = \"sre-db\"
        roles = [\"sre\"]
        targets = [\"db-1\"]
        accounts = [\"deploy\"]
        allow = [\"shell\"]
        require = { fresh = \"15m\" }
    ";
    let scene = Scene::new().await.bundled(text);
    done(scene.log_in("alice").await);
    scene.clock.pass(Duration::from_secs(14 * 60));
    done(batch(&scene, "alice+db-1").await);
    scene.clock.pass(Duration::from_secs(2 * 60));
    assert!(is_asked(&batch(&scene, "alice+db-1").await));
    done(batch(&scene, "alice").await);
}

#[tokio::test]
async fn memory_speaks_for_one_operator_on_one_device() {
    let scene = Scene::new().await;
    done(scene.log_in("alice").await);
    assert!(is_asked(&batch(&scene, "bob").await));
    let (print, text) = (fingerprint(&key_of("second")), key_of("second").to_openssh().unwrap());
    let second = NewDevice::active("second", "alice", "default", Some((&print, &text)));
    scene.store.add_device(&second, 1).await.unwrap();
    let mut attempt = scene.connect();
    proved(&mut attempt, "alice", &key_of("second")).await;
    assert!(is_asked(&proved(&mut attempt, "alice", &person_key("alice")).await));
}

#[tokio::test]
async fn without_a_proven_device_nothing_is_remembered_nor_recalled() {
    let scene = Scene::new().await.any_device();
    let mut attempt = scene.connect();
    proved(&mut attempt, "alice", &person_key("alice")).await;
    done(answered(&mut attempt, "alice", &scene.code("alice")).await);
    for device_first in [false, true] {
        let mut attempt = scene.connect();
        if device_first {
            proved(&mut attempt, "alice", &device_key("alice")).await;
        }
        let answer = proved(&mut attempt, "alice", &person_key("alice")).await;
        assert!(matches!(answer, Answer::Partial { .. }), "{answer:?}");
    }
}

#[tokio::test]
async fn lock_disable_and_a_new_seed_end_it() {
    let scene = Scene::new().await.bundled("[login]\nfresh = \"7d\"\n");
    for way in 0..3 {
        scene.clock.pass(Duration::from_secs(60));
        done(scene.log_in("alice").await);
        match way {
            0 => {
                scene.store.set_device_state("lt-alice", DeviceState::Locked, 2).await.unwrap();
                scene.store.set_device_state("lt-alice", DeviceState::Active, 3).await.unwrap();
            }
            1 => {
                scene.store.set_operator_state("alice", OperatorState::Disabled, 2).await.unwrap();
                scene.store.set_operator_state("alice", OperatorState::Active, 3).await.unwrap();
            }
            _ => {
                let sealed = scene.keys.seal_seed("alice", &seed("alice")).unwrap();
                scene.store.set_totp("alice", &sealed, 4).await.unwrap();
            }
        }
        assert!(is_asked(&batch(&scene, "alice").await), "{way}");
    }
}

#[tokio::test]
async fn a_login_that_waits_at_its_prompt_is_let_in_by_the_code_given_in_another() {
    let scene = Scene::new().await;
    let mut waiting = scene.with_key("alice").await;
    done(scene.log_in("alice").await);
    let alice = done(waiting.prompt("alice").await);
    assert_eq!(alice.detail()["remembered"], true);
}

#[tokio::test]
async fn a_code_that_was_wrong_is_not_remembered() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_key("alice").await;
    answered(&mut attempt, "alice", "000001").await;
    assert!(is_asked(&batch(&scene, "alice").await));
}
