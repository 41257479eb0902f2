//! Says whether a recording is whole and what vouches for it.
//!
//! Never changes a file: after a crash it says how far the recording is good, and the log takes that down.

use std::path::Path;

use super::cipher::Cipher;
use super::scan::{Broken, ReadError, Scan, Step, Why};
use super::{Head, Header, Stamp};

/// What a recording is, as far as what was given proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It ends as a sealed one does, with the head that the log has: nothing is missing and nothing was changed.
    Sealed,
    /// A crash ended it; it is what the log took down at recovery.
    Recovered,
    /// It ends as a sealed one does, but no head was given to hold it against.
    Ended,
    /// It has no end: it is being written, or a crash or a cut ended it, and no head was given to tell which.
    Unfinished,
}

/// A recording without a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it is.
    pub state: State,
    /// The header.
    pub header: Header,
    /// The last good frame.
    pub head: Head,
    /// How many bytes after it are no frame and prove nothing.
    pub ignored: u64,
    /// How many frames from the start agree with a head of the log; all, when sealed or recovered.
    pub proven: u64,
    /// Whether every frame was also opened with the key.
    pub opened: bool,
    /// When the last frame was recorded.
    pub last: Stamp,
}

/// What a crash left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The header.
    pub header: Header,
    /// The last good frame.
    pub head: Head,
    /// How many bytes follow it.
    pub ignored: u64,
    /// Whether the recording had been ended before the crash: then only the log's word was missing.
    pub ended: bool,
    /// When the last good frame was recorded.
    pub last: Stamp,
}

/// Holds the recording at `path` against the chain; with `key` against the encryption; with `expected`, the head in the log's
/// sealing or recovering event, against its end; with `committed`, earlier heads in the log, against its beginning.
pub fn verify(
    path: &Path,
    key: Option<&[u8; 32]>,
    expected: Option<&Head>,
    committed: &[Head],
) -> Result<Verified, ReadError> {
    let mut scan = Scan::open(path)?;
    let cipher = cipher(&scan, key)?;
    let mut known = Known::new(expected, committed);
    known.check(&scan.head())?;
    let state = loop {
        if expected.is_some_and(|expected| expected.frames == scan.head().frames) {
            known.all_met(&scan)?;
            break closed(&mut scan)?;
        }
        let before = scan.head();
        match scan.step()? {
            Step::Frame(frame) => {
                if !opens(&mut scan, cipher.as_ref(), frame.seq) {
                    return Err(Broken { frame: frame.seq, offset: before.bytes, why: Why::Key }.into());
                }
                known.check(&scan.head())?;
            }
            Step::End | Step::Torn => {
                known.all_met(&scan)?;
                break if scan.ended() { State::Ended } else { State::Unfinished };
            }
        }
    };
    let (header, head, ignored) = (scan.header().clone(), scan.head(), scan.following()?);
    Ok(Verified {
        state,
        header,
        head,
        ignored,
        proven: known.proven.map_or(0, |proven| proven.frames),
        opened: key.is_some(),
        last: scan.stamp(),
    })
}

/// Finds how far a recording that nobody writes any more is good. What follows is ignored, whatever it is.
///
/// The chain alone has no secret in it: who can write the file can add frames before this is called. Where the key is at hand,
/// [`recover_with_key`] takes none of theirs.
pub fn recover(path: &Path) -> Result<Recovered, ReadError> {
    recovered(path, None)
}

/// [`recover`], taking only frames that `key` opens.
pub fn recover_with_key(path: &Path, key: &[u8; 32]) -> Result<Recovered, ReadError> {
    recovered(path, Some(key))
}

fn recovered(path: &Path, key: Option<&[u8; 32]>) -> Result<Recovered, ReadError> {
    let mut scan = Scan::open(path)?;
    let length = scan.head().bytes + scan.following()?;
    let cipher = cipher(&scan, key)?;
    let (mut good, mut ended, mut last) = (scan.head(), false, scan.stamp());
    loop {
        match scan.step() {
            Ok(Step::Frame(frame)) if opens(&mut scan, cipher.as_ref(), frame.seq) => {
                (good, ended, last) = (scan.head(), scan.ended(), scan.stamp());
            }
            Ok(_) | Err(ReadError::Broken(_)) => break,
            Err(other) => return Err(other),
        }
    }
    let ignored = length.saturating_sub(good.bytes);
    Ok(Recovered { header: scan.header().clone(), head: good, ignored, ended, last })
}

fn cipher(scan: &Scan, key: Option<&[u8; 32]>) -> Result<Option<Cipher>, ReadError> {
    let made = key.map(|key| Cipher::new(key, scan.start())).transpose();
    made.map_err(|_| ReadError::Header("the key cannot be set up".to_owned()))
}

/// Whether the frame last stepped over opens; without a cipher it need not.
fn opens(scan: &mut Scan, cipher: Option<&Cipher>, seq: u64) -> bool {
    let Some(cipher) = cipher else { return true };
    let (head, sealed) = scan.sealed();
    cipher.open(seq, head, sealed).is_ok()
}

/// What may follow the head that the log calls the last.
fn closed(scan: &mut Scan) -> Result<State, ReadError> {
    if scan.ended() {
        // Recovery of a file that was ended in time also lands here; bytes after an end are never the crash's.
        scan.step()?;
        return Ok(State::Sealed);
    }
    let head = scan.head();
    match scan.step() {
        Ok(Step::Frame(_)) => {
            Err(Broken { frame: head.frames + 1, offset: head.bytes, why: Why::Added }.into())
        }
        Ok(Step::End | Step::Torn) | Err(ReadError::Broken(_)) => Ok(State::Recovered),
        Err(other) => Err(other),
    }
}

/// The heads the log knows, least first, and how far they have agreed.
struct Known {
    heads: Vec<Head>,
    met: usize,
    proven: Option<Head>,
}

impl Known {
    fn new(expected: Option<&Head>, committed: &[Head]) -> Self {
        let mut heads: Vec<Head> = committed.iter().chain(expected).copied().collect();
        heads.sort_by_key(|head| head.frames);
        Self { heads, met: 0, proven: None }
    }

    /// Compares `head` with what the log knows of that frame.
    fn check(&mut self, head: &Head) -> Result<(), ReadError> {
        while let Some(known) = self.heads.get(self.met).filter(|known| known.frames == head.frames) {
            if known != head {
                let (frame, offset) = self.proven.map_or((0, 0), |proven| (proven.frames + 1, proven.bytes));
                return Err(Broken { frame, offset, why: Why::Rewritten { to: head.frames } }.into());
            }
            self.met += 1;
            self.proven = Some(*head);
        }
        Ok(())
    }

    /// An error when the log knows frames after the one where `scan` stands.
    fn all_met(&self, scan: &Scan) -> Result<(), ReadError> {
        match self.heads.get(self.met..).and_then(<[Head]>::last) {
            None => Ok(()),
            Some(last) => Err(scan.broken(Why::Cut { frames: last.frames })),
        }
    }
}
