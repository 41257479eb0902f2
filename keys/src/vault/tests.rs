//! What the vault takes, what it gives back, and to whom. Keys are made by `ssh-keygen`.
//! It never holds a secret that is used anywhere else.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use signature::Verifier as _;

use super::*;

fn keys() -> (Keys, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Keys::create(&folder.path().join("keys")).unwrap(), folder)
}

/// A private key file, and its public half as `algorithm base64`.
fn made(folder: &Path, options: &[&str]) -> (String, String) {
    let path = folder.join("key");
    let _ = std::fs::remove_file(&path);
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-C", "ops@example"]).args(options).arg("-f").arg(&path);
    assert!(keygen.status().unwrap().success());
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    let public = public.split(' ').take(2).collect::<Vec<_>>().join(" ");
    (std::fs::read_to_string(&path).unwrap(), public)
}

fn refused(text: &str, passphrase: Option<&str>) -> VaultError {
    VaultKey::read(text, passphrase).err().unwrap()
}

#[test]
fn a_key_of_every_kind_signs_after_it_was_sealed_and_opened() {
    let (keys, folder) = keys();
    let kinds: [&[&str]; 4] = [
        &["-t", "ed25519", "-N", ""],
        &["-t", "ecdsa", "-b", "256", "-N", ""],
        &["-t", "ecdsa", "-b", "384", "-N", ""],
        &["-t", "rsa", "-b", "2048", "-N", ""],
    ];
    for kind in kinds {
        let (text, public) = made(folder.path(), kind);
        let key = VaultKey::read(&text, None).unwrap();
        assert_eq!(key.public().to_openssh().unwrap().trim(), public, "without its comment");
        let sealed = keys.seal_vault_key("acme", "ops", &key).unwrap();
        let opened = keys.unseal_vault_key("acme", "ops", &sealed).unwrap();
        for hash in [None, Some(HashAlg::Sha256), Some(HashAlg::Sha512)] {
            let signature = opened.sign(hash, b"request").unwrap();
            opened.public().key_data().verify(b"request", &signature).unwrap();
            assert!(opened.public().key_data().verify(b"another", &signature).is_err());
        }
    }
}

#[test]
fn nothing_opens_under_another_name_tenant_or_kind() {
    let (keys, folder) = keys();
    let (text, _) = made(folder.path(), &["-t", "ed25519", "-N", ""]);
    let key = keys.seal_vault_key("acme", "ops", &VaultKey::read(&text, None).unwrap()).unwrap();
    let password = VaultPassword::read("hunter2\n").unwrap();
    let password = keys.seal_vault_password("acme", "ops", &password).unwrap();
    assert_eq!(keys.unseal_vault_password("acme", "ops", &password).unwrap().lend(), "hunter2");
    for (tenant, name) in [("acme", "op"), ("acm", "eops"), ("acmeops", ""), ("other", "ops")] {
        assert!(keys.unseal_vault_key(tenant, name, &key).is_err(), "{tenant} {name}");
        assert!(keys.unseal_vault_password(tenant, name, &password).is_err(), "{tenant} {name}");
    }
    assert!(keys.unseal_vault_password("acme", "ops", &key).is_err(), "a key is no password");
    assert!(keys.unseal_vault_key("acme", "ops", &password).is_err(), "a password is no key");
    assert!(
        keys.unseal("vaulted password", &context("acme", "ops"), &password).is_err(),
        "by the public way"
    );
}

#[test]
fn a_passphrase_is_asked_for_and_a_wrong_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (text, public) = made(folder.path(), &["-t", "ed25519", "-N", "correct horse", "-a", "2"]);
    assert!(VaultKey::is_encrypted(&text));
    assert!(matches!(refused(&text, None), VaultError::Encrypted));
    assert!(matches!(refused(&text, Some("correct hors")), VaultError::Passphrase));
    let key = VaultKey::read(&text, Some("correct horse")).unwrap();
    assert_eq!(key.public().to_openssh().unwrap().trim(), public);
    let (slow, _) = made(folder.path(), &["-t", "ed25519", "-N", "x", "-a", "257"]);
    assert!(matches!(refused(&slow, Some("x")), VaultError::Rounds(257)));
}

#[test]
fn what_is_no_key_that_signs_by_itself_is_refused_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, public) = made(folder.path(), &["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]);
    assert!(matches!(refused(&pem, None), VaultError::Form));
    assert!(matches!(refused("PuTTY-User-Key-File-3: ssh-ed25519\n", None), VaultError::Form));
    assert!(matches!(refused(&public, None), VaultError::Public));
    let (short, _) = made(folder.path(), &["-t", "rsa", "-b", "1024", "-N", ""]);
    assert!(matches!(refused(&short, None), VaultError::Rsa(1024)));
    assert!(matches!(refused("", None), VaultError::NotAKey));
    assert!(matches!(refused(&"x".repeat(LONGEST_KEY + 1), None), VaultError::TooLong(_)));
}

#[test]
fn a_password_is_one_line_whose_end_does_not_count() {
    let read = |text: &str| VaultPassword::read(text).map(|password| password.lend().to_owned());
    assert_eq!(read("a b\n").unwrap(), "a b");
    assert_eq!(read("a b\r\n").unwrap(), "a b");
    assert_eq!(read(" pä ß ").unwrap(), " pä ß ", "blanks are part of it");
    assert!(matches!(read("\n"), Err(VaultError::Empty)));
    assert!(matches!(read("a\nb\n"), Err(VaultError::Lines)));
    assert!(matches!(read("a\n\n"), Err(VaultError::Lines)));
    assert!(matches!(read(&"x".repeat(1025)), Err(VaultError::TooLong(_))));
    assert!(matches!(read("-----BEGIN OPENSSH PRIVATE KEY-----\n"), Err(VaultError::KeyAsPassword)));
    let public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFGX0ClJqFtS6uTaOpbUaZGGOjq+WeBmm8tPQWs6Rr/n ana\n";
    assert!(matches!(read(public), Err(VaultError::KeyAsPassword)));
}

proptest! {
    #[test]
    fn any_text_is_a_secret_or_a_refusal_that_repeats_nothing_of_it(text in "(-----BEGIN OPENSSH PRIVATE KEY-----\n)?\\PC{0,200}") {
        if let Err(why) = VaultKey::read(&text, Some("x")) {
            prop_assert!(text.len() < 40 || !why.to_string().contains(&text));
        }
        let _ = VaultPassword::read(&text);
    }
}
