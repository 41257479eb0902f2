//! What no stock client sends: a certificate that was altered after it was signed, and another's name in the middle of a login.
//! It never reads more than the wire gives it.

use std::sync::Arc;

use bartizan_integration_tests::{DEADLINE, Rig};
use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse as Reply};
use russh::keys::{Certificate, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::time::timeout;

use crate::agent::{Bind, private};
use crate::forge::{Machine, key_of};

/// A client of ours.
struct Stranger(Handle<Credulous>);

/// Takes any server for the right one.
struct Credulous;

impl client::Handler for Credulous {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

impl Stranger {
    async fn connect(rig: &Rig) -> Self {
        Self(client::connect(Arc::default(), rig.server().address(), Credulous).await.unwrap())
    }

    async fn key(&mut self, user: &str, key: PrivateKey) -> (bool, String) {
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        failure(&self.0.authenticate_publickey(user, key).await.unwrap())
    }

    async fn certificate(&mut self, user: &str, key: PrivateKey, certificate: Certificate) -> (bool, String) {
        failure(&self.0.authenticate_openssh_cert(user, Arc::new(key), certificate).await.unwrap())
    }

    /// What it is asked, or `failure`.
    async fn prompt(&mut self, user: &str) -> Vec<String> {
        let asking = self.0.authenticate_keyboard_interactive_start(user, None);
        match timeout(DEADLINE, asking).await.expect("an answer").unwrap() {
            Reply::InfoRequest { prompts, .. } => prompts.into_iter().map(|prompt| prompt.prompt).collect(),
            Reply::Failure { partial_success: false, .. } => vec!["failure".to_owned()],
            other => panic!("{other:?}"),
        }
    }
}

/// Whether it was a partial success, and what may follow.
fn failure(result: &AuthResult) -> (bool, String) {
    match result {
        AuthResult::Failure { remaining_methods, partial_success } => {
            (*partial_success, format!("{remaining_methods:?}"))
        }
        AuthResult::Success => panic!("let in"),
    }
}

/// A certificate in whose report one word is another than was signed.
fn altered(machine: &Machine) -> (PrivateKey, Certificate) {
    let making = machine.making(&Bind { session_id: vec![7; 32], hostkey_sha256: [7; 32] }).identity();
    let mut bytes = making.certificate;
    let word = b"\"hostname\":\"laptop\"";
    let at = bytes.windows(word.len()).position(|part| part == word).unwrap();
    bytes[at + word.len() - 2] = b'q';
    (making.key, Certificate::from_bytes(&bytes).unwrap())
}

#[tokio::test]
async fn a_certificate_that_was_altered_is_003_and_on_the_wire_what_an_unknown_key_is() {
    let rig = Rig::new().operator("ana").setting("device", "evidence = \"bound\"").start();
    let (key, certificate) = altered(&Machine::of(&rig, "ana"));
    let mut one = Stranger::connect(&rig).await;
    let cheated = one.certificate("ana", key, certificate).await;
    let mut other = Stranger::connect(&rig).await;
    assert_eq!(cheated, other.key("ana", key_of("nobody's")).await);
    // Neither is asked for anything; then the connection ends.
    for stranger in [&mut one, &mut other] {
        assert!(stranger.prompt("ana").await.is_empty());
    }
    for code in ["POSTURE-003", "POSTURE-002"] {
        assert!(rig.refusal(code)["device"].is_null());
    }
}

#[tokio::test]
async fn what_one_operator_proved_is_no_ground_for_another_s_code() {
    let rig = Rig::new().operator("ana").operator("bob").target("db1").start();
    let (device, person) = (private(&rig.path("ana-device")), private(&rig.path("ana-key")));
    let mut stranger = Stranger::connect(&rig).await;
    assert!(stranger.key("ana", device).await.0, "her device");
    assert!(stranger.key("ana", person).await.0, "her key");
    // His is the name that asks for the prompt, and his would be the code.
    assert_eq!(stranger.prompt("bob").await, ["failure"]);
    assert_eq!(rig.refusal("LOGIN-009")["operator"], "bob");
    // Under her own name her device and her key are forgotten.
    assert_eq!(stranger.prompt("ana").await, ["failure"]);
    assert!(stranger.prompt("ana").await.is_empty(), "asked for nothing before the connection ends");
    assert!(!rig.events().iter().any(|event| event["type"] == "auth.login" && event["outcome"] == "ok"));
}
