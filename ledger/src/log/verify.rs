//! Holds a whole log against itself and against every checkpoint that was signed for it.
//!
//! Never writes, and never takes the log's word for its length: what was signed last must be there. That an old copy of the whole
//! folder was put back can only be seen with a checkpoint that was kept elsewhere.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, Checkpoint, MAX_NOTE, NoteError, VerifierKey};
use super::entry::{self, Entry, EntryError, MAX_LINE};
use super::lines::{Line, Lines};
use crate::merkle::Tree;

/// A log without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// How many entries.
    pub entries: u64,
    /// How many of them, from the first, are under a signature.
    pub signed: u64,
    /// How many checkpoints were checked.
    pub checkpoints: u64,
    /// How many bytes of a line being written follow.
    pub torn: u64,
}

/// Which file is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `entries.jsonl`.
    Entries,
    /// `checkpoint`.
    Newest,
    /// `checkpoints`.
    History,
    /// The checkpoint that was given from outside.
    Outside,
}

/// The first place where the log is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}, byte {offset}{}: {why}", place.name(), seq.map(|seq| format!(", entry {seq}")).unwrap_or_default())]
pub struct Broken {
    /// In which file.
    pub place: Place,
    /// The entry, counted from 0, if one can be named.
    pub seq: Option<u64>,
    /// Where the line or note begins in the file.
    pub offset: u64,
    /// What is wrong.
    pub why: Why,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// An entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A checkpoint.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A checkpoint is smaller than the one before it, or the same.
    #[error(
        "the checkpoint of {0} entries stands after a larger one or after itself: the checkpoints were reordered or repeated"
    )]
    Order(u64),
    /// The entries between two checkpoints are not those that were signed.
    #[error(
        "entries {from} to {to} are not those that were signed: one of them was rewritten together with its hash"
    )]
    Root {
        /// The first entry after the last checkpoint that agrees.
        from: u64,
        /// The last entry under the checkpoint that does not.
        to: u64,
    },
    /// Fewer entries than were signed.
    #[error("the log ends here, {0} entries were signed: its end was cut off or an old copy was put back")]
    Cut(u64),
    /// The newest checkpoint stands alone.
    #[error("the newest checkpoint is not in the history: the history was cut or its end was changed")]
    HistoryCut,
    /// No checkpoint at all.
    #[error("there is no checkpoint: nothing says what this log must hold")]
    NoCheckpoint,
}

/// Why the log does not verify.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The system does not let us.
    #[error("{}: cannot read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The first broken position.
    #[error(transparent)]
    Broken(#[from] Broken),
}

impl Place {
    /// The file's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries.jsonl",
            Self::Newest => "checkpoint",
            Self::History => "checkpoints",
            Self::Outside => "the checkpoint given",
        }
    }
}

/// Reads the log in `dir` once, in flat memory, and hands every good entry to `each`. `key` is whose signatures count; `outside`
/// are checkpoints that were kept elsewhere.
pub fn verify(
    dir: &Path,
    key: &VerifierKey,
    outside: &[Checkpoint],
    mut each: impl FnMut(&Entry),
) -> Result<Counts, VerifyError> {
    // Checkpoints first: of a log that is being written, every entry under a checkpoint is there before the checkpoint is.
    let mut marks = Marks::open(dir, key, outside)?;
    let path = super::entries(dir);
    let io = |source| VerifyError::Io { path: path.clone(), source };
    let mut lines = Lines::open(&path, 0, MAX_LINE).map_err(io)?;
    let mut tree = Tree::new();
    loop {
        marks.check(&tree, lines.next())?;
        let line = lines.step().map_err(io)?;
        let start = lines.start();
        let broken = |why: Why| Broken { place: Place::Entries, seq: Some(tree.size()), offset: start, why };
        let found = match line {
            Line::Whole => entry::strict(lines.line(), tree.size(), start),
            Line::Endless => Err(EntryError::Form),
            Line::End | Line::Torn => {
                if let Some(size) = marks.unmet(tree.size()) {
                    return Err(broken(Why::Cut(size)).into());
                }
                let length = std::fs::metadata(&path).map_err(io)?.len();
                let torn = if matches!(line, Line::Torn) { length.saturating_sub(start) } else { 0 };
                let (signed, checkpoints) = (marks.agreed, marks.checked);
                return Ok(Counts { entries: tree.size(), signed, checkpoints, torn });
            }
        };
        let entry = found.map_err(|why| broken(why.into()))?;
        tree.push(entry.leaf);
        each(&entry);
    }
}

/// The sizes and roots the log must pass through.
struct Marks {
    history: History,
    newest: u64,
    /// The next one of the history.
    next: Option<Checkpoint>,
    /// The newest and those from outside, largest first.
    others: Vec<Checkpoint>,
    /// The size of the last checkpoint that agreed.
    agreed: u64,
    /// Where the entry after it begins.
    offset: u64,
    checked: u64,
}

