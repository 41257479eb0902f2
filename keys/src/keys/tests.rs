//! The keys folder on a real file system: made whole, opened only when sound, never overwritten.
//! It never stands in for the disk with anything else.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ring::signature::{ED25519, UnparsedPublicKey};

use super::*;

const FILES: [&str; 5] = [ROOT, HOST_ED25519, USER_CA, HOST_CA, LOG];

fn made() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    Keys::create(&path).unwrap();
    (dir, path)
}

fn refusal(path: &Path) -> String {
    match Keys::open(path) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(error) => error.to_string(),
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn keys_are_the_same_when_opened_again() {
    let (_dir, path) = made();
    let (one, two) = (Keys::open(&path).unwrap(), Keys::open(&path).unwrap());
    assert_eq!(one.host_public(), two.host_public());
    assert_eq!(one.user_ca(), two.user_ca());
    assert_eq!(one.host_ca(), two.host_ca());
    assert_eq!(one.log_public(), two.log_public());
    let sealed = one.seal("vault", b"db", b"secret").unwrap();
    assert_eq!(two.unseal("vault", b"db", &sealed).unwrap().as_slice(), b"secret");
}

#[test]
fn keys_may_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Keys>();
    shared::<crate::SessionLogin>();
}

#[test]
fn two_bastions_share_no_key() {
    let ((_a, one), (_b, two)) = (made(), made());
    let (one, two) = (Keys::open(&one).unwrap(), Keys::open(&two).unwrap());
    assert_ne!(one.user_ca().key_data(), one.host_ca().key_data());
    assert_ne!(one.user_ca().key_data(), two.user_ca().key_data());
    assert_ne!(one.log_public(), two.log_public());
    assert!(two.unseal("vault", b"db", &one.seal("vault", b"db", b"secret").unwrap()).is_err());
}

#[test]
fn only_the_owner_may_enter_or_read() {
    let (_dir, path) = made();
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join(SHRED)), 0o700);
    for file in FILES {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
}

#[test]
fn no_secret_but_the_root_key_lies_in_clear() {
    let (_dir, path) = made();
    let keys = Keys::open(&path).unwrap();
    let host = keys.host_keys();
    let secret = host[0].key_data().ed25519().unwrap().private.to_bytes();
    for file in FILES.into_iter().filter(|file| *file != ROOT) {
        let bytes = fs::read(path.join(file)).unwrap();
        assert!(!bytes.windows(8).any(|window| window == &secret[..8]), "{file}");
    }
}

#[test]
fn existing_keys_are_never_overwritten() {
    let (dir, path) = made();
    let before = fs::read(path.join(ROOT)).unwrap();
    let Err(CreateError::Folder(error)) = Keys::create(&path) else { panic!("made twice") };
    assert!(matches!(&error, FolderError::Exists { path: named } if *named == path), "{error}");
    assert_eq!(fs::read(path.join(ROOT)).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the unfinished folder is gone");
}

#[test]
fn a_file_or_a_link_in_the_place_of_the_folder_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link, elsewhere) = (dir.path().join("file"), dir.path().join("link"), dir.path().join("else"));
    fs::write(&file, "mine").unwrap();
    fs::create_dir(&elsewhere).unwrap();
    symlink(&elsewhere, &link).unwrap();
    assert!(matches!(Keys::create(&file), Err(CreateError::Folder(FolderError::Exists { .. }))));
    assert!(matches!(Keys::create(&link), Err(CreateError::Folder(FolderError::Exists { .. }))));
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn an_empty_folder_becomes_the_keys_folder_and_loses_a_loose_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    Keys::create(&path).unwrap();
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_missing_parent_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Err(error) = Keys::create(&dir.path().join("none/keys")) else { panic!("made in nowhere") };
    assert!(error.to_string().contains("none/.keys-"), "{error}");
}

#[test]
fn without_a_folder_the_remedy_is_init() {
    let dir = tempfile::tempdir().unwrap();
    let told = refusal(&dir.path().join("keys"));
    assert!(told.contains("keys: no keys here; run `bartizan init`"), "{told}");
}

#[test]
fn every_missing_file_is_named() {
    for file in FILES.into_iter().chain([SHRED]) {
        let (_dir, path) = made();
        let victim = path.join(file);
        if victim.is_dir() { fs::remove_dir(&victim) } else { fs::remove_file(&victim) }.unwrap();
        let told = refusal(&path);
        assert!(told.contains(&format!("keys/{file}: missing; restore")), "{told}");
    }
}

#[test]
fn every_loose_mode_is_named_with_its_remedy() {
    let (_dir, path) = made();
    let places = FILES.map(|file| (path.join(file), 0o600));
    for (place, right) in places.into_iter().chain([(path.clone(), 0o700), (path.join(SHRED), 0o700)]) {
        for loose in [0o040, 0o020, 0o010, 0o004, 0o002, 0o001] {
            fs::set_permissions(&place, fs::Permissions::from_mode(right | loose)).unwrap();
            let told = refusal(&path);
            let meant = format!(
                "{}: mode {:04o} lets others in; run `chmod {right:04o} ",
                place.display(),
                right | loose
            );
            assert!(told.contains(&meant), "{told}");
        }
        fs::set_permissions(&place, fs::Permissions::from_mode(right)).unwrap();
    }
    Keys::open(&path).unwrap();
}

