//! What gets a person in without a one-time code: a recovery code, or the invitation of who has no authenticator yet.

use std::time::Duration;

use keys::written::{Kind, Written};

use super::*;
use crate::login::invitation::Invited;
use crate::store::{NewInvitation, OperatorState};

impl Scene {
    /// Gives the operator this many recovery codes.
    async fn recovery(&self, name: &str, count: usize) -> Vec<String> {
        let codes: Vec<Written> = (0..count).map(|_| Written::generate(Kind::Recovery).unwrap()).collect();
        let digests: Vec<[u8; 32]> = codes.iter().map(|code| self.keys.digest(name, code).unwrap()).collect();
        let totp = self.store.totp(name).await.unwrap().unwrap();
        self.store.set_recovery(totp.id, &digests, 1).await.unwrap();
        codes.iter().map(|code| code.shown().to_string()).collect()
    }

    /// An operator with key and device, without an authenticator.
    async fn newcomer(&self, name: &str) {
        self.store.add_operator(&NewOperator { name, tenant: "default", roles: &[] }, 1).await.unwrap();
        let (key, device) = (person_key(name), device_key(name));
        let (print, text) = (fingerprint(&key), key.to_openssh().unwrap());
        let new = NewKey { operator: name, fingerprint: &print, public_key: &text, comment: "" };
        self.store.add_operator_key(&new, 1).await.unwrap();
        let (laptop, print, text) =
            (format!("lt-{name}"), fingerprint(&device), device.to_openssh().unwrap());
        self.store
            .add_device(&NewDevice::active(&laptop, name, "default", Some((&print, &text))), 1)
            .await
            .unwrap();
    }

    /// Invites for 15 minutes from now.
    async fn invite(&self, name: &str) -> String {
        let token = Written::generate(Kind::Invitation).unwrap();
        let digest = self.keys.digest(name, &token).unwrap();
        let now = self.clock.unix_ms();
        let new = NewInvitation { operator: name, digest: &digest, expires: now + 900_000, by: "root" };
        self.store.invite(&new, now).await.unwrap();
        token.shown().to_string()
    }
}

async fn asked(attempt: &mut Attempt, user: &str) -> &'static str {
    match attempt.prompt(user).await {
        Answer::Ask { prompt, .. } => prompt,
        other => panic!("not asked: {other:?}"),
    }
}

/// Types `?` at the prompt for a code.
async fn recovering(attempt: &mut Attempt, user: &str) {
    assert_eq!(asked(attempt, user).await, "One-time code: ");
    let answer = attempt.answers(user, &[b"?"]).await;
    assert!(matches!(answer, Answer::Ask { prompt: "Recovery code: ", .. }), "{answer:?}");
}

fn invited(answer: Answer) -> Invited {
    match answer {
        Answer::Enrol(invited) => *invited,
        other => panic!("not let in to enrol: {other:?}"),
    }
}

#[tokio::test]
async fn a_recovery_code_stands_in_for_a_code_once_and_says_so() {
    let scene = Scene::new().await;
    let codes = scene.recovery("alice", 2).await;
    let mut attempt = scene.with_key("alice").await;
    recovering(&mut attempt, "alice").await;
    let authenticated = done(attempt.answers("alice", &[codes[0].to_lowercase().as_bytes()]).await);
    let factors: Vec<&str> = authenticated.factors().iter().map(|(factor, _)| factor.as_str()).collect();
    assert_eq!((factors, authenticated.assurance()), (vec!["key", "recovery"], 1));
    assert_eq!(authenticated.detail()["codes"], false);
    // It is not remembered, and not taken twice.
    let mut attempt = scene.with_key("alice").await;
    recovering(&mut attempt, "alice").await;
    assert_eq!(refused(attempt.answers("alice", &[codes[0].as_bytes()]).await), "LOGIN-004");
    recovering(&mut attempt, "alice").await;
    done(attempt.answers("alice", &[codes[1].as_bytes()]).await);
}

