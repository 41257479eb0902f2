//! What lasts and can be proven: recordings, the audit log, checkpoints and proofs.
//!
//! Never knows the network, a database or SSH, and never reads the clock: times are arguments.
//!
//! Read in this order: [`recording`] is one channel's frame file, [`log`] is the node's audit log, [`evidence`] is how the
//! log speaks of recordings, [`merkle`] is the hashing under the log's checkpoints.

pub mod canonical;
mod digest;
mod durable;
pub mod evidence;
pub mod log;
pub mod merkle;
mod plain;
pub mod recording;

pub use digest::{Digest, DigestError};
pub use durable::{Syncer, WriteError};
