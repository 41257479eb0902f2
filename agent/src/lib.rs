//! The device's side of Bartizan: an SSH agent that proves the device to its bastion, in front of the person's own agent.
//! It never proves the device to anybody else, never signs for a forwarded connection, and knows nothing of the bastion's inside.
//!
//! A login, in order: [`serve`] takes a connection, [`bind`] checks to which SSH connection it belongs, [`identity`] makes a
//! report of [`facts`] with a number of [`serial`], certifies a throw-away key with the device's [`key`], and signs that login;
//! everything else goes to the agent [`behind`].

mod behind;
mod bind;
mod commands;
mod config;
mod connection;
mod control;
mod doctor;
mod environment;
mod facts;
mod files;
mod host;
mod identity;
mod key;
mod quote;
mod serial;
mod serve;
mod ssh;
mod ssh_files;
pub mod wire;

pub use commands::{
    CommandError, EnrollError, ErrandError, InstallError, Installed, RefreshError, Unheard, enroll, install,
    run,
};
pub use config::{Bastion, Config, ConfigError};
pub use control::ControlError;
pub use doctor::{Check, examine};
pub use environment::{Clock, Environment, SystemClock};
pub use facts::{FactsError, Snapshot};
pub use files::FileError;
pub use key::{FileKey, KeyError, KeyStore};
pub use quote::QuoteError;
pub use serve::{Agent, AgentError, Listening, ShowError, serve};
pub use ssh::SshError;
pub use ssh_files::SshFilesError;
