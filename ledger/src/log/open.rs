//! Opens the log for writing: rereads all of it and holds it against what was signed.
//!
//! Never opens a log that is smaller than or different from its newest checkpoint, and repairs nothing that one vouches for.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint::{Checkpoint, MAX_NOTE, NoteError, Sign, VerifierKey};
use super::entry::{self, EntryError, MAX_LINE};
use super::lines::{Line, Lines};
use super::torn::{Torn, set_aside};
use super::writer::{CheckpointError, Log, replace};
use super::{KeyError, checkpoint};
use crate::durable::{Durable, sync_dir};
use crate::merkle::Tree;

/// Why the log was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system does not let us.
    #[error("{}: cannot open the audit log: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The checkpoint of a new log, or one that a crash kept from its place, cannot be written.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Someone else has it open.
    #[error("{}: the audit log is open in another process: stop that one first", .0.display())]
    Busy(PathBuf),
    /// The signer's name cannot be used.
    #[error("the audit log's key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// The folder says that another key signs this log.
    #[error(
        "{}: the audit log is signed by another key than the one in the keys folder: put back the keys that belong to this log",
        .0.display()
    )]
    OtherKey(PathBuf),
    /// The newest checkpoint does not stand.
    #[error("{}: {why}; restore the file from a backup, the log is not continued without it", path.display())]
    Note {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: NoteError,
    },
    /// There are entries, and nothing says how many were signed.
    #[error(
        "{}: the checkpoints are missing although the log has entries: restore `checkpoint` and `checkpoints` from a backup",
        .0.display()
    )]
    NoCheckpoint(PathBuf),
    /// Fewer entries than were signed.
    #[error(
        "the audit log has {found} entries, {signed} were signed: its end was cut off or an old copy was put back; restore \
         entries.jsonl from a backup that has them, or move the log folder away to begin a new log"
    )]
    Shorter {
        /// How many there are.
        found: u64,
        /// How many were signed.
        signed: u64,
    },
    /// Other entries than were signed.
    #[error(
        "the first {signed} entries of the audit log are not those that were signed: run bartizan-verify for the position, \
         keep the folder as evidence, and restore entries.jsonl from a backup"
    )]
    Different {
        /// How many were signed.
        signed: u64,
    },
    /// A signed entry is damaged.
    #[error(
        "entry {seq} of the audit log, at byte {offset}: {why}; keep the folder as evidence, and restore entries.jsonl from a \
         backup"
    )]
    Damaged {
        /// Its place.
        seq: u64,
        /// Where its line begins.
        offset: u64,
        /// What is wrong with it.
        why: EntryError,
    },
}

impl Log {
    /// Opens the log in `dir`, or begins one where there is none. Rereads every entry. What a crash left half-written beyond
    /// the newest checkpoint is set aside; [`Log::torn`] tells.
    pub fn open(dir: &Path, signer: Box<dyn Sign>) -> Result<Self, OpenError> {
        let key = VerifierKey::of(signer.as_ref())?;
        let at = |path: PathBuf| move |source| OpenError::Io { path, source };
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir.to_owned()))?;
        let (entries_path, history_path) = (super::entries(dir), super::history(dir));
        let entries = appendable(&entries_path).map_err(at(entries_path.clone()))?;
        match entries.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Busy(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { path: entries_path, source }),
        }
        let lock = entries.try_clone().map_err(at(entries_path.clone()))?;
        let history = appendable(&history_path).map_err(at(history_path.clone()))?;
        let named = own_key(dir, &key)?;

        let mut torn = Vec::new();
        let recorded = last_of_history(dir, &history, &key, &mut torn)?;
        let newest = newest(dir, &key)?;
        let (newest_at, recorded_at) = (newest.as_ref().map(|n| n.size), recorded.as_ref().map(|r| r.size));
        let signed = recorded.into_iter().chain(newest).max_by_key(|checkpoint| checkpoint.size);
        let read = reread(&entries_path, signed.as_ref()).map_err(|e| e.at(&entries_path))?;
        if signed.is_none() && (read.tree.size() > 0 || read.tail.is_some()) {
            return Err(OpenError::NoCheckpoint(dir.to_owned()));
        }
        if let Some(offset) = read.tail {
            let aside = set_aside(dir, &entries_path, &entries, offset);
            torn.push(aside.map_err(at(entries_path.clone()))?);
        }
        if !named {
            let path = super::public(dir);
            replace(&path, format!("{key}\n").as_bytes()).map_err(at(path))?;
        }
        sync_dir(dir).map_err(at(dir.to_owned()))?;
        let mut log = Self {
            dir: dir.to_owned(),
            signer,
            key,
            entries: Arc::new(Durable::new(entries, entries_path)),
            history: Durable::new(history, history_path),
            tree: read.tree,
            buffer: String::new(),
            signed,
            torn,
            _lock: lock,
        };
        match &log.signed {
            // A log is under a checkpoint from its first moment: entries without one have lost it.
            None => drop(log.checkpoint()?),
            Some(signed) if newest_at < recorded_at => log.publish(&log.note(signed)?)?,
            // Not the work of a crash, but the signature is ours and its tree was just recomputed.
            Some(signed) if newest_at > recorded_at => {
                log.record(&log.note(signed)?).map_err(CheckpointError::from)?
            }
            Some(_) => {}
        }
        Ok(log)
    }
}

