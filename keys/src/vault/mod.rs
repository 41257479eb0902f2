//! The vault: private keys and passwords by which the bastion logs in at targets that trust no certificate.
//! A private key never leaves this file: it signs. A password is lent for one login. Neither has a `Debug`, and no error repeats
//! a part of one.

use signature::Signer as _;
use ssh_key::private::KeypairData;
use ssh_key::{HashAlg, Kdf, PrivateKey, PublicKey, Signature};
use zeroize::Zeroizing;

use crate::Keys;
use crate::root::{Realm, SealError};

/// The longest private key file, in bytes.
const LONGEST_KEY: usize = 64 << 10;
/// The longest password, in bytes.
const LONGEST_PASSWORD: usize = 1024;
/// RSA keys between these lengths, in bits. Old appliances have short ones; below 2048 a key proves nothing.
const RSA: std::ops::RangeInclusive<u32> = 2048..=8192;
/// The most rounds of a passphrase: `ssh-keygen` writes 24, and each costs milliseconds.
const MOST_ROUNDS: u32 = 256;

/// What a vaulted secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultKind {
    /// A private key.
    Key,
    /// A password.
    Password,
}

impl VaultKind {
    /// As it stands in a bundle and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::Password => "password",
        }
    }

    fn purpose(self) -> &'static str {
        match self {
            Self::Key => "vaulted key",
            Self::Password => "vaulted password",
        }
    }
}

/// Why a secret is not taken into the vault, or not usable. Says nothing of the secret itself.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// No private key at all.
    #[error("it is no private key; give a file such as ~/.ssh/id_ed25519")]
    NotAKey,
    /// The other half.
    #[error("it is a public key; give the private one (usually the same name without .pub)")]
    Public,
    /// PEM or PuTTY.
    #[error(
        "it is a private key in another form than OpenSSH's; `ssh-keygen -p -f COPY` rewrites a copy of a PEM file, \
         `puttygen FILE -O private-openssh-new -o COPY` one of PuTTY's"
    )]
    Form,
    /// A passphrase is needed.
    #[error("the private key has a passphrase; run the command on a terminal, which asks for it")]
    Encrypted,
    /// The passphrase is another one.
    #[error("this is not the private key's passphrase; nothing was stored; try again")]
    Passphrase,
    /// Its passphrase would take minutes to check.
    #[error(
        "the private key's passphrase is made of {0} rounds; at most {MOST_ROUNDS} are taken: `ssh-keygen -p -a 24 -f COPY`"
    )]
    Rounds(u32),
    /// Too short, or absurdly long; bits.
    #[error("it is an RSA key of {0} bits; 2048 to 8192 are taken; make one with `ssh-keygen -t ed25519`")]
    Rsa(u32),
    /// A key that cannot sign by itself, or not safely.
    #[error("{0} keys cannot be vaulted; make one with `ssh-keygen -t ed25519`")]
    Algorithm(String),
    /// Nothing in it.
    #[error("the password is empty; give the right file")]
    Empty,
    /// Too long.
    #[error("it is longer than {0} bytes; give the right file")]
    TooLong(usize),
    /// No password anybody types.
    #[error("the password has a line end or a control character in it; give a file with one line")]
    Lines,
    /// A key given as a password.
    #[error("it is a key and no password; a private key is given with --key-file")]
    KeyAsPassword,
    /// It could not be wrapped or opened.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The library refused.
    #[error("the vaulted key cannot be used: {0}")]
    Library(#[from] ssh_key::Error),
}

/// A private key. Wiped when dropped.
pub struct VaultKey(PrivateKey);

impl VaultKey {
    /// Reads a private key file of OpenSSH's own form.
    ///
    /// # Errors
    /// [`VaultError::Encrypted`] when it has a passphrase and none is given; else what is wrong with it.
    pub fn read(text: &str, passphrase: Option<&str>) -> Result<Self, VaultError> {
        if text.len() > LONGEST_KEY {
            return Err(VaultError::TooLong(LONGEST_KEY));
        }
        let text = text.trim();
        if !text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
            return Err(stranger(text));
        }
        let key = PrivateKey::from_openssh(text).map_err(|_| VaultError::NotAKey)?;
        let key = if key.is_encrypted() { opened(&key, passphrase)? } else { key };
        Self::of(key.key_data().clone())
    }

    /// Whether reading it takes a passphrase.
    #[must_use]
    pub fn is_encrypted(text: &str) -> bool {
        matches!(Self::read(text, None), Err(VaultError::Encrypted))
    }

    /// Without its comment, which may say more than the vault needs to know.
    fn of(pair: KeypairData) -> Result<Self, VaultError> {
        let key = PrivateKey::new(pair, "")?;
        match key.key_data() {
            KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) => {}
            KeypairData::Rsa(_) => {
                let bits = key.public_key().key_data().rsa().map_or(0, |rsa| rsa.key_size());
                if !RSA.contains(&bits) {
                    return Err(VaultError::Rsa(bits));
                }
            }
            _ => return Err(VaultError::Algorithm(key.algorithm().to_string())),
        }
        Ok(Self(key))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        self.0.public_key()
    }

    /// Signs an authentication request (RFC 4252 section 7); an RSA key with this hash (RFC 8332), SHA-512 where none is named.
    ///
    /// # Errors
    /// Only if the library refuses.
    pub fn sign(&self, hash: Option<HashAlg>, request: &[u8]) -> Result<Signature, VaultError> {
        let signed = match self.0.key_data() {
            KeypairData::Rsa(pair) => (pair, Some(hash.unwrap_or(HashAlg::Sha512))).try_sign(request),
            pair => pair.try_sign(request),
        };
        Ok(signed.map_err(ssh_key::Error::from)?)
    }
}

