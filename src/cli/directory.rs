//! A bartizan directory made ready for this process, and why it cannot be.
//! It never takes a lock by itself: who opens a directory holds it already.

use std::sync::Arc;

use crate::bastion::{Bastion, OpenError};
use crate::config::{Config, ConfigError};
use crate::control::lock::LockError;
use crate::upkeep::{self, UpkeepError};

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The parts.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What a crash left open.
    #[error(transparent)]
    Upkeep(#[from] UpkeepError),
}

/// Opens everything and closes what a crash left open. The caller holds the lock.
pub(super) async fn open(config: Config) -> Result<Arc<Bastion>, DirectoryError> {
    let bastion = Bastion::open(config).await?;
    let closed = upkeep::close_what_is_open(&bastion).await?;
    if closed != upkeep::Closed::default() {
        let upkeep::Closed { recordings, sessions, entries } = closed;
        tracing::warn!(recordings, sessions, entries, "closed what the last run left open");
    }
    Ok(bastion)
}