#[test]
fn another_owner_is_named() {
    let (_dir, path) = made();
    for place in [path.join(USER_CA), path.join(SHRED), path.clone()] {
        // Only root may give files away; elsewhere there is nothing to try.
        let Ok(()) = chown(&place, Some(12_345), None) else { return };
        let told = refusal(&path);
        assert!(told.contains(&format!("{}: belongs to user 12345", place.display())), "{told}");
        chown(&place, Some(rustix::process::geteuid().as_raw()), None).unwrap();
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_every_file_is_named() {
    let (_dir, path) = made();
    for file in FILES {
        let place = path.join(file);
        let sound = fs::read(&place).unwrap();
        let told = |bytes: &[u8]| {
            fs::write(&place, bytes).unwrap();
            refusal(&path)
        };
        for at in 0..sound.len() {
            let mut bent = sound.clone();
            bent[at] ^= 1 << (at % 8);
            let said = told(&bent);
            assert!(said.contains(&format!("keys/{file}: is damaged")), "byte {at}: {said}");
        }
        for end in [0, 1, sound.len() / 2, sound.len() - 2] {
            let said = told(&sound[..end]);
            assert!(said.contains(&format!("keys/{file}: is damaged")), "cut at {end}: {said}");
        }
        let said = told(&[sound.as_slice(), &[0; 5000]].concat());
        assert!(said.contains(&format!("keys/{file}: is damaged")), "{said}");
        fs::write(&place, &sound).unwrap();
    }
    Keys::open(&path).unwrap();
}

#[test]
fn two_key_files_cannot_be_swapped() {
    let (_dir, path) = made();
    let (user, host) = (fs::read(path.join(USER_CA)).unwrap(), fs::read(path.join(HOST_CA)).unwrap());
    fs::write(path.join(USER_CA), host).unwrap();
    fs::write(path.join(HOST_CA), user).unwrap();
    assert!(refusal(&path).contains("keys/user_ca.key: is damaged"));
}

#[test]
fn a_key_file_does_not_open_as_a_given_secret() {
    let (_dir, path) = made();
    let keys = Keys::open(&path).unwrap();
    let file = fs::read(path.join(USER_CA)).unwrap();
    assert!(keys.unseal(KEY_FILE, USER_CA.as_bytes(), &file).is_err());
}

#[test]
fn links_and_pipes_are_not_followed() {
    let (_dir, path) = made();
    let (real, aside) = (path.join(LOG), path.join("aside"));
    fs::rename(&real, &aside).unwrap();
    symlink(&aside, &real).unwrap();
    assert!(refusal(&path).contains("keys/log.key: is not a plain file"));
    fs::remove_file(&real).unwrap();
    let made = Command::new("mkfifo").arg("-m").arg("600").arg(&real).status();
    if made.is_ok_and(|status| status.success()) {
        assert!(refusal(&path).contains("keys/log.key: is not a plain file"));
    }
}

#[test]
fn a_host_key_of_an_older_folder_is_left_alone_and_not_offered() {
    let (_dir, path) = made();
    let before = Keys::open(&path).unwrap().host_public();
    let older = path.join("host_ecdsa.key");
    fs::write(&older, "sealed").unwrap();
    fs::set_permissions(&older, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(Keys::open(&path).unwrap().host_public(), before);
    assert!(before.iter().all(|key| key.key_data().is_ed25519()), "{before:?}");
    assert_eq!(fs::read_to_string(&older).unwrap(), "sealed");
}

#[test]
fn openssh_reads_the_host_keys() {
    let (dir, path) = made();
    for key in Keys::open(&path).unwrap().host_keys() {
        let file = dir.path().join("host");
        key.write_openssh_file(&file, ssh_key::LineEnding::LF).unwrap();
        let Ok(shown) = Command::new("ssh-keygen").arg("-y").arg("-f").arg(&file).output() else { return };
        assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
        let public = key.public_key().to_openssh().unwrap();
        assert!(public.starts_with(String::from_utf8(shown.stdout).unwrap().trim_end()));
    }
}

#[test]
fn the_log_signature_verifies_and_nothing_else_does() {
    let (_dir, path) = made();
    let keys = Keys::open(&path).unwrap();
    let public = UnparsedPublicKey::new(&ED25519, keys.log_public());
    public.verify(b"checkpoint", &keys.sign_log(b"checkpoint")).unwrap();
    assert!(public.verify(b"other", &keys.sign_log(b"checkpoint")).is_err());
}

#[test]
fn a_seed_opens_for_its_own_authenticator_only() {
    let (_dir, path) = made();
    let keys = Keys::open(&path).unwrap();
    let seed = Seed::generate().unwrap();
    let sealed = keys.seal_seed("alice", &seed).unwrap();
    assert_eq!(keys.unseal_seed("alice", &sealed).unwrap().to_base32(), seed.to_base32());
    assert!(keys.unseal_seed("bob", &sealed).is_err());
    assert!(keys.unseal(SEED, b"alice", &sealed).is_err());
}
