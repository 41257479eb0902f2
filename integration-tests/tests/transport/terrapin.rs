//! Terrapin (CVE-2023-48795) on both legs: with strict key exchange nothing can be put in before the new keys and taken out
//! after them. It never needs a key: the attacker is somebody on the path.

use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use bartizan_integration_tests::{Rig, until};
use russh::client::{self, AuthResult, Config};
use russh::{Preferred, cipher, kex};
use tokio::net::TcpStream;

use crate::between::{Between, Meddling, Toward};

/// The cipher that the attack is about: its packets are numbered by what was counted before there were keys.
const CHACHA: &str = "Ciphers chacha20-poly1305@openssh.com";
/// Nothing is only dropped on the way to a server: its client waits for the answer, and both sit still.
const ALL: [(Toward, Meddling); 7] = [
    (Toward::Server, Meddling::First),
    (Toward::Server, Meddling::Inject),
    (Toward::Server, Meddling::Terrapin),
    (Toward::Client, Meddling::First),
    (Toward::Client, Meddling::Inject),
    (Toward::Client, Meddling::Drop),
    (Toward::Client, Meddling::Terrapin),
];

fn scene() -> Rig {
    Rig::new().operator("ana").target("db1").sshd(CHACHA).start()
}

fn through(rig: &Rig, between: &Between) -> Output {
    let client = rig.client("ana").option(CHACHA).option(&format!("Port {}", between.address().port()));
    client.ssh("db1", "echo in")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both sides said that they keep to the strict order.
fn strict(between: &Between) {
    let offers = between.offers();
    for marker in ["kex-strict-c-v00@openssh.com", "kex-strict-s-v00@openssh.com"] {
        assert!(offers.iter().any(|offer| offer.contains(marker)), "{marker}: {offers:?}");
    }
}

#[test]
fn a_meddler_between_client_and_bastion_ends_the_connection_and_no_more() {
    let rig = scene();
    let honest = Between::before(rig.server().address(), None);
    let output = through(&rig, &honest);
    assert_eq!(output.stdout, b"in\n", "{}", told(&output));
    strict(&honest);
    for meddling in ALL {
        let between = Between::before(rig.server().address(), Some(meddling));
        let output = through(&rig, &between);
        assert_eq!(output.stdout, b"", "{meddling:?}");
        assert_eq!(output.status.code(), Some(255), "{meddling:?}: {}", told(&output));
        let done = between.injected() + between.dropped();
        assert!(done > 0, "{meddling:?}: nothing was done");
        // What comes before everything else is the end before the other side has said anything.
        if meddling.1 != Meddling::First {
            strict(&between);
        }
    }
    until("the bastion to have let go", Duration::from_secs(60), || {
        (rig.server().connections() == 0).then_some(())
    });
    assert_eq!(rig.recordings().len(), 1, "the honest one's");
}

#[test]
fn a_meddler_between_bastion_and_target_ends_the_connection_and_no_more() {
    let rig = scene();
    let key = rig.target("db1").host_key().to_owned();
    let honest = Between::before(rig.target("db1").address(), None);
    rig.stand_in("db1", honest.address(), &key);
    assert_eq!(rig.client("ana").ssh("db1", "echo in").stdout, b"in\n");
    strict(&honest);
    for meddling in ALL {
        let between = Between::before(rig.target("db1").address(), Some(meddling));
        rig.stand_in("db1", between.address(), &key);
        let output = rig.client("ana").ssh("db1", "echo in");
        assert_eq!(output.stdout, b"", "{meddling:?}");
        assert_eq!(output.status.code(), Some(254), "{meddling:?}: {}", told(&output));
        assert!(told(&output).contains("[TARGET-00"), "{meddling:?}: {}", told(&output));
        assert!(between.injected() + between.dropped() > 0, "{meddling:?}: nothing was done");
    }
    rig.verify_everything();
}

struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _: &russh::keys::PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A client from before strict key exchange, with the cipher that the attack is about; whether the login can begin.
fn old_client_gets_through(between: &Between) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let preferred = Preferred {
        kex: vec![kex::CURVE25519, kex::EXTENSION_SUPPORT_AS_CLIENT].into(),
        cipher: vec![cipher::CHACHA20_POLY1305].into(),
        ..Preferred::default()
    };
    let config = Arc::new(Config { preferred, ..Config::default() });
    runtime.block_on(async {
        let stream = TcpStream::connect(between.address()).await.unwrap();
        let asked = async {
            let mut handle = client::connect_stream(config, stream, Trusting).await?;
            handle.authenticate_none("ana").await
        };
        let answer = tokio::time::timeout(Duration::from_secs(60), asked).await.expect("an answer or an end");
        // An end without an answer is told as a failure with no way on.
        matches!(answer, Ok(AuthResult::Failure { remaining_methods, .. }) if !remaining_methods.is_empty())
    })
}

#[test]
fn even_a_client_from_before_strict_exchange_cannot_be_spoken_for() {
    let rig = scene();
    let at = |meddling| Between::before(rig.server().address(), meddling);
    assert!(old_client_gets_through(&at(None)), "a client without strict key exchange is let in");
    // What is put in on the way to such a client is its own affair, and shows that the meddler here knows the attack.
    let against_client = at(Some((Toward::Client, Meddling::Terrapin)));
    assert!(old_client_gets_through(&against_client), "the attack works where nobody is strict");
    assert!(against_client.dropped() > 0 && against_client.injected() == 1);
    for meddling in [Meddling::First, Meddling::Inject, Meddling::Terrapin] {
        let between = at(Some((Toward::Server, meddling)));
        assert!(!old_client_gets_through(&between), "{meddling:?}");
        assert_eq!(between.injected(), 1, "{meddling:?}");
    }
}
