//! The one-time code: asked once, tried once, taken once.

use std::time::Duration;

use super::*;

const STEP: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_code_is_right_one_step_off_and_wrong_two_steps_off() {
    for (off, right) in [(-2, false), (-1, true), (0, true), (1, true), (2, false)] {
        let scene = Scene::new().await;
        let mut attempt = scene.with_key("alice").await;
        let answer = answered(&mut attempt, "alice", &code_of_step("alice", NOON / 30 + off)).await;
        match right {
            true => drop(done(answer)),
            false => assert_eq!(refused(answer), "LOGIN-004", "{off}"),
        }
    }
}

#[tokio::test]
async fn a_used_code_is_refused_also_after_a_restart() {
    let scene = Scene::new().await.bundled("[login]\nfresh = \"0s\"\n");
    let code = scene.code("alice");
    done(scene.log_in("alice").await);
    let mut attempt = scene.with_key("alice").await;
    assert_eq!(refused(answered(&mut attempt, "alice", &code).await), "LOGIN-005");
    scene.clock.pass(STEP);
    assert_eq!(
        refused(answered(&mut attempt, "alice", &code).await),
        "LOGIN-005",
        "still within its step's neighbour"
    );
    done(answered(&mut attempt, "alice", &scene.code("alice")).await);
}

#[tokio::test]
async fn an_older_code_than_the_last_one_used_is_refused() {
    let scene = Scene::new().await.bundled("[login]\nfresh = \"0s\"\n");
    let mut attempt = scene.with_key("alice").await;
    done(answered(&mut attempt, "alice", &code_of_step("alice", NOON / 30 + 1)).await);
    let mut attempt = scene.with_key("alice").await;
    assert_eq!(refused(answered(&mut attempt, "alice", &scene.code("alice")).await), "LOGIN-005");
}

#[tokio::test]
async fn a_clock_set_back_makes_no_old_code_new() {
    let scene = Scene::new().await;
    done(scene.log_in("alice").await);
    scene.clock.set_back(Duration::from_secs(3600));
    // From the future, nothing is remembered; and the codes of the hour that comes again are all old.
    let mut attempt = scene.with_key("alice").await;
    assert_eq!(refused(answered(&mut attempt, "alice", &scene.code("alice")).await), "LOGIN-005");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_code_on_two_connections_at_one_instant_logs_one_in() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("bartizan.db")).await.unwrap();
    let scene = Scene::with(store).await.bundled("[login]\nfresh = \"0s\"\n");
    for _ in 0..10 {
        scene.clock.pass(STEP);
        let (mut one, mut two) = (scene.with_key("alice").await, scene.with_key("alice").await);
        one.prompt("alice").await;
        two.prompt("alice").await;
        let code = scene.code("alice");
        let other = code.clone();
        let one = tokio::spawn(async move { one.answers("alice", &[code.as_bytes()]).await });
        let two = tokio::spawn(async move { two.answers("alice", &[other.as_bytes()]).await });
        let answers = [one.await.unwrap(), two.await.unwrap()];
        let done = answers.iter().filter(|answer| matches!(answer, Answer::Done(_))).count();
        let used = answers
            .iter()
            .filter(|answer| matches!(answer, Answer::Refuse { why, .. } if why.code() == "LOGIN-005"));
        assert_eq!((done, used.count()), (1, 1), "{answers:?}");
    }
}

#[tokio::test]
async fn each_answer_needs_a_prompt_of_its_own_and_exactly_one_counts() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_key("alice").await;
    let code = scene.code("alice");
    let code = code.as_bytes();
    assert_eq!(refused(attempt.answers("alice", &[code]).await), "LOGIN-010", "no prompt yet");
    for given in [&[][..], &[code, code], &[code; 1000]] {
        attempt.prompt("alice").await;
        assert_eq!(refused(attempt.answers("alice", given).await), "LOGIN-010");
        assert_eq!(refused(attempt.answers("alice", &[code]).await), "LOGIN-010", "the prompt is over");
    }
    for answer in [&b""[..], b"??", &[0xff, 0xfe, 0x00], &[b'1'; 100_000], b"12345", b"1234567", b"-12345"] {
        attempt.prompt("alice").await;
        let why = refused(attempt.answers("alice", &[answer]).await);
        assert_eq!(why, "LOGIN-004", "{:?}", &answer[..answer.len().min(8)]);
    }
}

#[tokio::test]
async fn what_cannot_be_a_code_costs_no_try() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_key("alice").await;
    for _ in 0..20 {
        attempt.prompt("alice").await;
        attempt.answers("alice", &[b"hello"]).await;
        attempt.prompt("alice").await;
        attempt.answers("alice", &[b""]).await;
    }
    done(answered(&mut attempt, "alice", &scene.code("alice")).await);
}

