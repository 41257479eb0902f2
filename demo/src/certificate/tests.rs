//! Claims about which certificates open the server. They never use a network.

use ssh_key::PrivateKey;
use ssh_key::certificate::Builder;
use ssh_key::private::Ed25519Keypair;

use super::*;

const NOW: u64 = 1_800_000_000;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// A good certificate, changed by `edit`, signed by `ca`.
fn certificate(ca: &PrivateKey, edit: impl FnOnce(&mut Builder)) -> Certificate {
    of_type(CertType::User, ca, edit)
}

fn of_type(cert_type: CertType, ca: &PrivateKey, edit: impl FnOnce(&mut Builder)) -> Certificate {
    let subject = key(9);
    let mut builder = Builder::new([7; 16], subject.public_key(), NOW - 60, NOW + 120).unwrap();
    builder.cert_type(cert_type).unwrap().key_id("k").unwrap();
    edit(&mut builder);
    builder.sign(ca).unwrap()
}

fn verdict(certificate: &Certificate, now: u64) -> Result<(), Refused> {
    let ca = key(1);
    let peer = "127.0.0.1".parse().unwrap();
    check(certificate, &Circumstances { user_ca: ca.public_key(), login: "ana", own: "ana", peer, now })
}

fn good(builder: &mut Builder) {
    builder.valid_principal("ana").unwrap();
}

#[test]
fn a_certificate_of_the_authority_for_the_account_opens() {
    let good = certificate(&key(1), |b| {
        good(b);
        b.critical_option("source-address", "10.0.0.0/8,127.0.0.1").unwrap();
        b.extension("permit-pty", "").unwrap();
    });
    assert_eq!(verdict(&good, NOW), Ok(()));
}

#[test]
fn another_authority_and_other_dates_do_not() {
    assert_eq!(verdict(&certificate(&key(2), good), NOW), Err(Refused::Untrusted));
    let dated = certificate(&key(1), good);
    assert_eq!(verdict(&dated, NOW - 61), Err(Refused::Untrusted));
    assert_eq!(verdict(&dated, NOW + 120), Err(Refused::Untrusted));
}

#[test]
fn a_host_certificate_does_not() {
    let host = of_type(CertType::Host, &key(1), good);
    assert_eq!(verdict(&host, NOW), Err(Refused::NotUser));
}

#[test]
fn an_empty_or_other_principal_does_not() {
    let everybody = certificate(&key(1), |b| {
        b.all_principals_valid().unwrap();
    });
    assert_eq!(verdict(&everybody, NOW), Err(Refused::Principal));
    let other = certificate(&key(1), |b| {
        b.valid_principal("anabel").unwrap();
    });
    assert_eq!(verdict(&other, NOW), Err(Refused::Principal));
}

#[test]
fn another_login_name_than_the_own_account_does_not() {
    let (ca, certificate) = (key(1), certificate(&key(1), good));
    let peer = "127.0.0.1".parse().unwrap();
    let at = Circumstances { user_ca: ca.public_key(), login: "root", own: "ana", peer, now: NOW };
    assert_eq!(check(&certificate, &at), Err(Refused::OtherAccount));
}

#[test]
fn an_unknown_critical_option_does_not() {
    let forced = certificate(&key(1), |b| {
        good(b);
        b.critical_option("force-command", "/bin/true").unwrap();
    });
    assert_eq!(verdict(&forced, NOW), Err(Refused::Option("force-command".to_owned())));
}

#[test]
fn another_source_does_not_and_a_malformed_one_refuses_all() {
    for (list, refused) in [("10.0.0.0/8", true), ("127.0.0.0/8", false), ("::1", true), ("0.0.0.0/0", false)]
    {
        let from = certificate(&key(1), |b| {
            good(b);
            b.critical_option("source-address", list).unwrap();
        });
        assert_eq!(verdict(&from, NOW), if refused { Err(Refused::Source) } else { Ok(()) }, "{list}");
    }
    for list in ["127.0.0.1,", "127.0.0.1/33", "127.0.0.1/-1", "localhost", "127.0.0.1/8/8", " 127.0.0.1"] {
        let from = certificate(&key(1), |b| {
            good(b);
            b.critical_option("source-address", list).unwrap();
        });
        assert!(matches!(verdict(&from, NOW), Err(Refused::Option(_))), "{list}");
    }
}
