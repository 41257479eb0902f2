//! The one writer of the log: takes events, gives them their place, signs how far the log has come.
//!
//! Never goes on after a failed write or sync: drop the log and open it again, which rereads all of it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::checkpoint::{Checkpoint, Sign, VerifierKey};
use super::entry;
use super::event::{Event, EventError};
use super::reserve::Reserve;
use super::torn::Torn;
use crate::durable::{Durable, Syncer, WriteError, is_full, sync_dir};
use crate::merkle::Tree;

/// How many bytes of entries wait in memory at most before they are written.
const BUFFER: usize = 64 * 1024;

/// Why an event was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The event itself cannot be written; the log goes on.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The log cannot be written any more.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl AppendError {
    /// As [`WriteError::is_full`].
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Write(why) if why.is_full())
    }
}

impl CheckpointError {
    /// As [`WriteError::is_full`]; the newest checkpoint's own file counts too, for it takes its place only when it is whole.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Write(why) => why.is_full(),
            Self::File { source, .. } => is_full(source),
            Self::Key => false,
        }
    }

    /// Whether a file could not be opened because the process or the system has too many open. Nothing is wrong with the log: the
    /// same checkpoint can be made a moment later.
    pub fn is_for_later(&self) -> bool {
        let Self::File { source, .. } = self else { return false };
        matches!(Errno::from_io_error(source), Some(Errno::MFILE | Errno::NFILE))
    }
}

/// Why a checkpoint was not made.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The log or the checkpoints cannot be written any more.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The newest checkpoint cannot be put in its place.
    #[error("{}: cannot write the checkpoint: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The signature does not verify under the log's own key.
    #[error("the log's signing key and its public key do not belong together: check the keys folder")]
    Key,
}

/// What opening found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) new: bool,
    pub(super) unsigned: u64,
}

/// The audit log, open for writing. One per folder: a second one is refused.
pub struct Log {
    pub(super) dir: PathBuf,
    pub(super) signer: Box<dyn Sign>,
    pub(super) key: VerifierKey,
    pub(super) entries: Arc<Durable>,
    pub(super) history: Durable,
    pub(super) tree: Tree,
    pub(super) buffer: String,
    pub(super) signed: Option<Checkpoint>,
    /// How far the newest checkpoint of the history goes: it stands there once, also when it could not be published at once.
    pub(super) recorded: Option<u64>,
    pub(super) torn: Vec<Torn>,
    pub(super) found: Found,
    pub(super) reserve: Reserve,
    /// Keeps the folder ours as long as the log is open.
    pub(super) lock: File,
}

impl Log {
    /// Gives `event` the next place and returns it. The event is in memory; [`Log::sync`] makes it last.
    pub fn append(&mut self, event: &Event) -> Result<u64, AppendError> {
        self.entries.sound()?;
        let seq = self.tree.size();
        let (line, leaf) = entry::line(&event.canonical(seq)?);
        self.buffer.push_str(&line);
        self.tree.push(leaf);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(seq)
    }

    /// Hands all events taken so far to the system, so that a [`Syncer`] can make them last without the log.
    pub fn flush(&mut self) -> Result<(), WriteError> {
        if !self.buffer.is_empty() {
            self.entries.write_or(self.buffer.as_bytes(), || self.reserve.give_up())?;
            self.buffer.clear();
            self.reserve.keep();
        }
        self.entries.sound()
    }

    /// Makes all events taken so far last. Blocks.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.flush()?;
        self.entries.sync()
    }

    /// Signs how far the log has come, after making it last; the newest checkpoint again when nothing was added. Blocks.
    pub fn checkpoint(&mut self) -> Result<Checkpoint, CheckpointError> {
        self.sync()?;
        let (size, root) = (self.tree.size(), self.tree.root());
        if let Some(signed) = self.signed.as_ref().filter(|signed| signed.size == size) {
            return Ok(signed.clone());
        }
        let checkpoint = Checkpoint { origin: self.key.name().to_owned(), size, root };
        let note = self.note(&checkpoint)?;
        if self.recorded != Some(size) {
            self.record(&note)?;
            self.recorded = Some(size);
        }
        self.publish(&note)?;
        self.signed = Some(checkpoint.clone());
        Ok(checkpoint)
    }

    /// The signed note of `checkpoint`, whose tree is ours.
    pub(super) fn note(&self, checkpoint: &Checkpoint) -> Result<String, CheckpointError> {
        checkpoint.sign(self.signer.as_ref()).ok_or(CheckpointError::Key)
    }

    /// Adds `note` to the history.
    pub(super) fn record(&self, note: &str) -> Result<(), WriteError> {
        self.history.write_or(note.as_bytes(), || self.reserve.give_up())?;
        self.history.sync()
    }

    /// Puts `note` in the place of the newest checkpoint.
    pub(super) fn publish(&self, note: &str) -> Result<(), CheckpointError> {
        let path = super::newest(&self.dir);
        let replaced = match replace(&path, note.as_bytes()) {
            Err(why) if is_full(&why) && self.reserve.give_up() => replace(&path, note.as_bytes()),
            replaced => replaced,
        };
        replaced.map_err(|source| CheckpointError::File { path, source })
    }

    /// A handle that makes flushed events last, for another thread.
    pub fn syncer(&self) -> Syncer {
        Syncer(Arc::clone(&self.entries))
    }

    /// How many events the log holds: the place of the next one.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The newest checkpoint.
    pub fn signed(&self) -> Option<&Checkpoint> {
        self.signed.as_ref()
    }

    /// The key whose signatures count for this log.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// What opening found half-written and set aside. The server logs it.
    pub fn torn(&self) -> &[Torn] {
        &self.torn
    }

    /// Whether opening began this log. Where there was one before, its folder was emptied: the server, which knows, must not
    /// go on silently.
    pub fn is_new(&self) -> bool {
        self.found.new
    }

    /// How many entries beyond the newest checkpoint were there at opening. No signature vouched for them: after a crash they are
    /// what was written last, after an orderly stop there are none unless somebody added them. The server logs the number.
    pub fn unsigned_at_open(&self) -> u64 {
        self.found.unsigned
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // Not left to the closing of the file: a child that is just being started, or a syncer, may hold it a moment longer.
        let _ = self.lock.unlock();
    }
}

/// Puts `bytes` at `path` so that after a crash either the old or the new content is there.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.write_str(".new").map_err(io::Error::other)?;
    let new = PathBuf::from(name);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}
