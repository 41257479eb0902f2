//! The keys folder: made once, opened at every start, and the one object that answers for all keys.
//! It never hands out a private key, with one named exception: the host keys, which the listener must hold in memory.

use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::folder::{self, Folder, FolderError};
use crate::random::{self, RandomError};
use crate::root::{Realm, Root, SealError};
use crate::root_line;
use crate::totp::Seed;

const ROOT: &str = "root.key";
const HOST_ED25519: &str = "host_ed25519.key";
const USER_CA: &str = "user_ca.key";
const HOST_CA: &str = "host_ca.key";
const LOG: &str = "log.key";
const SHRED: &str = "shred";
/// The purpose under which key files are sealed; their file name is the context, so that two cannot be swapped.
const KEY_FILE: &str = "key file";
const SEED: &str = "one-time-code seed";

/// Why keys could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The folder or a file in it.
    #[error("cannot make keys: {0}")]
    Folder(#[from] FolderError),
    /// No randomness.
    #[error("cannot make keys: {0}")]
    Random(#[from] RandomError),
    /// A key could not be wrapped.
    #[error("cannot make keys: {0}")]
    Seal(#[from] SealError),
}

/// Why keys could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no keys folder.
    #[error("{path}: no keys here; run `bartizan init` to make them, or restore the folder from a backup", path = path.display())]
    None {
        /// The folder.
        path: PathBuf,
    },
    /// A file is missing, loose, foreign or damaged.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// All keys of a bastion, open. Has no `Debug` and no `Clone`; share it by reference.
pub struct Keys {
    pub(crate) root: Root,
    pub(crate) shred: Folder,
    pub(crate) user_ca: PrivateKey,
    pub(crate) host_ca: PrivateKey,
    host: [PrivateKey; 1],
    log: Ed25519KeyPair,
    log_public: [u8; 32],
}

impl Keys {
    /// Makes the folder `dir` with fresh keys, whole or not at all, durable when this returns; then opens it.
    ///
    /// # Errors
    /// Refuses where anything but an empty folder is at `dir`; the parent folder must exist.
    pub fn create(dir: &Path) -> Result<Self, CreateError> {
        let nonce = HEXLOWER.encode(random::bytes::<8>()?.as_slice());
        folder::create_whole(dir, &nonce, fill)?;
        Self::open(dir).map_err(|error| match error {
            OpenError::None { path } => CreateError::Folder(FolderError::Missing { path }),
            OpenError::Folder(error) => CreateError::Folder(error),
        })
    }

    /// Opens the keys of the folder `dir`.
    ///
    /// # Errors
    /// Names the first file that is missing, readable by others, of another owner, or damaged, with what to do.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let folder = Folder::open(dir).map_err(|error| match error {
            FolderError::Missing { path } => OpenError::None { path },
            other => OpenError::Folder(other),
        })?;
        let root = read_root(&folder)?;
        let seed = |name| read_key(&folder, &root, name);
        let host = [ed25519(&folder, HOST_ED25519, &*seed(HOST_ED25519)?)?];
        let user_ca = ed25519(&folder, USER_CA, &*seed(USER_CA)?)?;
        let host_ca = ed25519(&folder, HOST_CA, &*seed(HOST_CA)?)?;
        let log =
            Ed25519KeyPair::from_seed_unchecked(seed(LOG)?.as_slice()).map_err(|_| damaged(&folder, LOG))?;
        let log_public = log.public_key().as_ref().try_into().map_err(|_| damaged(&folder, LOG))?;
        let shred = folder.open_inner(SHRED)?;
        Ok(Self { root, shred, user_ca, host_ca, host, log, log_public })
    }

    /// The private host keys, one of Ed25519: the one hand-over, to the listener. No curve of NIST is among them.
    #[must_use]
    pub fn host_keys(&self) -> Vec<PrivateKey> {
        self.host.to_vec()
    }

    /// The public host keys, in the order of [`Keys::host_keys`].
    #[must_use]
    pub fn host_public(&self) -> Vec<PublicKey> {
        self.host.iter().map(|key| key.public_key().clone()).collect()
    }

    pub(crate) fn host_private(&self) -> &[PrivateKey] {
        &self.host
    }

    /// The authority that signs logins to targets (`TrustedUserCAKeys`).
    #[must_use]
    pub fn user_ca(&self) -> &PublicKey {
        self.user_ca.public_key()
    }

    /// The authority that signs host certificates (`@cert-authority`).
    #[must_use]
    pub fn host_ca(&self) -> &PublicKey {
        self.host_ca.public_key()
    }

    /// The Ed25519 public key (RFC 8032) that the audit log's checkpoints verify under.
    #[must_use]
    pub fn log_public(&self) -> [u8; 32] {
        self.log_public
    }

    /// Signs for the audit log: Ed25519 (RFC 8032), 64 bytes.
    #[must_use]
    pub fn sign_log(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        for (byte, signed) in bytes.iter_mut().zip(self.log.sign(message).as_ref()) {
            *byte = *signed;
        }
        bytes
    }

    /// Wraps a secret for the store. It opens again only with the same purpose (what kind of thing it is, such as `recovery
    /// code`) and context (whose it is, such as the operator's name).
    ///
    /// # Errors
    /// No randomness, or more than 64 GiB.
    pub fn seal(&self, purpose: &str, context: &[u8], plain: &[u8]) -> Result<Vec<u8>, SealError> {
        self.root.seal(Realm::Given, purpose, context, plain)
    }

    /// Opens what [`Keys::seal`] wrapped.
    ///
    /// # Errors
    /// [`SealError::Altered`] if a bit changed, or root key, purpose or context differ.
    pub fn unseal(
        &self,
        purpose: &str,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealError> {
        self.root.unseal(Realm::Given, purpose, context, sealed)
    }

    /// Wraps a one-time-code seed; `authenticator` names whose it is and must be the same at [`Keys::unseal_seed`].
    ///
    /// # Errors
    /// No randomness.
    pub fn seal_seed(&self, authenticator: &str, seed: &Seed) -> Result<Vec<u8>, SealError> {
        self.root.seal(Realm::Own, SEED, authenticator.as_bytes(), seed.bytes())
    }

    /// Opens what [`Keys::seal_seed`] wrapped for this authenticator.
    ///
    /// # Errors
    /// [`SealError::Altered`] if a bit changed or it was wrapped for another authenticator.
    pub fn unseal_seed(&self, authenticator: &str, sealed: &[u8]) -> Result<Seed, SealError> {
        let bytes = self.root.unseal(Realm::Own, SEED, authenticator.as_bytes(), sealed)?;
        Seed::from_bytes(&bytes).map_err(|_| SealError::Form { purpose: SEED.to_owned() })
    }
}