fn appendable(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// Holds the folder's `public` against `key`; false when there is none.
fn own_key(dir: &Path, key: &VerifierKey) -> Result<bool, OpenError> {
    let path = super::public(dir);
    match std::fs::read(&path) {
        Ok(text) if str::from_utf8(&text).ok().and_then(|text| text.parse().ok()).as_ref() == Some(key) => {
            Ok(true)
        }
        Ok(_) => Err(OpenError::OtherKey(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// The newest checkpoint, if there is one.
fn newest(dir: &Path, key: &VerifierKey) -> Result<Option<Checkpoint>, OpenError> {
    let path = super::newest(dir);
    match checkpoint::read(&path) {
        Ok(note) => match Checkpoint::open(&note, key) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(why) => Err(OpenError::Note { path, why }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(OpenError::Io { path, source }),
    }
}

/// The last whole checkpoint of the history; a half-written one after it is set aside.
fn last_of_history(
    dir: &Path,
    mut history: &File,
    key: &VerifierKey,
    torn: &mut Vec<Torn>,
) -> Result<Option<Checkpoint>, OpenError> {
    let path = super::history(dir);
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let length = history.metadata().map_err(failed)?.len();
    let from = length.saturating_sub(2 * MAX_NOTE as u64);
    let mut end = Vec::new();
    history.seek(SeekFrom::Start(from)).map_err(failed)?;
    history.read_to_end(&mut end).map_err(failed)?;
    let whole = checkpoint::whole(&end);
    if whole < end.len() {
        torn.push(set_aside(dir, &path, history, from + whole as u64).map_err(failed)?);
    }
    match checkpoint::last(end.get(..whole).unwrap_or_default()) {
        None if whole == 0 => Ok(None),
        None => Err(OpenError::Note { path, why: NoteError::Form }),
        Some(note) => match Checkpoint::open(note, key) {
            Ok(checkpoint) => Ok(Some(checkpoint)),
            Err(why) => Err(OpenError::Note { path, why }),
        },
    }
}

/// What rereading found.
struct Reread {
    tree: Tree,
    /// Where good entries end, if anything follows.
    tail: Option<u64>,
}

/// Why rereading stopped.
enum RereadError {
    Io(io::Error),
    Refused(OpenError),
}

impl RereadError {
    fn at(self, path: &Path) -> OpenError {
        match self {
            Self::Io(source) => OpenError::Io { path: path.to_owned(), source },
            Self::Refused(error) => error,
        }
    }
}

impl From<io::Error> for RereadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads every entry and holds the tree against `signed`.
fn reread(path: &Path, signed: Option<&Checkpoint>) -> Result<Reread, RereadError> {
    let refuse = |error| Err(RereadError::Refused(error));
    let mut lines = Lines::open(path, 0, MAX_LINE)?;
    let mut tree = Tree::new();
    let signed_size = signed.map_or(0, |signed| signed.size);
    loop {
        if let Some(signed) = signed.filter(|signed| signed.size == tree.size() && signed.root != tree.root())
        {
            return refuse(OpenError::Different { signed: signed.size });
        }
        let found = match lines.step()? {
            Line::Whole => entry::leaf(lines.line(), tree.size()),
            Line::Endless => Err(EntryError::Form),
            Line::Torn => Err(EntryError::Torn),
            Line::End if tree.size() < signed_size => {
                return refuse(OpenError::Shorter { found: tree.size(), signed: signed_size });
            }
            Line::End => return Ok(Reread { tree, tail: None }),
        };
        match found {
            Ok(leaf) => tree.push(leaf),
            Err(EntryError::Torn) if tree.size() < signed_size => {
                return refuse(OpenError::Shorter { found: tree.size(), signed: signed_size });
            }
            Err(why) if tree.size() < signed_size => {
                return refuse(OpenError::Damaged { seq: tree.size(), offset: lines.start(), why });
            }
            Err(_) => return Ok(Reread { tree, tail: Some(lines.start()) }),
        }
    }
}