#[tokio::test]
async fn the_recovery_prompt_comes_to_who_asks_for_it_and_each_answer_needs_its_own_prompt() {
    let scene = Scene::new().await;
    let codes = scene.recovery("alice", 1).await;
    let mut attempt = scene.with_key("alice").await;
    // A recovery code is no one-time code.
    assert_eq!(refused(answered(&mut attempt, "alice", &codes[0]).await), "LOGIN-004");
    recovering(&mut attempt, "alice").await;
    // At its own prompt `?` is nothing, and a one-time code is no recovery code.
    assert_eq!(refused(attempt.answers("alice", &[b"?"]).await), "LOGIN-004");
    recovering(&mut attempt, "alice").await;
    assert_eq!(refused(attempt.answers("alice", &[scene.code("alice").as_bytes()]).await), "LOGIN-004");
    assert_eq!(
        refused(attempt.answers("alice", &[codes[0].as_bytes()]).await),
        "LOGIN-010",
        "the prompt is over"
    );
    recovering(&mut attempt, "alice").await;
    let twice = [codes[0].as_bytes(), codes[0].as_bytes()];
    assert_eq!(refused(attempt.answers("alice", &twice).await), "LOGIN-010");
    done(answered(&mut attempt, "alice", &scene.code("alice")).await);
}

#[tokio::test]
async fn another_operators_recovery_code_is_none() {
    let scene = Scene::new().await;
    let codes = scene.recovery("bob", 1).await;
    let mut attempt = scene.with_key("alice").await;
    recovering(&mut attempt, "alice").await;
    assert_eq!(refused(attempt.answers("alice", &[codes[0].as_bytes()]).await), "LOGIN-004");
}

#[tokio::test]
async fn recovery_codes_are_throttled_with_the_codes_and_end_their_count() {
    let scene = Scene::new().await;
    let codes = scene.recovery("alice", 1).await;
    let wrong = Written::generate(Kind::Recovery).unwrap().shown().to_string();
    let mut attempt = scene.with_key("alice").await;
    for _ in 0..5 {
        recovering(&mut attempt, "alice").await;
        assert_eq!(refused(attempt.answers("alice", &[wrong.as_bytes()]).await), "LOGIN-004");
    }
    recovering(&mut attempt, "alice").await;
    assert_eq!(refused(attempt.answers("alice", &[codes[0].as_bytes()]).await), "LOGIN-006");
    assert_eq!(
        refused(answered(&mut attempt, "alice", &scene.code("alice")).await),
        "LOGIN-006",
        "one count for both"
    );
    scene.clock.pass(Duration::from_secs(30));
    recovering(&mut attempt, "alice").await;
    done(attempt.answers("alice", &[codes[0].as_bytes()]).await);
    assert_eq!(scene.store.totp("alice").await.unwrap().unwrap().failures, 0);
}

#[tokio::test]
async fn an_invitation_lets_in_once_to_enrol_and_to_nothing_else() {
    let scene = Scene::new().await;
    scene.newcomer("carol").await;
    let token = scene.invite("carol").await;
    let mut attempt = scene.with_key("carol").await;
    assert_eq!(asked(&mut attempt, "carol").await, "Invitation: ");
    let guest = invited(attempt.answers("carol", &[token.as_bytes()]).await);
    assert_eq!((guest.operator().as_str(), guest.proven().unwrap().name().as_str()), ("carol", "lt-carol"));
    assert_eq!(guest.detail()["invitation"], true);
    // It is used up, so nobody is asked for it any more.
    let mut attempt = scene.with_key("carol").await;
    assert_eq!(refused(answered(&mut attempt, "carol", &token).await), "LOGIN-004");
}

#[tokio::test]
async fn a_wrong_late_or_foreign_invitation_is_refused_and_throttled() {
    let scene = Scene::new().await;
    for name in ["carol", "dave"] {
        scene.newcomer(name).await;
    }
    let (token, other) = (scene.invite("carol").await, scene.invite("dave").await);
    let mut attempt = scene.with_key("carol").await;
    for answer in [b"?".as_slice(), b"123456", b"", &[0xff; 40], other.as_bytes(), &[b'0'; 100_000]] {
        assert_eq!(asked(&mut attempt, "carol").await, "Invitation: ");
        assert_eq!(refused(attempt.answers("carol", &[answer]).await), "LOGIN-013");
    }
    assert_eq!(asked(&mut attempt, "carol").await, "Invitation: ");
    assert_eq!(refused(attempt.answers("carol", &[]).await), "LOGIN-010");
    for _ in 0..4 {
        asked(&mut attempt, "carol").await;
        assert_eq!(refused(attempt.answers("carol", &[other.as_bytes()]).await), "LOGIN-013");
    }
    asked(&mut attempt, "carol").await;
    assert_eq!(
        refused(attempt.answers("carol", &[token.as_bytes()]).await),
        "LOGIN-006",
        "too many from this source"
    );
    scene.clock.pass(Duration::from_secs(900));
    let mut attempt = scene.with_key("carol").await;
    assert_eq!(asked(&mut attempt, "carol").await, "One-time code: ", "it is over");
    assert_eq!(refused(attempt.answers("carol", &[token.as_bytes()]).await), "LOGIN-004");
}

