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
use super::reserve::Reserve;
use super::torn::{Torn, set_aside};
use super::writer::{CheckpointError, Found, Log, replace};
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
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(at(dir.to_owned()))?;
        let files = Files::take(dir)?;
        // What is reread is on disk, whoever wrote it: the tree never vouches for what only memory holds.
        files.entries.sync_all().map_err(at(super::entries(dir)))?;
        let named = own_key(dir, &key)?;
        let (recorded, history_tail) = last_of_history(dir, &files.history, &key)?;
        let newest = newest(dir, &key)?;
        let (newest_at, recorded_at) = (newest.as_ref().map(|n| n.size), recorded.as_ref().map(|r| r.size));
        let mut known: Vec<Checkpoint> = recorded.into_iter().chain(newest).collect();
        known.sort_by_key(|checkpoint| checkpoint.size);
        let read = reread(&super::entries(dir), &known)?;
        let signed = known.pop();
        let unsigned = read.tree.size() - signed.as_ref().map_or(0, |signed| signed.size);
        if signed.is_none() && (unsigned > 0 || read.tail.is_some()) {
            return Err(OpenError::NoCheckpoint(dir.to_owned()));
        }

        // Up to here nothing was changed.
        let torn = files.set_aside(dir, read.tail, history_tail)?;
        if !named {
            let path = super::public(dir);
            replace(&path, format!("{key}\n").as_bytes()).map_err(at(path))?;
        }
        // The folder's own name too, which may be new.
        let above = dir.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for folder in [dir, above] {
            sync_dir(folder).map_err(at(folder.to_owned()))?;
        }
        let mut log = Self {
            dir: dir.to_owned(),
            signer,
            key,
            entries: Arc::new(Durable::new(files.entries, super::entries(dir))),
            history: Durable::new(files.history, super::history(dir)),
            tree: read.tree,
            buffer: String::new(),
            found: Found { new: signed.is_none(), unsigned },
            signed,
            recorded: None,
            torn,
            reserve: Reserve::take(dir),
            lock: files.lock,
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

fn at(path: PathBuf) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io { path, source }
}

/// The files of a log, taken for ourselves.
struct Files {
    entries: File,
    history: File,
    lock: File,
}

impl Files {
    fn take(dir: &Path) -> Result<Self, OpenError> {
        let (entries, history) = (super::entries(dir), super::history(dir));
        let file = appendable(&entries).map_err(at(entries.clone()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Busy(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(OpenError::Io { path: entries, source }),
        }
        let lock = file.try_clone().map_err(at(entries))?;
        Ok(Self { entries: file, history: appendable(&history).map_err(at(history))?, lock })
    }

    /// Sets the tails aside that begin at the offsets given.
    fn set_aside(
        &self,
        dir: &Path,
        entries: Option<u64>,
        history: Option<u64>,
    ) -> Result<Vec<Torn>, OpenError> {
        let tails =
            [(super::entries(dir), &self.entries, entries), (super::history(dir), &self.history, history)];
        let torn = tails.into_iter().filter_map(|(path, file, tail)| {
            let torn = set_aside(dir, &path, file, tail?);
            Some(torn.map_err(at(path)))
        });
        torn.collect()
    }
}

fn appendable(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

/// Holds the folder's `public` against `key`; false when there is none.
fn own_key(dir: &Path, key: &VerifierKey) -> Result<bool, OpenError> {
    let path = super::public(dir);
    match checkpoint::read(&path) {
        Ok(text) if text.parse().as_ref() == Ok(key) => Ok(true),
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

/// The last whole checkpoint of the history, and where a half-written one after it begins.
fn last_of_history(
    dir: &Path,
    mut history: &File,
    key: &VerifierKey,
) -> Result<(Option<Checkpoint>, Option<u64>), OpenError> {
    let path = super::history(dir);
    let failed = |source| OpenError::Io { path: path.clone(), source };
    let length = history.metadata().map_err(failed)?.len();
    let from = length.saturating_sub(2 * MAX_NOTE as u64);
    let mut end = Vec::new();
    history.seek(SeekFrom::Start(from)).map_err(failed)?;
    history.take(2 * MAX_NOTE as u64).read_to_end(&mut end).map_err(failed)?;
    let whole = checkpoint::whole(&end);
    if end.len() - whole > MAX_NOTE {
        // Longer than any note: no crash wrote this, and cutting it would take evidence apart.
        return Err(OpenError::Note { path, why: NoteError::Form });
    }
    let tail = (whole < end.len()).then_some(from + whole as u64);
    match checkpoint::last(end.get(..whole).unwrap_or_default()) {
        None if whole == 0 => Ok((None, tail)),
        None => Err(OpenError::Note { path, why: NoteError::Form }),
        Some(note) => match Checkpoint::open(note, key) {
            Ok(checkpoint) => Ok((Some(checkpoint), tail)),
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

/// Reads every entry and holds the tree against the checkpoints that are `known`, the largest last.
fn reread(path: &Path, known: &[Checkpoint]) -> Result<Reread, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let mut lines = Lines::open(path, 0, MAX_LINE).map_err(io)?;
    let mut tree = Tree::new();
    let signed_size = known.last().map_or(0, |signed| signed.size);
    loop {
        let different = |known: &&Checkpoint| known.size == tree.size() && known.root != tree.root();
        if let Some(signed) = known.iter().find(different) {
            return Err(OpenError::Different { signed: signed.size });
        }
        let found = match lines.step().map_err(io)? {
            Line::Whole => entry::leaf(lines.line(), tree.size()),
            Line::Endless => Err(EntryError::Form),
            Line::Torn => Err(EntryError::Torn),
            Line::End if tree.size() < signed_size => {
                return Err(OpenError::Shorter { found: tree.size(), signed: signed_size });
            }
            Line::End => return Ok(Reread { tree, tail: None }),
        };
        match found {
            Ok(leaf) => tree.push(leaf),
            Err(EntryError::Torn) if tree.size() < signed_size => {
                return Err(OpenError::Shorter { found: tree.size(), signed: signed_size });
            }
            Err(why) if tree.size() < signed_size => {
                return Err(OpenError::Damaged { seq: tree.size(), offset: lines.start(), why });
            }
            Err(_) => return Ok(Reread { tree, tail: Some(lines.start()) }),
        }
    }
}