impl Marks {
    fn open(dir: &Path, key: &VerifierKey, outside: &[Checkpoint]) -> Result<Self, VerifyError> {
        let path = super::newest(dir);
        let broken = |why: Why| Broken { place: Place::Newest, seq: None, offset: 0, why };
        let newest = match checkpoint::read(&path) {
            Ok(note) => Checkpoint::open(&note, key).map_err(|why| broken(why.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(broken(Why::NoCheckpoint).into());
            }
            Err(source) => return Err(VerifyError::Io { path, source }),
        };
        if let Some(other) = outside.iter().find(|checkpoint| checkpoint.origin != key.name()) {
            let why = NoteError::Origin(other.origin.clone()).into();
            return Err(Broken { place: Place::Outside, seq: None, offset: 0, why }.into());
        }
        let newest_size = newest.size;
        let mut others: Vec<Checkpoint> = outside.iter().cloned().chain([newest]).collect();
        others.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size));
        let history = History::open(dir, key)?;
        let mut marks =
            Self { history, newest: newest_size, next: None, others, agreed: 0, offset: 0, checked: 0 };
        marks.advance()?;
        Ok(marks)
    }

    /// Moves on in the history, and returns where it stood. A checkpoint is in the history before it is the newest, so a history
    /// that ends before the newest one was not cut by a crash.
    fn advance(&mut self) -> Result<Option<Checkpoint>, VerifyError> {
        let next = self.history.step()?;
        if next.is_none() && self.history.last.as_ref().is_none_or(|last| self.newest > last.size) {
            let (place, offset) = (Place::History, self.history.offset);
            return Err(Broken { place, seq: None, offset, why: Why::HistoryCut }.into());
        }
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Holds `tree` against every checkpoint of its size; the next entry begins at `offset`.
    fn check(&mut self, tree: &Tree, offset: u64) -> Result<(), VerifyError> {
        while let Some(mark) = self.take(tree.size())? {
            if mark.root != tree.root() {
                let why = Why::Root { from: self.agreed, to: tree.size().saturating_sub(1) };
                let (seq, offset) = (Some(self.agreed), self.offset);
                return Err(Broken { place: Place::Entries, seq, offset, why }.into());
            }
            (self.agreed, self.offset) = (tree.size(), offset);
            self.checked += 1;
        }
        Ok(())
    }

    /// The next checkpoint of `size`, if there is one.
    fn take(&mut self, size: u64) -> Result<Option<Checkpoint>, VerifyError> {
        if self.next.as_ref().is_some_and(|next| next.size == size) {
            return self.advance();
        }
        Ok(self.others.pop_if(|other| other.size == size))
    }

    /// The size of a checkpoint beyond `size`, the largest that is known without reading on.
    fn unmet(&self, size: u64) -> Option<u64> {
        let sizes = self.next.iter().chain(&self.others).map(|checkpoint| checkpoint.size);
        sizes.max().filter(|largest| *largest > size)
    }
}

/// The notes of `checkpoints`, one after another, up to the length it had when opened.
struct History {
    path: PathBuf,
    lines: Lines,
    length: u64,
    key: VerifierKey,
    /// The note last read.
    last: Option<Checkpoint>,
    /// Where the note last read, or not read, begins.
    offset: u64,
}

impl History {
    fn open(dir: &Path, key: &VerifierKey) -> Result<Self, VerifyError> {
        let path = super::history(dir);
        let opened = File::open(&path).and_then(|file| file.metadata()).and_then(|meta| {
            let lines = Lines::open(&path, 0, MAX_NOTE)?;
            Ok((lines, meta.len()))
        });
        match opened {
            Ok((lines, length)) => Ok(Self { path, lines, length, key: key.clone(), last: None, offset: 0 }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Broken { place: Place::History, seq: None, offset: 0, why: Why::NoCheckpoint }.into())
            }
            Err(source) => Err(VerifyError::Io { path, source }),
        }
    }

    fn step(&mut self) -> Result<Option<Checkpoint>, VerifyError> {
        let mut note = String::new();
        let mut start = None;
        loop {
            let line =
                self.lines.step().map_err(|source| VerifyError::Io { path: self.path.clone(), source })?;
            let offset = *start.get_or_insert(self.lines.start());
            self.offset = offset;
            let broken = |why: Why| Broken { place: Place::History, seq: None, offset, why };
            if offset >= self.length || matches!(line, Line::End | Line::Torn) {
                // A note that is being written, or that a crash cut short: it was never handed out.
                return Ok(None);
            }
            let text = str::from_utf8(self.lines.line()).map_err(|_| broken(NoteError::Form.into()))?;
            if matches!(line, Line::Endless) || note.len() + text.len() > MAX_NOTE {
                return Err(broken(NoteError::Form.into()).into());
            }
            note.push_str(text);
            note.push('\n');
            if text.starts_with("\u{2014} ") {
                let checkpoint = Checkpoint::open(&note, &self.key).map_err(|why| broken(why.into()))?;
                let before = self.last.as_ref();
                if before.is_some_and(|last| checkpoint.size < last.size || checkpoint == *last) {
                    return Err(broken(Why::Order(checkpoint.size)).into());
                }
                self.last = Some(checkpoint.clone());
                return Ok(Some(checkpoint));
            }
        }
    }
}