#[tokio::test]
async fn after_five_wrong_codes_the_right_one_waits_whatever_is_reconnected() {
    let scene = Scene::new().await;
    let wrong = code_of_step("alice", 1);
    for n in 0..5 {
        // Another address each time: the authenticator itself counts.
        let mut attempt = scene.connect_from(format!("192.0.2.{n}:1").parse().unwrap());
        proved(&mut attempt, "alice", &device_key("alice")).await;
        proved(&mut attempt, "alice", &person_key("alice")).await;
        assert_eq!(refused(answered(&mut attempt, "alice", &wrong).await), "LOGIN-004");
    }
    let mut attempt = scene.with_key("alice").await;
    for _ in 0..20 {
        assert_eq!(refused(answered(&mut attempt, "alice", &scene.code("alice")).await), "LOGIN-006");
    }
    scene.clock.pass(STEP);
    done(answered(&mut attempt, "alice", &scene.code("alice")).await);
}

#[tokio::test]
async fn throttling_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bartizan.db");
    let mut scene = Scene::with(Store::open(&path).await.unwrap()).await;
    let mut attempt = scene.with_key("alice").await;
    for _ in 0..5 {
        assert_eq!(refused(answered(&mut attempt, "alice", "000001").await), "LOGIN-004");
    }
    drop(attempt);
    scene.store.close().await;
    scene.store = Store::open(&path).await.unwrap();
    scene.keys = Arc::new(Keys::open(&scene.folder.path().join("keys")).unwrap());
    let mut attempt = scene.with_key("alice").await;
    assert_eq!(refused(answered(&mut attempt, "alice", &scene.code("alice")).await), "LOGIN-006");
}

#[tokio::test]
async fn fifty_wrong_codes_in_a_row_disable_and_say_so_to_the_log_alone() {
    let scene = Scene::new().await;
    for _ in 0..50 {
        scene.clock.pass(Duration::from_secs(7200));
        let mut attempt = scene.with_key("alice").await;
        assert_eq!(refused(answered(&mut attempt, "alice", "000001").await), "LOGIN-004");
    }
    scene.clock.pass(Duration::from_secs(7200));
    let mut attempt = scene.with_key("alice").await;
    assert_eq!(refused(answered(&mut attempt, "alice", &scene.code("alice")).await), "LOGIN-006");
    scene.store.unlock_totp("alice").await.unwrap();
    done(answered(&mut attempt, "alice", &scene.code("alice")).await);
}

#[tokio::test]
async fn an_operator_without_an_authenticator_is_asked_like_any_other() {
    let scene = Scene::new().await;
    let roles = [];
    scene
        .store
        .add_operator(&NewOperator { name: "carol", tenant: "default", roles: &roles }, 1)
        .await
        .unwrap();
    for (key, device) in [(person_key("carol"), false), (device_key("carol"), true)] {
        let (print, text) = (fingerprint(&key), key.to_openssh().unwrap());
        if device {
            let laptop = NewDevice::active("lt-carol", "carol", "default", Some((&print, &text)));
            scene.store.add_device(&laptop, 1).await.unwrap();
        } else {
            let new = NewKey { operator: "carol", fingerprint: &print, public_key: &text, comment: "" };
            scene.store.add_operator_key(&new, 1).await.unwrap();
        }
    }
    let mut attempt = scene.with_key("carol").await;
    assert_eq!(refused(answered(&mut attempt, "carol", "123456").await), "LOGIN-004");
}

#[tokio::test]
async fn a_new_prompt_says_that_the_last_code_was_not_taken_and_nothing_more() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_key("alice").await;
    assert!(matches!(attempt.prompt("alice").await, Answer::Ask { instructions: "", .. }));
    attempt.answers("alice", &[b"000001"]).await;
    let Answer::Ask { instructions, .. } = attempt.prompt("alice").await else { panic!() };
    assert!(instructions.contains("not accepted"));
}

#[tokio::test]
async fn a_client_that_leaves_at_the_prompt_is_told_of_in_the_log() {
    let scene = Scene::new().await;
    let attempt = scene.connect();
    assert!(attempt.unfinished().is_none(), "a port scan is no login");
    let mut attempt = scene.with_key("alice").await;
    assert_eq!(attempt.unfinished().unwrap().code(), "LOGIN-012");
    answered(&mut attempt, "alice", "000001").await;
    assert!(attempt.unfinished().is_none(), "said already");
}
