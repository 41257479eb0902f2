//! Only a host key that was pinned, signing this very session, binds a connection.
//! It never tests with a signature that is not real.

use ed25519_dalek::Signer as _;
use proptest::prelude::*;
use ssh_key::PrivateKey;
use ssh_key::certificate::Builder;
use ssh_key::encoding::Encode as _;
use ssh_key::private::{Ed25519Keypair, KeypairData};

use super::*;

const NOW: u64 = 1_795_338_716;
const SESSION: [u8; 32] = [7; 32];

fn pair(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "").unwrap()
}

fn line(key: &PrivateKey) -> String {
    key.public_key().to_openssh().unwrap()
}

/// The host key 1, the authority 2, the name `b.example`.
fn pins() -> Pins {
    Pins::of(&Bastion {
        host: "B.example".to_owned(),
        port: 22,
        host_keys: vec![line(&pair(1))],
        host_ca: vec![line(&pair(2))],
        names: Vec::new(),
    })
}

fn certificate(authority: u8, change: impl FnOnce(&mut Builder)) -> Vec<u8> {
    let mut builder = Builder::new([1; 16], pair(3).public_key(), NOW - 60, NOW + 60).unwrap();
    builder.cert_type(CertType::Host).unwrap().valid_principal("b.example").unwrap();
    change(&mut builder);
    builder.sign(&pair(authority)).unwrap().to_bytes().unwrap()
}

fn check(shown: &[u8], signer: u8, now: u64) -> Result<Bound, Unbound> {
    let signature: Signature = pair(signer).try_sign(&SESSION).unwrap();
    let signature = signature.encode_vec().unwrap();
    pins().check(
        SessionBind { host_key: shown, session_id: &SESSION, signature: &signature, is_forwarding: false },
        now,
    )
}

fn plain(seed: u8) -> Vec<u8> {
    pair(seed).public_key().to_bytes().unwrap()
}

#[test]
fn the_pinned_key_binds() {
    let bound = check(&plain(1), 1, NOW).unwrap();
    assert_eq!((bound.session_id.as_slice(), &bound.host_key), (&SESSION[..], &plain(1)));
    let sha256 = pair(1).public_key().fingerprint(HashAlg::Sha256);
    assert_eq!(bound.host_key_sha256.as_slice(), sha256.as_bytes());
}

#[test]
fn another_key_or_another_signer_does_not() {
    assert!(matches!(check(&plain(4), 4, NOW), Err(Unbound::Stranger)));
    assert!(matches!(check(&plain(1), 4, NOW), Err(Unbound::Signature)));
    assert!(matches!(check(&plain(2), 2, NOW), Err(Unbound::Stranger)), "the authority is no host");
    assert!(matches!(check(b"", 1, NOW), Err(Unbound::HostKey)));
    assert!(matches!(check(&vec![0; LARGEST_HOST_KEY + 1], 1, NOW), Err(Unbound::HostKey)));
}

#[test]
fn a_forwarded_agent_or_an_odd_session_does_not() {
    let signature: Signature = pair(1).try_sign(&[7; 8]).unwrap();
    let signature = signature.encode_vec().unwrap();
    let bind =
        SessionBind { host_key: &plain(1), session_id: &[7; 8], signature: &signature, is_forwarding: false };
    assert!(matches!(pins().check(bind, NOW), Err(Unbound::SessionId)));
    assert!(matches!(
        pins().check(SessionBind { is_forwarding: true, ..bind }, NOW),
        Err(Unbound::Forwarding)
    ));
}

#[test]
fn a_certificate_of_the_authority_under_the_right_name_binds_by_its_plain_key() {
    let bound = check(&certificate(2, |_| {}), 3, NOW).unwrap();
    let sha256 = pair(3).public_key().fingerprint(HashAlg::Sha256);
    assert_eq!(bound.host_key_sha256.as_slice(), sha256.as_bytes());
}

#[test]
fn a_certificate_that_is_not_quite_that_does_not() {
    let fails = |shown: &[u8], now| assert!(matches!(check(shown, 3, now), Err(Unbound::Certificate(_))));
    fails(&certificate(4, |_| {}), NOW);
    fails(&certificate(3, |_| {}), NOW);
    fails(&certificate(2, |_| {}), NOW + 60);
    fails(&certificate(2, |_| {}), NOW - 61);
    fails(
        &certificate(2, |builder| {
            builder.critical_option("x", "").unwrap();
        }),
        NOW,
    );
    let named = |name: &str| {
        let mut builder = Builder::new([1; 16], pair(3).public_key(), NOW - 60, NOW + 60).unwrap();
        builder.cert_type(CertType::Host).unwrap().valid_principal(name).unwrap();
        builder.sign(&pair(2)).unwrap().to_bytes().unwrap()
    };
    fails(&named("web-1"), NOW);
    fails(&named("*"), NOW);
    let mut users = Builder::new([1; 16], pair(3).public_key(), NOW - 60, NOW + 60).unwrap();
    users.cert_type(CertType::User).unwrap().valid_principal("b.example").unwrap();
    fails(&users.sign(&pair(2)).unwrap().to_bytes().unwrap(), NOW);
    let mut any = Builder::new([1; 16], pair(3).public_key(), NOW - 60, NOW + 60).unwrap();
    any.cert_type(CertType::Host).unwrap().all_principals_valid().unwrap();
    fails(&any.sign(&pair(2)).unwrap().to_bytes().unwrap(), NOW);
    assert!(matches!(check(&certificate(2, |_| {}), 2, NOW), Err(Unbound::Signature)));
}

proptest! {
    #[test]
    fn no_bytes_bind_or_make_it_fall_over(
        host_key in any::<Vec<u8>>(),
        session_id in any::<Vec<u8>>(),
        signature in any::<Vec<u8>>(),
        at in any::<prop::sample::Index>(),
    ) {
        let pins = pins();
        let bind = SessionBind { host_key: &host_key, session_id: &session_id, signature: &signature, is_forwarding: false };
        prop_assert!(pins.check(bind, NOW).is_err());
        let plain = plain(1);
        let under_ours = SessionBind { host_key: &plain, ..bind };
        prop_assert!(pins.check(under_ours, NOW).is_err());
        let mut shown = certificate(2, |_| {});
        let at = at.index(shown.len());
        shown.splice(at.., host_key.iter().copied());
        let certified = SessionBind { host_key: &shown, ..bind };
        prop_assert!(pins.check(certified, NOW).is_err());
    }
}
