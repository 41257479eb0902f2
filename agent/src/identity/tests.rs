//! An identity signs its own connection's login, and nothing else.
//! It never tests with anything but the real key and certificate.

use std::path::Path;

use ed25519_dalek::Verifier as _;
use posture::certificate::{Binding, REPORT, check_enrolling, signer};
use posture::report::Source;
use ssh_key::{Certificate, Signature};

use super::*;
use crate::bind::Bound;
use crate::config::Bastion;
use crate::facts::Collector;
use crate::key::FileKey;
use crate::wire::tests_login as login;

const NOW: u64 = 1_795_338_716;
const PLAIN: &[u8] = b"publickey";
const HOST_BOUND: &[u8] = b"publickey-hostbound-v00@openssh.com";

struct Still;

impl Clock for Still {
    fn unix(&self) -> u64 {
        NOW
    }
}

fn bound() -> Bound {
    Bound { session_id: vec![7; 32], host_key: b"host key".to_vec(), host_key_sha256: [8; 32] }
}

impl Binding for Bound {
    fn is_ours(&self, session_id: &[u8], hostkey_sha256: &[u8]) -> bool {
        session_id == self.session_id && hostkey_sha256 == self.host_key_sha256
    }
}

fn maker(dir: &Path) -> Maker {
    std::fs::write(dir.join("facts"), r#"{"firewall":[{"enabled":"1"}]}"#).unwrap();
    let config = Arc::new(Config {
        device: "lt-0421".to_owned(),
        owner: "alice".to_owned(),
        kind: "laptop".to_owned(),
        personal: false,
        socket: "agent.sock".into(),
        agent: None,
        facts: [posture::report::Table::Firewall].into(),
        processes: Vec::new(),
        facts_from: Some("facts".into()),
        targets: Vec::new(),
        bastion: Bastion {
            host: "b".to_owned(),
            port: 22,
            host_keys: Vec::new(),
            host_ca: Vec::new(),
            names: Vec::new(),
        },
    });
    Maker {
        key: Arc::new(FileKey::open_or_create(&dir.join("key")).unwrap()),
        serials: Serials::of(dir),
        watch: Arc::new(Watch::new(Collector::new(dir, &config))),
        config,
        host: Host::read(Path::new("/")).unwrap(),
        clock: Arc::new(Still),
    }
}

#[tokio::test]
async fn an_identity_is_what_the_bastion_checks_for() {
    let folder = tempfile::tempdir().unwrap();
    let maker = maker(folder.path());
    let offer = maker.offer(&bound()).await.unwrap();
    let certificate = Certificate::from_bytes(offer.certificate()).unwrap();
    assert_eq!(signer(&certificate).key_data(), maker.key.public().key_data());
    let enrolling = check_enrolling(&certificate, &bound(), NOW).unwrap();
    assert_eq!(enrolling.report.agent.facts, Source::File);
    assert_eq!(enrolling.report.to_json().unwrap(), certificate.extensions()[REPORT]);
    assert_eq!(enrolling.serial, NOW);
}

#[tokio::test]
async fn every_connection_has_its_own_key_and_number() {
    let folder = tempfile::tempdir().unwrap();
    let maker = maker(folder.path());
    let (one, two) = (maker.offer(&bound()).await.unwrap(), maker.offer(&bound()).await.unwrap());
    let read = |offer: &Offer| Certificate::from_bytes(offer.certificate()).unwrap();
    assert_ne!(read(&one).public_key(), read(&two).public_key());
    assert_eq!(read(&two).serial(), read(&one).serial() + 1);
    assert_ne!(read(&one).nonce(), read(&two).nonce());
}

#[tokio::test]
async fn it_signs_its_login_in_both_forms() {
    let folder = tempfile::tempdir().unwrap();
    let mut offer = maker(folder.path()).offer(&bound()).await.unwrap();
    let certificate = Certificate::from_bytes(offer.certificate()).unwrap();
    let host_key = [&[0, 0, 0, 8][..], b"host key"].concat();
    for (method, tail) in [(PLAIN, &[][..]), (HOST_BOUND, &host_key)] {
        let data = login(&[7; 32], method, ALGORITHM, &offer.certificate.clone(), tail);
        let signature = offer.sign(&data, NOW).unwrap();
        let signature = Signature::try_from(signature.as_slice()).unwrap();
        certificate.public_key().verify(&data, &signature).unwrap();
    }
}

#[tokio::test]
async fn it_signs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut offer = maker(folder.path()).offer(&bound()).await.unwrap();
    let key = offer.certificate.clone();
    let other_host = [&[0, 0, 0, 8][..], b"HOST KEY"].concat();
    let others = [
        login(&[6; 32], PLAIN, ALGORITHM, &key, b""),
        login(&[7; 32], PLAIN, b"ssh-ed25519", &key, b""),
        login(&[7; 32], PLAIN, ALGORITHM, b"another key", b""),
        login(&[7; 32], HOST_BOUND, ALGORITHM, &key, &other_host),
    ];
    for data in &others {
        assert!(matches!(offer.sign(data, NOW), Err(SignRefused::Elsewhere)));
    }
    for data in [&b"SSHSIG"[..], b"", &[0; 64]] {
        assert!(matches!(offer.sign(data, NOW), Err(SignRefused::NoLogin)));
    }
}

#[tokio::test]
async fn it_signs_neither_late_nor_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let mut offer = maker(folder.path()).offer(&bound()).await.unwrap();
    let data = login(&[7; 32], PLAIN, ALGORITHM, &offer.certificate.clone(), b"");
    assert!(matches!(offer.sign(&data, NOW + VALID_AFTER), Err(SignRefused::Spent)));
    for _ in 0..MOST_SIGNATURES {
        offer.sign(&data, NOW).unwrap();
    }
    assert!(matches!(offer.sign(&data, NOW), Err(SignRefused::Spent)));
    assert!(!offer.holds(NOW));
}
