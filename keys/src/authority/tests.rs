//! What the certificates say, read back by this library and by the real `ssh-keygen`.
//! It never trusts our own reading alone where `ssh-keygen` is installed.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use signature::Verifier as _;
use ssh_key::certificate::CertType;
use ssh_key::{Certificate, HashAlg};

use crate::certificate::{Allow, CertificateError, LONGEST_HOST, LONGEST_LOGIN, SessionCertificate};
use crate::keys::Keys;

const NOW: u64 = 1_795_338_716;

fn keys() -> (tempfile::TempDir, Keys) {
    let dir = tempfile::tempdir().unwrap();
    let keys = Keys::create(&dir.path().join("keys")).unwrap();
    (dir, keys)
}

fn wanted() -> SessionCertificate {
    SessionCertificate {
        account: "deploy".to_owned(),
        key_id: "s-01JD37F2KXW6S3TH9V0G8QZ4MN alice".to_owned(),
        source_addresses: vec!["192.0.2.1".parse().unwrap(), "::ffff:192.0.2.2".parse().unwrap()],
        valid_after: NOW - 60,
        valid_before: NOW + 60,
        serial: 42,
        allow: Allow::default(),
    }
}

fn refused(change: impl FnOnce(&mut SessionCertificate)) -> CertificateError {
    let (_dir, keys) = keys();
    let mut wanted = wanted();
    change(&mut wanted);
    match keys.session_login(&wanted) {
        Ok(_) => panic!("a certificate was made for {wanted:?}"),
        Err(error) => error,
    }
}

/// `ssh-keygen -L -f` in UTC; `None` where it is not installed.
fn read_by_openssh(dir: &Path, certificate: &Certificate) -> Option<String> {
    let file = dir.join("cert.pub");
    certificate.write_file(&file).unwrap();
    let shown = Command::new("ssh-keygen").arg("-L").arg("-f").arg(&file).env("TZ", "UTC").output().ok()?;
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    Some(String::from_utf8(shown.stdout).unwrap())
}

#[test]
fn a_login_is_for_one_account_from_the_named_addresses_for_the_named_time() {
    let (_dir, keys) = keys();
    let login = keys.session_login(&wanted()).unwrap();
    let certificate = login.certificate();
    certificate.validate_at(NOW, &[keys.user_ca().fingerprint(HashAlg::Sha256)]).unwrap();
    assert!(certificate.validate_at(NOW, &[keys.host_ca().fingerprint(HashAlg::Sha256)]).is_err());
    assert_eq!(certificate.cert_type(), CertType::User);
    assert_eq!(certificate.valid_principals(), ["deploy"]);
    assert_eq!((certificate.valid_after(), certificate.valid_before()), (NOW - 60, NOW + 60));
    assert_eq!(certificate.serial(), 42);
    let options: Vec<_> = certificate.critical_options().iter().collect();
    assert_eq!(options, [(&"source-address".to_owned(), &"192.0.2.1/32,192.0.2.2/32".to_owned())]);
    let extensions: Vec<_> = certificate.extensions().keys().collect();
    assert_eq!(extensions, ["permit-pty"]);
}

#[test]
fn openssh_reads_a_login_as_it_was_meant() {
    let (dir, keys) = keys();
    let everything = Allow { agent: true, forward: true, x11: true };
    let login = keys.session_login(&SessionCertificate { allow: everything, ..wanted() }).unwrap();
    let Some(shown) = read_by_openssh(dir.path(), login.certificate()) else { return };
    let ca = keys.user_ca().fingerprint(HashAlg::Sha256);
    let meant = [
        "Type: ssh-ed25519-cert-v01@openssh.com user certificate".to_owned(),
        format!("Signing CA: ED25519 {ca} (using ssh-ed25519)"),
        "Key ID: \"s-01JD37F2KXW6S3TH9V0G8QZ4MN alice\"".to_owned(),
        "Serial: 42".to_owned(),
        "Valid: from 2026-11-22T09:10:56 to 2026-11-22T09:12:56".to_owned(),
        "Principals: \n                deploy".to_owned(),
        "Critical Options: \n                source-address 192.0.2.1/32,192.0.2.2/32".to_owned(),
        "Extensions: \n                permit-X11-forwarding\n                permit-agent-forwarding\n                \
         permit-port-forwarding\n                permit-pty"
            .to_owned(),
    ];
    for line in meant {
        assert!(shown.contains(&line), "{line:?} is not in\n{shown}");
    }
}