#[tokio::test]
async fn an_invitation_needs_device_and_key_first_and_ends_with_the_operator() {
    let scene = Scene::new().await;
    scene.newcomer("carol").await;
    let token = scene.invite("carol").await;
    let mut attempt = scene.connect();
    assert!(matches!(attempt.prompt("carol").await, Answer::Disconnect { .. }), "no device");
    let mut attempt = scene.with_device("carol").await;
    assert_eq!(refused(attempt.prompt("carol").await), "LOGIN-003", "no key");
    let mut attempt = scene.with_key("carol").await;
    asked(&mut attempt, "carol").await;
    scene.store.set_operator_state("carol", OperatorState::Disabled, 2).await.unwrap();
    assert_eq!(
        refused(attempt.answers("carol", &[token.as_bytes()]).await),
        "LOGIN-013",
        "disabling ended it"
    );
}

#[tokio::test]
async fn who_got_an_authenticator_meanwhile_is_not_let_in_by_the_invitation() {
    let scene = Scene::new().await;
    scene.newcomer("carol").await;
    let token = scene.invite("carol").await;
    let mut attempt = scene.with_key("carol").await;
    asked(&mut attempt, "carol").await;
    let sealed = scene.keys.seal_seed("carol", &seed("carol")).unwrap();
    scene.store.set_totp("carol", &sealed, 2).await.unwrap();
    assert_eq!(refused(attempt.answers("carol", &[token.as_bytes()]).await), "LOGIN-013");
    done(answered(&mut attempt, "carol", &scene.code("carol")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_invitation_on_two_connections_at_one_instant_lets_one_in() {
    let folder = tempfile::tempdir().unwrap();
    let scene = Scene::with(Store::open(&folder.path().join("bartizan.db")).await.unwrap()).await;
    scene.newcomer("carol").await;
    let token = scene.invite("carol").await;
    let mut attempts = Vec::new();
    for _ in 0..4 {
        let mut attempt = scene.with_key("carol").await;
        asked(&mut attempt, "carol").await;
        attempts.push(attempt);
    }
    let tries: Vec<_> = attempts
        .into_iter()
        .map(|mut attempt| {
            let token = token.clone();
            tokio::spawn(async move { attempt.answers("carol", &[token.as_bytes()]).await })
        })
        .collect();
    let mut in_ = 0;
    for one in tries {
        in_ += usize::from(matches!(one.await.unwrap(), Answer::Enrol(_)));
    }
    assert_eq!(in_, 1);
}

#[tokio::test]
async fn a_code_given_again_proves_its_holder_and_counts_its_tries() {
    let scene = Scene::new().await;
    let codes = scene.recovery("alice", 1).await;
    done(scene.log_in("alice").await);
    let ground = scene.ground();
    let (alice, peer) = (policy::OperatorName::parse("alice"), "192.0.2.7".parse().unwrap());
    let alice = alice.unwrap();
    let used = again(&ground, &alice, peer, scene.code("alice").as_bytes()).await.unwrap();
    assert_eq!(used.unwrap_err().code(), "LOGIN-005", "the login's own code is used up");
    scene.clock.pass(Duration::from_secs(30));
    let id = scene.store.totp("alice").await.unwrap().unwrap().id;
    let next = again(&ground, &alice, peer, scene.code("alice").as_bytes()).await.unwrap();
    assert_eq!(next.unwrap().authenticator(), id);
    let recovery = again(&ground, &alice, peer, codes[0].as_bytes()).await.unwrap();
    assert_eq!(recovery.unwrap().authenticator(), id);
    for _ in 0..5 {
        assert!(again(&ground, &alice, peer, b"000001").await.unwrap().is_err());
    }
    scene.clock.pass(Duration::from_secs(1));
    let throttled = again(&ground, &alice, peer, scene.code("alice").as_bytes()).await.unwrap();
    assert_eq!(throttled.unwrap_err().code(), "LOGIN-006");
}
