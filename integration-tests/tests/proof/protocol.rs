//! What no stock client sends: a certificate that was altered after it was signed, and another's name in the middle of a login.
//! It never reads more than the wire gives it.

use std::sync::{Arc, Mutex};

use bartizan_integration_tests::{DEADLINE, Rig};
use russh::client::{self, AuthResult, DisconnectReason, Handle, KeyboardInteractiveAuthResponse as Reply};
use russh::keys::{Certificate, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::time::timeout;

use crate::agent::{Bind, private};
use crate::forge::{Machine, key_of};

/// A client of ours.
struct Stranger {
    handle: Handle<Ears>,
    farewell: Arc<Mutex<Option<String>>>,
}

/// Takes any server, and keeps its last words.
struct Ears(Arc<Mutex<Option<String>>>);

impl client::Handler for Ears {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        if let DisconnectReason::ReceivedDisconnect(words) = reason {
            *self.0.lock().unwrap() = Some(words.message);
        }
        Ok(())
    }
}

impl Stranger {
    async fn connect(rig: &Rig) -> Self {
        let farewell = Arc::default();
        let ears = Ears(Arc::clone(&farewell));
        let handle = client::connect(Arc::default(), rig.server().address(), ears).await.unwrap();
        Self { handle, farewell }
    }

    async fn key(&mut self, user: &str, key: PrivateKey) -> (bool, String) {
        let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
        failure(&self.handle.authenticate_publickey(user, key).await.unwrap())
    }

    async fn certificate(&mut self, user: &str, key: PrivateKey, certificate: Certificate) -> (bool, String) {
        failure(&self.handle.authenticate_openssh_cert(user, Arc::new(key), certificate).await.unwrap())
    }

    async fn prompt(&mut self, user: &str) -> Reply {
        let asking = self.handle.authenticate_keyboard_interactive_start(user, None);
        timeout(DEADLINE, asking).await.expect("an answer").unwrap()
    }

    /// Asks for a prompt, gets one without a question, answers nothing, and is told why the connection ends.
    async fn farewell(mut self, user: &str) -> String {
        let asked = self.prompt(user).await;
        assert!(matches!(&asked, Reply::InfoRequest { prompts, .. } if prompts.is_empty()), "{asked:?}");
        let _ = timeout(DEADLINE, self.handle.authenticate_keyboard_interactive_respond(Vec::new())).await;
        timeout(DEADLINE, self.handle).await.expect("the connection ends").unwrap();
        let farewell = self.farewell.lock().unwrap().take();
        farewell.expect("words at the end")
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
    let mut texts = Vec::new();
    for (stranger, code) in [(one, "POSTURE-003"), (other, "POSTURE-002")] {
        let said = stranger.farewell("ana").await;
        let (text, reference) = said.split_once(" ref ").unwrap();
        texts.push(text.to_owned());
        let events = rig.events();
        let codes: Vec<_> = events.iter().filter(|event| event["detail"]["ref"] == reference).collect();
        assert!(!codes.is_empty() && codes.iter().all(|event| event["code"] == code), "{code}: {codes:#?}");
    }
    assert_eq!(texts[0], texts[1]);
}

#[tokio::test]
async fn what_one_operator_proved_is_no_ground_for_another_s_code() {
    let rig = Rig::new().operator("ana").operator("bob").target("db1").start();
    let (device, person) = (private(&rig.path("ana-device")), private(&rig.path("ana-key")));
    let mut stranger = Stranger::connect(&rig).await;
    assert_eq!(stranger.key("ana", device).await.0, true, "her device");
    assert_eq!(stranger.key("ana", person).await.0, true, "her key");
    assert!(matches!(stranger.prompt("ana").await, Reply::InfoRequest { prompts, .. } if prompts.len() == 1));
    // In the midst of her prompt the name is his, and so is the code.
    let answer = stranger.prompt("bob").await;
    assert!(matches!(answer, Reply::Failure { partial_success: false, .. }), "{answer:?}");
    assert_eq!(rig.refusal("LOGIN-009")["operator"], "bob");
    // Back to her name: her device and her key are forgotten.
    let answer = stranger.prompt("ana").await;
    assert!(matches!(answer, Reply::Failure { partial_success: false, .. }), "{answer:?}");
    assert!(stranger.farewell("ana").await.contains("[POSTURE-000]"));
    assert!(!rig.events().iter().any(|event| event["type"] == "auth.login" && event["outcome"] == "ok"));
}
