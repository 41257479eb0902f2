//! Proofs from the log: that an entry is under a checkpoint, that one checkpoint continues another.
//!
//! Never trusts what it read: a proof that does not hold against the checkpoints given is not handed out.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::entry::{self, EntryError, MAX_LINE};
use super::lines::{Line, Lines};
use super::reader::LogError;
use crate::{Digest, merkle};

/// That one entry is in the log under a checkpoint (RFC 6962 section 2.1.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The entry's place.
    pub seq: u64,
    /// The checkpoint's size.
    pub size: u64,
    /// The hashes beside the way from the leaf to the root, deepest first.
    pub path: Vec<Digest>,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log ends before what was asked.
    #[error("the log has no entry {seq} under a checkpoint of {size} entries")]
    Beyond {
        /// The place asked for, or the size of the smaller checkpoint.
        seq: u64,
        /// The size of the checkpoint.
        size: u64,
    },
    /// The log is not the one under the checkpoint.
    #[error(
        "the log does not lead to the root of the checkpoint of {0} entries: run bartizan-verify for the position"
    )]
    Differs(u64),
}

impl Proof {
    /// Whether the event with the canonical text `json` is at this place under `checkpoint`.
    pub fn holds(&self, json: &str, checkpoint: &Checkpoint) -> bool {
        let leaf = merkle::leaf(json.as_bytes());
        self.size == checkpoint.size
            && merkle::includes(leaf, self.seq, self.size, &self.path, &checkpoint.root)
    }
}

/// Proves that entry `seq` of the log in `dir` is under `checkpoint`. Reads the log up to the checkpoint, in flat memory.
pub fn prove(dir: &Path, seq: u64, checkpoint: &Checkpoint) -> Result<Proof, ProofError> {
    let size = checkpoint.size;
    let mut own = None;
    let leaves = Leaves::open(dir)?.enumerate().inspect(|(index, leaf)| {
        if *index as u64 == seq {
            own = leaf.as_ref().ok().copied();
        }
    });
    let path = merkle::inclusion(leaves.map(|(_, leaf)| leaf), seq, size)?;
    let path = path.ok_or(ProofError::Beyond { seq, size })?;
    let own = match own {
        Some(own) => own,
        // The leaves before the last one of the path may be all that was read.
        None => Leaves::open(dir)?
            .nth(usize::try_from(seq).unwrap_or(usize::MAX))
            .transpose()?
            .ok_or(ProofError::Beyond { seq, size })?,
    };
    if !merkle::includes(own, seq, size, &path, &checkpoint.root) {
        return Err(ProofError::Differs(size));
    }
    Ok(Proof { seq, size, path })
}

/// Proves from the log in `dir` that `newer` continues `older`: the same log, nothing taken away or changed. The proof holds
/// under [`merkle::extends`]; it is empty for checkpoints of one size, and for an `older` without entries.
pub fn consistent(dir: &Path, older: &Checkpoint, newer: &Checkpoint) -> Result<Vec<Digest>, ProofError> {
    let beyond = || ProofError::Beyond { seq: older.size, size: newer.size };
    if older.size == 0 {
        let empty = older.root == merkle::Tree::new().root();
        return if empty { Ok(Vec::new()) } else { Err(ProofError::Differs(0)) };
    }
    let proof = merkle::consistency(Leaves::open(dir)?, older.size, newer.size)?.ok_or_else(beyond)?;
    if !merkle::extends(older.size, &older.root, newer.size, &newer.root, &proof) {
        return Err(ProofError::Differs(newer.size));
    }
    Ok(proof)
}

/// The leaf hashes of the log, in order.
struct Leaves {
    path: std::path::PathBuf,
    lines: Lines,
    seq: u64,
}

impl Leaves {
    fn open(dir: &Path) -> Result<Self, LogError> {
        let path = super::entries(dir);
        match Lines::open(&path, 0, MAX_LINE) {
            Ok(lines) => Ok(Self { path, lines, seq: 0 }),
            Err(source) => Err(LogError::Io { path, source }),
        }
    }
}

impl Iterator for Leaves {
    type Item = Result<Digest, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = match self.lines.step() {
            Err(source) => return Some(Err(LogError::Io { path: self.path.clone(), source })),
            Ok(Line::End | Line::Torn) => return None,
            Ok(Line::Endless) => Err(EntryError::Form),
            Ok(Line::Whole) => entry::leaf(self.lines.line(), self.seq),
        };
        let seq = self.seq;
        self.seq += 1;
        Some(found.map_err(|why| LogError::Broken { seq, offset: self.lines.start(), why }))
    }
}