/// A private key file without its passphrase.
fn opened(key: &PrivateKey, passphrase: Option<&str>) -> Result<PrivateKey, VaultError> {
    if let Kdf::Bcrypt { rounds, .. } = key.kdf()
        && *rounds > MOST_ROUNDS
    {
        return Err(VaultError::Rounds(*rounds));
    }
    let passphrase = passphrase.ok_or(VaultError::Encrypted)?;
    key.decrypt(passphrase.as_bytes()).map_err(|_| VaultError::Passphrase)
}

/// What a text is that is no OpenSSH private key.
fn stranger(text: &str) -> VaultError {
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-User-Key-File") {
        VaultError::Form
    } else if PublicKey::from_openssh(text).is_ok() {
        VaultError::Public
    } else {
        VaultError::NotAKey
    }
}

/// A password. Wiped when dropped.
pub struct VaultPassword(Zeroizing<String>);

impl VaultPassword {
    /// Reads a password file: one line, whose end does not count.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, VaultError> {
        if text.contains("PRIVATE KEY") || PublicKey::from_openssh(text.trim()).is_ok() {
            return Err(VaultError::KeyAsPassword);
        }
        let line = text.strip_suffix('\n').unwrap_or(text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Err(VaultError::Empty);
        }
        if line.len() > LONGEST_PASSWORD {
            return Err(VaultError::TooLong(LONGEST_PASSWORD));
        }
        if line.chars().any(char::is_control) {
            return Err(VaultError::Lines);
        }
        Ok(Self(Zeroizing::new(line.to_owned())))
    }

    /// The password, for the login that is under way: the one hand-over of a vaulted secret.
    #[must_use]
    pub fn lend(&self) -> &str {
        &self.0
    }
}

impl Keys {
    /// Wraps a key for the vault; it opens again only as a key of this name of this tenant.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal_vault_key(&self, tenant: &str, name: &str, key: &VaultKey) -> Result<Vec<u8>, VaultError> {
        let bytes = key.0.to_bytes()?;
        Ok(self.root.seal(Realm::Own, VaultKind::Key.purpose(), &context(tenant, name), &bytes)?)
    }

    /// Opens what [`Keys::seal_vault_key`] wrapped.
    ///
    /// # Errors
    /// [`SealError::Altered`] if a bit changed or it was wrapped for another name, tenant or kind.
    pub fn unseal_vault_key(&self, tenant: &str, name: &str, sealed: &[u8]) -> Result<VaultKey, VaultError> {
        let bytes = self.root.unseal(Realm::Own, VaultKind::Key.purpose(), &context(tenant, name), sealed)?;
        VaultKey::of(PrivateKey::from_bytes(&bytes)?.key_data().clone())
    }

    /// Wraps a password for the vault; it opens again only as a password of this name of this tenant.
    ///
    /// # Errors
    /// No randomness.
    pub fn seal_vault_password(
        &self,
        tenant: &str,
        name: &str,
        password: &VaultPassword,
    ) -> Result<Vec<u8>, VaultError> {
        let plain = password.0.as_bytes();
        Ok(self.root.seal(Realm::Own, VaultKind::Password.purpose(), &context(tenant, name), plain)?)
    }

    /// Opens what [`Keys::seal_vault_password`] wrapped.
    ///
    /// # Errors
    /// As [`Keys::unseal_vault_key`].
    pub fn unseal_vault_password(
        &self,
        tenant: &str,
        name: &str,
        sealed: &[u8],
    ) -> Result<VaultPassword, VaultError> {
        let purpose = VaultKind::Password.purpose();
        let bytes = self.root.unseal(Realm::Own, purpose, &context(tenant, name), sealed)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|_| SealError::Form { purpose: purpose.to_owned() })?;
        Ok(VaultPassword(Zeroizing::new(text.to_owned())))
    }
}

/// Tenant and name in one unambiguous string: the tenant is preceded by its length.
fn context(tenant: &str, name: &str) -> Vec<u8> {
    let mut bytes = (tenant.len() as u64).to_be_bytes().to_vec();
    bytes.extend_from_slice(tenant.as_bytes());
    bytes.extend_from_slice(name.as_bytes());
    bytes
}

#[cfg(test)]
mod tests;
