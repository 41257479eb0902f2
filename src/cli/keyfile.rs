//! The key files of a quickstart: found in `~/.ssh`, or made in the directory.
//! It never reads further into a private key of the person's than its public half, and never overwrites a key.

use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::init::{self, InitError};
use crate::control::fits_operator;

/// The names that OpenSSH tries by itself, strongest first.
const NAMES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
/// No key file is longer, in bytes.
const LONGEST: u64 = 64 * 1024;

/// A key that `ssh` can use: the private file's place and the public line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyFile {
    /// The private half; absolute.
    pub(super) path: PathBuf,
    /// `algorithm base64 comment`.
    pub(super) public: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The system gives no randomness.
    #[error("the system gives no randomness; no key can be made")]
    Random,
    /// The key cannot be written down.
    #[error("{} cannot be written down as a key: {why}", .path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// What the library said.
        why: ssh_key::Error,
    },
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] InitError),
}

/// The first usable key of `~/.ssh`, by its public file or the public half of the private one.
pub(super) fn of_person(home: &Path) -> Option<KeyFile> {
    NAMES.iter().find_map(|name| {
        let path = home.join(".ssh").join(name);
        let private = short_text(&path)?;
        let beside = short_text(&path.with_extension("pub")).map(|text| text.trim().to_owned());
        let inside = || PrivateKey::from_openssh(private.as_bytes()).ok()?.public_key().to_openssh().ok();
        let public = beside.filter(|line| fits_operator(line)).or_else(inside)?;
        fits_operator(&public).then_some(KeyFile { path, public })
    })
}

fn short_text(path: &Path) -> Option<Zeroizing<String>> {
    let about = std::fs::metadata(path).ok()?;
    if !about.is_file() || about.len() > LONGEST {
        return None;
    }
    std::fs::read_to_string(path).ok().map(Zeroizing::new)
}

/// The key of this name in the directory: the one that is there, or a new ed25519 key.
pub(super) fn in_directory(dir: &Path, name: &str, comment: &str) -> Result<KeyFile, KeyFileError> {
    let path = dir.join(name);
    let form = |why| KeyFileError::Form { path: path.clone(), why };
    let key = match short_text(&path) {
        Some(text) => PrivateKey::from_openssh(text.as_bytes()).map_err(form)?,
        None => {
            let key = fresh(comment).ok_or(KeyFileError::Random)?;
            init::write(&path, &key.to_openssh(LineEnding::LF).map_err(form)?)?;
            key
        }
    };
    let public = key.public_key().to_openssh().map_err(form)?;
    let beside = dir.join(format!("{name}.pub"));
    if !beside.exists() {
        init::write(&beside, &format!("{public}\n"))?;
    }
    Ok(KeyFile { path, public })
}

/// The private half itself, for the demo target's host key.
pub(super) fn private(file: &KeyFile) -> Result<PrivateKey, KeyFileError> {
    let form = |why| KeyFileError::Form { path: file.path.clone(), why };
    let text = short_text(&file.path).ok_or_else(|| form(ssh_key::Error::FormatEncoding))?;
    PrivateKey::from_openssh(text.as_bytes()).map_err(form)
}

fn fresh(comment: &str) -> Option<PrivateKey> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    SystemRandom::new().fill(seed.as_mut()).ok()?;
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    PrivateKey::new(pair, comment).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_made_once_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let first = in_directory(dir.path(), "person_key", "ana").expect("made");
        let second = in_directory(dir.path(), "person_key", "ana").expect("found");
        assert_eq!(first, second);
        let mode = std::fs::metadata(&first.path).expect("file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(fits_operator(&first.public));
        assert_eq!(
            private(&first).expect("private").public_key().to_openssh().expect("public"),
            first.public
        );
    }

    #[test]
    fn a_home_without_keys_gives_none_and_one_with_a_private_key_alone_is_enough() {
        let home = tempfile::tempdir().expect("dir");
        assert_eq!(of_person(home.path()), None);
        std::fs::create_dir(home.path().join(".ssh")).expect("mkdir");
        std::fs::write(home.path().join(".ssh/id_ed25519"), "no key").expect("write");
        assert_eq!(of_person(home.path()), None);
        let key = fresh("ana").expect("key").to_openssh(LineEnding::LF).expect("text");
        std::fs::write(home.path().join(".ssh/id_ecdsa"), key.as_bytes()).expect("write");
        let found = of_person(home.path()).expect("found");
        assert!(found.path.ends_with("id_ecdsa") && found.public.starts_with("ssh-ed25519 "));
    }
}
