//! More is asked of who is logged in: exactly what is lacking, answered as often as asked and never without.

use std::time::Duration;

use policy::{AccountName, Factor, TargetName};

use super::*;

const CODE: Lacking = Lacking { code: true, reason: false };
const REASON: Lacking = Lacking { code: false, reason: true };
const BOTH: Lacking = Lacking { code: true, reason: true };

/// Alice, an hour after she logged in with a code.
async fn an_hour_later(scene: &Scene) -> Arc<Authenticated> {
    let alice = done(scene.log_in("alice").await);
    scene.clock.pass(Duration::from_secs(3600));
    Arc::new(alice)
}

fn asked(from: &Arc<Authenticated>, lacking: Lacking) -> Round {
    StepUp::new(from.clone(), lacking).ask()
}

async fn refused_with(scene: &Scene, round: Round, given: &[&[u8]]) -> &'static str {
    round.answers(&scene.ground(), given).await.unwrap_err().why.code()
}

#[tokio::test]
async fn a_code_makes_a_new_login_and_leaves_the_old_one_as_it_was() {
    let scene = Scene::new().await;
    let old = an_hour_later(&scene).await;
    let (was, code) = (old.factors().to_vec(), scene.code("alice"));
    let stepped = asked(&old, CODE).answers(&scene.ground(), &[code.as_bytes()]).await.unwrap();
    let new = stepped.authenticated;
    assert_eq!(old.factors(), was);
    assert_eq!(new.factors(), [was[0], (Factor::Code, scene.clock.now())]);
    assert_eq!((new.given(), new.remembered()), (Some(scene.clock.now()), false));
    assert_eq!((new.operator(), new.device(), new.key()), (old.operator(), old.device(), old.key()));
    assert_eq!(stepped.reason, None);
}

#[tokio::test]
async fn it_asks_for_what_is_lacking_and_nothing_else() {
    let scene = Scene::new().await;
    let alice = an_hour_later(&scene).await;
    let questions = |lacking| {
        let all = StepUp::new(alice.clone(), lacking).questions();
        all.into_iter().map(|question| (question.prompt, question.echo)).collect::<Vec<_>>()
    };
    assert_eq!(questions(CODE), [("One-time code: ", false)]);
    assert_eq!(questions(REASON), [("Reason: ", true)]);
    assert_eq!(questions(BOTH), [("One-time code: ", false), ("Reason: ", true)]);
}

#[tokio::test]
async fn as_many_answers_as_questions_or_none_of_them_counts() {
    let scene = Scene::new().await;
    let alice = an_hour_later(&scene).await;
    let code = scene.code("alice");
    let code = code.as_bytes();
    for (lacking, given) in [
        (CODE, &[][..]),
        (CODE, &[code, code]),
        (CODE, &[code, b""]),
        (REASON, &[]),
        (REASON, &[b"INC-42", b"INC-42"]),
        (BOTH, &[code]),
        (BOTH, &[code, b"INC-42", b""]),
    ] {
        assert_eq!(refused_with(&scene, asked(&alice, lacking), given).await, "LOGIN-010", "{lacking:?}");
    }
    assert_eq!(scene.store.totp("alice").await.unwrap().unwrap().failures, 0, "no try was spent");
    asked(&alice, BOTH).answers(&scene.ground(), &[code, b"INC-42"]).await.unwrap();
}

#[tokio::test]
async fn huge_and_unreadable_answers_are_refused_and_a_bad_reason_spends_no_code() {
    let scene = Scene::new().await;
    let alice = an_hour_later(&scene).await;
    let code = scene.code("alice");
    for answer in [&[b'1'; 1024][..], &[0xff; 6], b"", b"?", b"-12345"] {
        assert_eq!(refused_with(&scene, asked(&alice, CODE), &[answer]).await, "LOGIN-004");
    }
    for reason in [&[b'a'; 1024][..], &[0xff; 6], b"", b"\x1b\n\t "] {
        assert_eq!(refused_with(&scene, asked(&alice, BOTH), &[code.as_bytes(), reason]).await, "LOGIN-014");
    }
    let both = asked(&alice, BOTH).answers(&scene.ground(), &[code.as_bytes(), b"INC-42"]).await.unwrap();
    assert_eq!(both.reason.unwrap().as_str(), "INC-42");
}