/// Writes a whole set of fresh keys into an empty folder.
fn fill(folder: &Folder) -> Result<(), CreateError> {
    let secret = random::bytes::<32>()?;
    folder.write_new(ROOT, root_line::write(&secret).as_bytes())?;
    let root = Root::new(secret);
    for name in [HOST_ED25519, USER_CA, HOST_CA, LOG] {
        write_key(folder, &root, name, &*random::bytes::<32>()?)?;
    }
    folder.make_inner(SHRED)?.sync()?;
    Ok(())
}

fn write_key(folder: &Folder, root: &Root, name: &str, key: &[u8; 32]) -> Result<(), CreateError> {
    let sealed = root.seal(Realm::Own, KEY_FILE, name.as_bytes(), key)?;
    Ok(folder.write_new(name, &sealed)?)
}

fn read_key(folder: &Folder, root: &Root, name: &str) -> Result<Zeroizing<[u8; 32]>, FolderError> {
    let sealed = folder.read(name)?;
    let opened =
        root.unseal(Realm::Own, KEY_FILE, name.as_bytes(), &sealed).map_err(|_| damaged(folder, name))?;
    let key = opened.as_slice().try_into().map_err(|_| damaged(folder, name))?;
    Ok(Zeroizing::new(key))
}

fn ed25519(folder: &Folder, name: &str, seed: &[u8; 32]) -> Result<PrivateKey, FolderError> {
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(seed));
    PrivateKey::new(pair, comment(name)).map_err(|_| damaged(folder, name))
}

/// What a public key says after its base64, so that a pasted line tells what it is.
fn comment(name: &str) -> &'static str {
    match name {
        USER_CA => "bartizan-user-ca",
        HOST_CA => "bartizan-host-ca",
        _ => "bartizan-host",
    }
}

fn read_root(folder: &Folder) -> Result<Root, FolderError> {
    let bytes = folder.read(ROOT)?;
    root_line::read(&bytes).map(Root::new).ok_or_else(|| damaged(folder, ROOT))
}

fn damaged(folder: &Folder, name: &str) -> FolderError {
    FolderError::Damaged { path: folder.path_of(name) }
}

#[cfg(test)]
mod tests;