#[test]
fn openssh_reads_the_certificate_of_every_host_key() {
    let (dir, keys) = keys();
    let names = ["Bastion.Example".to_owned(), "2001:db8::1".to_owned()];
    let certificates = keys.host_certificate(&names, NOW - 60, NOW + 600).unwrap();
    assert_eq!(certificates.len(), keys.host_keys().len());
    for (certificate, key) in certificates.iter().zip(keys.host_public()) {
        certificate.validate_at(NOW, &[keys.host_ca().fingerprint(HashAlg::Sha256)]).unwrap();
        assert_eq!(certificate.public_key(), key.key_data());
        assert_eq!(certificate.cert_type(), CertType::Host);
        assert_eq!(certificate.valid_principals(), ["bastion.example", "2001:db8::1"]);
        assert!(certificate.critical_options().is_empty() && certificate.extensions().is_empty());
        let Some(shown) = read_by_openssh(dir.path(), certificate) else { continue };
        assert!(shown.contains("host certificate") && shown.contains("bastion.example"), "{shown}");
    }
}

#[test]
fn a_login_signs_with_the_certified_key() {
    let (_dir, keys) = keys();
    let login = keys.session_login(&wanted()).unwrap();
    let signature = login.sign(b"request").unwrap();
    login.certificate().public_key().verify(b"request", &signature).unwrap();
    assert!(login.certificate().public_key().verify(b"other", &signature).is_err());
}

#[test]
fn every_login_has_a_key_of_its_own() {
    let (_dir, keys) = keys();
    let one = keys.session_login(&wanted()).unwrap();
    let two = keys.session_login(&wanted()).unwrap();
    assert_ne!(one.certificate().public_key(), two.certificate().public_key());
    assert_ne!(one.certificate().nonce(), two.certificate().nonce());
}

#[test]
fn an_account_that_is_no_name_is_refused() {
    for account in ["", "*", "a b", "a,b", "root\n", "-x", "a/b", "é", &"a".repeat(65)] {
        let error = refused(|wanted| wanted.account = account.to_owned());
        assert!(matches!(error, CertificateError::Account { .. }), "{account:?}: {error}");
    }
}

#[test]
fn a_key_id_that_would_break_a_log_line_is_refused() {
    for id in ["", "a\nb", "a\x1b[2J", "é", "alice (serial 1) CA", "a\"b", &"a".repeat(256)] {
        assert!(matches!(refused(|wanted| wanted.key_id = id.to_owned()), CertificateError::KeyId));
    }
}

#[test]
fn a_login_good_from_everywhere_is_refused() {
    assert!(matches!(
        refused(|wanted| wanted.source_addresses.clear()),
        CertificateError::Sources { count: 0 }
    ));
    for everywhere in ["0.0.0.0", "::", "::ffff:0.0.0.0"] {
        let address: IpAddr = everywhere.parse().unwrap();
        let error = refused(|wanted| wanted.source_addresses = vec![address]);
        assert!(matches!(error, CertificateError::Unspecified { .. }), "{error}");
    }
}

#[test]
fn a_validity_that_is_empty_reversed_or_long_is_refused() {
    for (after, before) in [(NOW, NOW), (NOW, NOW - 1), (NOW, NOW + LONGEST_LOGIN + 1), (0, u64::MAX)] {
        let error = refused(|wanted| (wanted.valid_after, wanted.valid_before) = (after, before));
        assert!(matches!(error, CertificateError::Validity { .. }), "{after} {before}: {error}");
    }
    let (_dir, keys) = keys();
    let names = ["bastion.example".to_owned()];
    assert!(keys.host_certificate(&names, NOW, NOW + LONGEST_HOST).is_ok());
    assert!(keys.host_certificate(&names, NOW, NOW + LONGEST_HOST + 1).is_err());
}

#[test]
fn a_host_name_that_openssh_reads_as_a_pattern_is_refused() {
    let (_dir, keys) = keys();
    for name in ["*", "*.example", "web-?", "", "a b", "a,b", "!a", "[::1]", "é", "a\n", &"a".repeat(254)] {
        let made = keys.host_certificate(&["fine.example".to_owned(), name.to_owned()], NOW, NOW + 60);
        assert!(matches!(made, Err(CertificateError::HostName { .. })), "{name:?}");
    }
    assert!(matches!(keys.host_certificate(&[], NOW, NOW + 60), Err(CertificateError::NoName)));
}