#[tokio::test]
async fn the_code_of_the_login_and_one_given_elsewhere_are_used() {
    let scene = Scene::new().await;
    let login = scene.code("alice");
    let alice = Arc::new(done(scene.log_in("alice").await));
    assert_eq!(refused_with(&scene, asked(&alice, CODE), &[login.as_bytes()]).await, "LOGIN-005");
    scene.clock.pass(Duration::from_secs(30));
    let next = scene.code("alice");
    asked(&alice, CODE).answers(&scene.ground(), &[next.as_bytes()]).await.unwrap();
    assert_eq!(refused_with(&scene, asked(&alice, CODE), &[next.as_bytes()]).await, "LOGIN-005");
    let mut attempt = scene.connect();
    let user = "alice";
    proved(&mut attempt, user, &device_key(user)).await;
    let remembered = done(proved(&mut attempt, user, &person_key(user)).await);
    assert_eq!(remembered.factors()[1].1, scene.clock.now(), "and it is remembered for later logins");
}

#[tokio::test]
async fn wrong_codes_are_counted_with_those_of_the_login() {
    let scene = Scene::new().await;
    let alice = an_hour_later(&scene).await;
    let wrong = if scene.code("alice") == "000000" { b"000001" } else { b"000000" };
    for _ in 0..5 {
        assert_eq!(refused_with(&scene, asked(&alice, CODE), &[wrong]).await, "LOGIN-004");
    }
    let right = scene.code("alice");
    assert_eq!(refused_with(&scene, asked(&alice, CODE), &[right.as_bytes()]).await, "LOGIN-006");
    scene.clock.pass(Duration::from_secs(30));
    let right = scene.code("alice");
    asked(&alice, CODE).answers(&scene.ground(), &[right.as_bytes()]).await.unwrap();
}

#[tokio::test]
async fn another_persons_code_is_none() {
    let scene = Scene::new().await;
    let alice = an_hour_later(&scene).await;
    let bobs = scene.code("bob");
    assert_eq!(refused_with(&scene, asked(&alice, CODE), &[bobs.as_bytes()]).await, "LOGIN-004");
}

#[tokio::test]
async fn three_rounds_go_wrong_and_then_there_is_none() {
    let scene = Scene::new().await;
    let alice = an_hour_later(&scene).await;
    let mut step_up = StepUp::new(alice, REASON);
    for _ in 0..2 {
        let not_taken = step_up.ask().answers(&scene.ground(), &[b""]).await.unwrap_err();
        step_up = not_taken.again.unwrap();
        assert!(step_up.instructions().contains("not accepted"));
    }
    assert!(step_up.ask().answers(&scene.ground(), &[b""]).await.unwrap_err().again.is_none());
}

const BUNDLE: &str = "
    [[operator]]
    name = \"alice\"
    roles = [\"sre\"]
    [[target]]
    name = \"db-1\"
    address = \"10.0.0.5:22\"
    host_keys = [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ\"]
    accounts = [\"deploy\"]
    [[grant]]
    name = \"sre-db\"
    roles = [\"sre\"]
    targets = [\"db-1\"]
    accounts = [\"deploy\"]
    allow = [\"shell\"]
    require = { fresh = \"15m\" }
";

#[tokio::test]
async fn a_code_given_in_another_connection_is_recalled_where_a_grant_asks_for_a_fresher_one() {
    let scene = Scene::new().await.bundled(BUNDLE);
    let old = an_hour_later(&scene).await;
    let (db1, deploy) = (TargetName::parse("db-1").unwrap(), AccountName::parse("deploy").unwrap());
    let ground = scene.ground();
    let now = |from: &Arc<Authenticated>, target: &TargetName| {
        let (from, target, deploy, ground) = (from.clone(), target.clone(), deploy.clone(), scene.ground());
        async move { recalled(&ground, &from, &target, Some(&deploy)).await.unwrap() }
    };
    assert!(now(&old, &db1).await.is_none(), "nothing newer was given");
    let code = scene.code("alice");
    asked(&old, CODE).answers(&ground, &[code.as_bytes()]).await.unwrap();
    let new = now(&old, &db1).await.unwrap();
    assert_eq!((new.second(), new.given()), (Some(scene.clock.now()), None));
    assert!(now(&new, &db1).await.is_none(), "it is fresh");
    let elsewhere = TargetName::parse("nowhere").unwrap();
    assert!(now(&old, &elsewhere).await.is_none(), "eight hours are enough there");
    scene.clock.pass(Duration::from_secs(16 * 60));
    assert!(now(&old, &db1).await.is_none(), "what was given is stale too");
}
