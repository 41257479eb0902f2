//! The device's private key, and the one store for it so far: a file that only its owner may read.
//! It never signs anything but certificates of the posture crate, never leaves this process, and is never printed.

use std::path::Path;

use ed25519_dalek::Signer as _;
use posture::certificate::{DeviceKey, KeyFailed};
use posture::report::Keeper;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey, PublicKey, Signature};
use zeroize::Zeroizing;

use crate::environment::random;
use crate::files::{self, FileError};

const PRIVATE: &str = "device";
const PUBLIC: &str = "device.pub";
const LARGEST: u64 = 16 * 1024;

/// A place that keeps the device's key.
pub trait KeyStore: DeviceKey + Send + Sync {
    /// Which kind of place: it goes into every report.
    fn keeper(&self) -> Keeper;
}

/// A device key in a file of mode 0600.
pub struct FileKey(PrivateKey);

/// Why there is no device key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is not as it must be.
    #[error("device key: {0}")]
    File(#[from] FileError),
    /// There is none.
    #[error("there is no device key in {}; `bartizan-agent enroll TOKEN` makes one", .0.display())]
    Missing(std::path::PathBuf),
    /// It is no private key, or not one that proves anything.
    #[error("device key {} cannot be used: {why}; move it away and enrol again", .path.display())]
    Unusable {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        why: String,
    },
    /// The system gives no randomness.
    #[error("no device key can be made: the system gives no randomness; check that getrandom(2) works here")]
    Random,
}

impl FileKey {
    /// The key of this folder.
    ///
    /// # Errors
    /// When there is none, others may read it, or it is of no accepted kind.
    pub fn open(dir: &Path) -> Result<Self, KeyError> {
        let path = dir.join(PRIVATE);
        let text = match files::read_secret(&path, LARGEST) {
            Ok(text) => Zeroizing::new(text),
            Err(why) if why.is_missing() => return Err(KeyError::Missing(dir.to_owned())),
            Err(why) => return Err(why.into()),
        };
        let unusable = |why: String| KeyError::Unusable { path: path.clone(), why };
        let key = PrivateKey::from_openssh(text.as_bytes()).map_err(|why| unusable(why.to_string()))?;
        if key.is_encrypted() {
            return Err(unusable("it has a passphrase".to_owned()));
        }
        posture::acceptable(key.public_key(), None).map_err(|why| unusable(why.to_string()))?;
        Ok(Self(key))
    }

    /// The key of this folder, made if there is none. The folder is made too.
    ///
    /// # Errors
    /// As [`FileKey::open`], and when it cannot be written.
    pub fn open_or_create(dir: &Path) -> Result<Self, KeyError> {
        files::private_folder(dir)?;
        match Self::open(dir) {
            Err(KeyError::Missing(_)) => {}
            other => return other,
        }
        let mut seed = Zeroizing::new([0; 32]);
        if !random(seed.as_mut_slice()) {
            return Err(KeyError::Random);
        }
        let path = dir.join(PRIVATE);
        let unusable = |why: ssh_key::Error| KeyError::Unusable { path: path.clone(), why: why.to_string() };
        let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
        let key = PrivateKey::new(pair, "bartizan device").map_err(unusable)?;
        let text = key.to_openssh(LineEnding::LF).map_err(unusable)?;
        let public = format!("{}\n", key.public_key().to_openssh().map_err(unusable)?);
        files::replace(&dir.join(PUBLIC), public.as_bytes(), 0o644)?;
        files::replace(&path, text.as_bytes(), 0o600)?;
        Ok(Self(key))
    }
}

impl DeviceKey for FileKey {
    fn public(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, KeyFailed> {
        self.0.try_sign(message).map_err(|why| KeyFailed { why: why.to_string() })
    }
}

impl KeyStore for FileKey {
    fn keeper(&self) -> Keeper {
        Keeper::File
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_openssh_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("agent");
        assert!(matches!(FileKey::open(&dir), Err(KeyError::Missing(_))));
        let made = FileKey::open_or_create(&dir).unwrap().public().clone();
        assert_eq!(FileKey::open_or_create(&dir).unwrap().public(), &made);
        let shown = Command::new("ssh-keygen").arg("-y").arg("-f").arg(dir.join(PRIVATE)).output().unwrap();
        let shown = PublicKey::from_openssh(String::from_utf8(shown.stdout).unwrap().trim()).unwrap();
        assert_eq!(shown.key_data(), made.key_data());
    }

    #[test]
    fn a_key_that_others_may_read_or_that_has_a_passphrase_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        FileKey::open_or_create(&folder.path().join("a")).unwrap();
        let path = folder.path().join("a").join(PRIVATE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(FileKey::open(&folder.path().join("a")), Err(KeyError::File(_))));
        std::fs::remove_file(&path).unwrap();
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "secret", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        assert!(matches!(FileKey::open(&folder.path().join("a")), Err(KeyError::Unusable { .. })));
    }
}
