//! An offered key is a question: whatever is asked in between, the outcome is the same.

use proptest::prelude::*;

use super::*;

/// What can be offered at any moment.
const KEYS: [&str; 5] = ["device of alice", "person alice", "device of bob", "person bob", "a stranger's"];

#[tokio::test]
async fn an_offer_is_not_a_proof() {
    let scene = Scene::new().await;
    let mut attempt = scene.connect();
    assert!(offered(&mut attempt, "alice", &device_key("alice")).await);
    assert!(offered(&mut attempt, "alice", &device_key("alice")).await);
    assert!(
        offered(&mut attempt, "alice", &person_key("alice")).await,
        "like any key that a certificate could be for"
    );
    assert_eq!(
        refused(proved(&mut attempt, "alice", &person_key("alice")).await),
        "POSTURE-002",
        "no device has proven itself"
    );
    let mut attempt = scene.with_device("alice").await;
    assert!(offered(&mut attempt, "alice", &person_key("alice")).await);
    assert_eq!(refused(attempt.prompt("alice").await), "LOGIN-003", "the person has proven nothing");
    assert_eq!(refused(attempt.answers("alice", &[b"123456"]).await), "LOGIN-010");
}

#[tokio::test]
async fn what_signed_counts_and_not_what_was_offered_before() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_device("alice").await;
    assert!(offered(&mut attempt, "alice", &person_key("alice")).await);
    assert_eq!(refused(proved(&mut attempt, "alice", &person_key("bob")).await), "LOGIN-003");
    assert_eq!(refused(proved(&mut attempt, "alice", &key_of("a stranger's")).await), "LOGIN-003");
}

#[tokio::test]
async fn sha_1_and_mismatched_signatures_are_refused_in_offer_and_proof() {
    let scene = Scene::new().await;
    let mut attempt = scene.with_device("alice").await;
    let key = person_key("alice");
    for algorithm in [ssh_key::Algorithm::Rsa { hash: None }, ssh_key::Algorithm::SkEd25519] {
        assert!(matches!(attempt.offered("alice", &key, &algorithm).await, Offer::Refuse { .. }));
        assert_eq!(refused(attempt.proved("alice", &key, &algorithm).await), "LOGIN-003");
    }
}

/// One login, right or with one thing wrong, and offers of these keys before each of its five messages.
async fn story(require: Require, wrong: usize, offers: &[Vec<usize>; 5]) -> Vec<String> {
    let mut scene = Scene::new().await;
    scene.device.require = require;
    let mut attempt = scene.connect();
    let mut said = Vec::new();
    for (message, before) in offers.iter().enumerate() {
        for &offer in before {
            offered(&mut attempt, "alice", &key_of(KEYS[offer])).await;
        }
        let code = if wrong == message { "000001".to_owned() } else { scene.code("alice") };
        let answer = match message {
            0 if wrong == 0 => proved(&mut attempt, "alice", &key_of("a stranger's")).await,
            0 => proved(&mut attempt, "alice", &device_key("alice")).await,
            1 if wrong == 1 => proved(&mut attempt, "alice", &person_key("bob")).await,
            1 => proved(&mut attempt, "alice", &person_key("alice")).await,
            2 => attempt.prompt("alice").await,
            3 => attempt.answers("alice", &[code.as_bytes()]).await,
            _ => attempt.prompt("alice").await,
        };
        said.push(match answer {
            Answer::Refuse { methods, why } | Answer::Pass { methods, why } => {
                format!("refuse {methods:?} {}", why.code())
            }
            Answer::Partial { methods } => format!("partial {methods:?}"),
            Answer::Ask { instructions, .. } => format!("ask {instructions}"),
            Answer::Done(authenticated) => format!("done {:?}", authenticated.factors()),
            Answer::Enrol(_) => "enrol".to_owned(),
            Answer::Remediate(_) => "remediate".to_owned(),
            Answer::EnrolDevice(_) => "enrol".to_owned(),
            Answer::TellFacts(_) => "tell".to_owned(),
            // As the client sees it: in the log, a key that was offered and did not sign has its own code.
            Answer::Disconnect { text, why } => text.replace(why.reference().as_str(), ""),
        });
    }
    said
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_interleaving_of_offers_changes_the_outcome(
        any in any::<bool>(),
        wrong in 0..6usize,
        offers in proptest::array::uniform5(proptest::collection::vec(0..KEYS.len(), 0..4)),
    ) {
        let require = if any { Require::Any } else { Require::Managed };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (plain, probed) = runtime.block_on(async {
            (story(require, wrong, &Default::default()).await, story(require, wrong, &offers).await)
        });
        prop_assert_eq!(plain, probed);
    }
}
