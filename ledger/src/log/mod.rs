//! The audit log of one node: events as lines, a Merkle tree over them, and signed checkpoints.
//!
//! Never has a second writer, never signs a tree that is smaller than or different from one it has signed.
//!
//! In the folder: `entries.jsonl` (one line an event), `checkpoint` (the newest signed note), `checkpoints` (all of them),
//! `public` (the key that signs, as a C2SP verifier key), `reserve` (room for the last words), and `torn-*.part` (what crashes left
//! half-written).

mod checkpoint;
mod entry;
mod event;
mod lines;
mod open;
mod proof;
mod reader;
mod reserve;
mod torn;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use checkpoint::{Checkpoint, KeyError, NoteError, Sign, VerifierKey};
pub use entry::{Entry, EntryError};
pub use event::{Event, EventError, MAX_EVENT};
pub use open::OpenError;
pub use proof::{Proof, ProofError, consistent, prove};
pub use reader::{Filter, LogError, Reader, tail};
pub use reserve::has_reserve;
pub use torn::Torn;
pub use verify::{Broken, Counts, Place, VerifyError, Why, verify};
pub use writer::{AppendError, CheckpointError, Log};

/// The entries.
pub(crate) fn entries(dir: &Path) -> PathBuf {
    dir.join("entries.jsonl")
}

/// The newest checkpoint.
pub(crate) fn newest(dir: &Path) -> PathBuf {
    dir.join("checkpoint")
}

/// All checkpoints, oldest first.
pub(crate) fn history(dir: &Path) -> PathBuf {
    dir.join("checkpoints")
}

/// The key that signs the checkpoints.
pub(crate) fn public(dir: &Path) -> PathBuf {
    dir.join("public")
}
