//! Lines of a file, one at a time, each with its place and a bound on its length.
//!
//! Never takes a line without its end for a line: the writer may be in the middle of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use crate::plain;

/// What stands at the current position.
pub(super) enum Line {
    /// A line with its end; its bytes, without the end, are in [`Lines::line`].
    Whole,
    /// The beginning of a line.
    Torn,
    /// No end within the bound: not a line of ours.
    Endless,
    /// The end of the file.
    End,
}

/// A file being read line by line.
pub(super) struct Lines {
    source: BufReader<File>,
    bound: usize,
    line: Vec<u8>,
    /// Where the line last read begins, and where the next one does.
    start: u64,
    next: u64,
}

impl Lines {
    /// Opens `path` at byte `from`; no line is longer than `bound` with its end.
    pub(super) fn open(path: &Path, from: u64, bound: usize) -> io::Result<Self> {
        let mut source = BufReader::with_capacity(128 * 1024, plain::open(path)?);
        source.seek(SeekFrom::Start(from))?;
        Ok(Self { source, bound, line: Vec::new(), start: from, next: from })
    }

    /// Reads the next line. After [`Line::End`] and [`Line::Torn`] it may be asked again: the file grows.
    pub(super) fn step(&mut self) -> io::Result<Line> {
        self.line.clear();
        self.start = self.next;
        let got = self.source.by_ref().take(self.bound as u64).read_until(b'\n', &mut self.line)?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
            self.next += got as u64;
            return Ok(Line::Whole);
        }
        self.source.seek(SeekFrom::Start(self.start))?;
        Ok(match got {
            0 => Line::End,
            got if got == self.bound => Line::Endless,
            _ => Line::Torn,
        })
    }

    /// The line last read.
    pub(super) fn line(&self) -> &[u8] {
        &self.line
    }

    /// Where the line last read, or not read, begins.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Where the line after the one last read begins.
    pub(super) fn next(&self) -> u64 {
        self.next
    }
}
