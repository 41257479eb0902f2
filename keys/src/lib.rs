//! The only place with secret bytes: the root key, host keys, certificate authorities, the log's signing key, wrapped secrets
//! and one-time-code seeds.
//! It never touches the network, a database, the clock or the policy, and no secret of it has a `Debug` or appears in an error.
//!
//! | file of the keys folder | holds |
//! |---|---|
//! | `root.key` | the root key, in clear; everything else is wrapped under it |
//! | `host_ed25519.key` | the bastion's host key |
//! | `user_ca.key`, `host_ca.key` | the two certificate authorities |
//! | `log.key` | the signing key of the audit log |
//! | `shred/<recording>` | one half of each recording's key, kept apart so that destroying it erases every copy |
//!
//! [`Keys`] opens the folder; [`certificate`] says what may be certified; [`totp`] is the one-time code,
//! [`written`] what stands in for it; [`VaultKey`] and [`VaultPassword`] log in where no certificate does.

mod authority;
pub mod certificate;
mod folder;
mod keys;
mod random;
mod recording;
mod root;
mod root_line;
pub mod totp;
mod vault;
pub mod written;

pub use authority::SessionLogin;
pub use certificate::{Allow, CertificateError, SessionCertificate};
pub use folder::FolderError;
pub use keys::{CreateError, Keys, OpenError};
pub use random::RandomError;
pub use recording::{RecordingKey, RecordingKeyError};
pub use root::SealError;
pub use vault::{VaultError, VaultKey, VaultKind, VaultPassword};
