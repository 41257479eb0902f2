//! Reads the log: all of it or what a filter lets through, from the start, or the end and then what is added.
//!
//! Never shows an entry that disagrees with its hash, and holds no more than one (and, of a tail, those asked for).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::entry::{self, Entry, EntryError, MAX_LINE};
use super::lines::{Line, Lines};
use crate::plain;

/// Which entries are wanted; what is `None` wants all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Whose type begins with this; a `*` at its end is allowed for.
    pub kind: Option<String>,
    /// Of this operator.
    pub operator: Option<String>,
    /// Of this target.
    pub target: Option<String>,
    /// Of this session.
    pub session: Option<String>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// Why the log cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system does not let us.
    #[error("{}: cannot read the audit log: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An entry is broken.
    #[error("entry {seq} of the audit log, at byte {offset}: {why}")]
    Broken {
        /// Its place.
        seq: u64,
        /// Where its line begins.
        offset: u64,
        /// What is wrong with it.
        why: EntryError,
    },
}

impl Filter {
    /// Whether `entry` is wanted.
    pub fn wants(&self, entry: &Entry) -> bool {
        let event = &entry.event;
        let same = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        let kind = self.kind.as_deref().map(|kind| kind.strip_suffix('*').unwrap_or(kind));
        kind.is_none_or(|kind| event.kind.starts_with(kind))
            && same(&self.operator, &event.operator)
            && same(&self.target, &event.target)
            && same(&self.session, &event.session)
            && self.since.is_none_or(|since| event.time >= since)
            && self.until.is_none_or(|until| event.time < until)
    }
}

/// An iterator over wanted entries. It ends where the log ends now; asked again later, it goes on with what was added.
pub struct Reader {
    path: PathBuf,
    lines: Lines,
    filter: Filter,
    seq: u64,
    broken: bool,
}

impl Reader {
    /// Reads the log in `dir` from its first entry.
    pub fn open(dir: &Path, filter: Filter) -> Result<Self, LogError> {
        Self::at(dir, filter, 0, 0)
    }

    /// Reads on from byte `offset`, where entry `seq` begins.
    fn at(dir: &Path, filter: Filter, offset: u64, seq: u64) -> Result<Self, LogError> {
        let path = super::entries(dir);
        match Lines::open(&path, offset, MAX_LINE) {
            Ok(lines) => Ok(Self { path, lines, filter, seq, broken: false }),
            Err(source) => Err(LogError::Io { path, source }),
        }
    }

    fn read(&mut self) -> Result<Option<Entry>, LogError> {
        let broken = |why, seq, offset| LogError::Broken { seq, offset, why };
        loop {
            let line =
                self.lines.step().map_err(|source| LogError::Io { path: self.path.clone(), source })?;
            let start = self.lines.start();
            match line {
                Line::End | Line::Torn => return Ok(None),
                Line::Endless => return Err(broken(EntryError::Form, self.seq, start)),
                Line::Whole => {}
            }
            let entry = entry::parse(self.lines.line(), Some(self.seq), start);
            let entry = entry.map_err(|why| broken(why, self.seq, start))?;
            self.seq += 1;
            if self.filter.wants(&entry) {
                return Ok(Some(entry));
            }
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let read = self.read().transpose();
        self.broken = matches!(read, Some(Err(_)));
        read
    }
}

/// The last `count` wanted entries, oldest first, and a reader of what is added after them. Reads backwards, so that the end of
/// a long log is found at once.
pub fn tail(dir: &Path, filter: Filter, count: usize) -> Result<(Vec<Entry>, Reader), LogError> {
    let path = super::entries(dir);
    let io = |source| LogError::Io { path: path.clone(), source };
    let mut back = Backwards::open(&path).map_err(io)?;
    let mut found = VecDeque::new();
    let mut next = (0, 0);
    let mut newest = true;
    while newest || found.len() < count {
        let Some((line, offset)) = back.step().map_err(io)? else { break };
        let entry = entry::parse(&line, None, offset);
        // Entries are not counted from here; one that cannot be read has no known place but its byte.
        let entry = entry.map_err(|why| LogError::Broken { seq: 0, offset, why })?;
        if newest {
            next = (entry.end(), entry.seq + 1);
            newest = false;
        }
        if found.len() < count && filter.wants(&entry) {
            found.push_front(entry);
        }
    }
    Ok((found.into(), Reader::at(dir, filter, next.0, next.1)?))
}

/// Whole lines of a file from the last to the first.
struct Backwards {
    file: File,
    /// Where `held` begins in the file.
    at: u64,
    /// What was read and not given out; ends with the end of a line.
    held: Vec<u8>,
}

impl Backwards {
    const BLOCK: u64 = 128 * 1024;

    fn open(path: &Path) -> io::Result<Self> {
        let file = plain::open(path)?;
        let at = file.metadata()?.len();
        let mut back = Self { file, at, held: Vec::new() };
        // What stands after the last line end is a line being written.
        while !back.held.contains(&b'\n') && back.at > 0 && back.held.len() <= MAX_LINE {
            back.more()?;
        }
        let end = back.held.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        back.held.truncate(end);
        Ok(back)
    }

    /// Holds one more block before what is held.
    fn more(&mut self) -> io::Result<()> {
        let from = self.at.saturating_sub(Self::BLOCK);
        let mut block = Vec::new();
        self.file.seek(SeekFrom::Start(from))?;
        (&self.file).take(self.at - from).read_to_end(&mut block)?;
        block.append(&mut self.held);
        (self.held, self.at) = (block, from);
        Ok(())
    }

    /// The line before the one last given, without its end, and where it begins.
    fn step(&mut self) -> io::Result<Option<(Vec<u8>, u64)>> {
        loop {
            let Some((_, before)) = self.held.split_last() else {
                if self.at == 0 {
                    return Ok(None);
                }
                self.more()?;
                continue;
            };
            let start = before.iter().rposition(|b| *b == b'\n').map(|end| end + 1);
            let start = match start {
                Some(start) => start,
                None if self.at == 0 || self.held.len() > MAX_LINE => 0,
                None => {
                    self.more()?;
                    continue;
                }
            };
            let mut line = self.held.split_off(start);
            line.pop();
            return Ok(Some((line, self.at + start as u64)));
        }
    }
}
