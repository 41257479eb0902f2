//! Walks a recording frame by frame and holds each against the chain; needs no key.
//!
//! Never believes a length before its bound, and never holds more than one frame.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::header::Header;
use super::layout::{
    FrameHead, HEAD, LAST, LINK, MAGIC, MAX_HEADER, MAX_PAYLOAD, PACKED, PREAMBLE, Stream, TAG, VERSION,
};
use super::{Head, Stamp};
use crate::{Digest, plain};

/// The first place where a recording is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("frame {frame}, byte {offset}: {why}")]
pub struct Broken {
    /// The number of the frame, counted from 1; 0 is the header.
    pub frame: u64,
    /// Where the frame begins in the file.
    pub offset: u64,
    /// What is wrong with it.
    pub why: Why,
}

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The header's text and its digest disagree.
    #[error("the header was changed: its text and its digest disagree")]
    Header,
    /// The fixed head of the frame contradicts itself.
    #[error("the head of the frame was changed")]
    Head,
    /// Another frame stands here.
    #[error("frame number {found} stands here: frames were cut out, inserted, moved or repeated")]
    Sequence {
        /// The number it carries.
        found: u64,
    },
    /// The frame and the running digest disagree.
    #[error("the frame does not follow from what stands before it: it was changed or comes from elsewhere")]
    Chain,
    /// The chain holds, the key does not open it: written by someone without the key.
    #[error("the key does not open the frame: it was written without the recording's key")]
    Key,
    /// The payload does not unpack.
    #[error("the payload does not unpack")]
    Packing,
    /// A code this version does not know.
    #[error("the stream or flag code {0} is unknown")]
    Code(u8),
    /// Bytes follow the last frame of a sealed recording.
    #[error("{0} bytes follow the end of the recording: they were added later")]
    Trailing(u64),
    /// A good frame follows where the log says that the recording ended.
    #[error("a frame follows where the log says the recording ended: it was added later")]
    Added,
    /// The log knows more frames than the file has.
    #[error("the file ends here, the log knows {frames} frames: the end was cut off")]
    Cut {
        /// How many frames the log knows.
        frames: u64,
    },
    /// The log knows another digest at a later frame.
    #[error(
        "one of the frames from here to {to} is not the one the log knows: it was rewritten with its chain"
    )]
    Rewritten {
        /// The first frame where the log disagrees.
        to: u64,
    },
}

/// Why a recording cannot be read on, or at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The system does not let us.
    #[error("{}: cannot read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No byte in it.
    #[error("the file is empty: nothing was recorded, or it was emptied")]
    Empty,
    /// Its first bytes are not those of a recording.
    #[error("the file is not a recording: its first 8 bytes are not the mark of one")]
    Foreign,
    /// It ends before its header does.
    #[error(
        "the header is half written: the file ends at byte {length} inside it, before anything was recorded"
    )]
    HalfHeader {
        /// The file's length.
        length: u64,
    },
    /// Written by a newer Bartizan.
    #[error(
        "the recording has format version {found}, this program reads {VERSION}: use a newer bartizan-verify"
    )]
    Version {
        /// The version it carries, at byte 8.
        found: u16,
    },
    /// The header cannot be understood although its digest agrees.
    #[error("the header cannot be read: {0}")]
    Header(String),
    /// The first broken position.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// What stands at the current position.
pub(super) enum Step {
    /// A whole frame that follows from what stands before; its sealed bytes are in the buffer.
    Frame(FrameHead),
    /// Nothing: the file ends here.
    End,
    /// The beginning of a frame: a crash cut it, or it is being written.
    Torn,
}

/// A recording being walked.
pub(super) struct Scan {
    path: PathBuf,
    source: BufReader<File>,
    header: Header,
    start: Digest,
    head: Head,
    ended: bool,
    /// Whether the running digest is not known here, so that the chain is not held against it.
    unchained: bool,
    head_bytes: [u8; HEAD],
    sealed: Vec<u8>,
    stamp: Stamp,
}

impl Scan {
    /// Opens the recording and holds its header against its digest.
    pub(super) fn open(path: &Path) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: path.to_owned(), source };
        let file = plain::open(path).map_err(io)?;
        let mut source = BufReader::with_capacity(128 * 1024, file);
        let mut front = Vec::with_capacity(PREAMBLE);
        fill(&mut source, &mut front, PREAMBLE).map_err(io)?;
        let text = header_length(&front)?;
        fill(&mut source, &mut front, PREAMBLE + text).map_err(io)?;
        let mut stored = Vec::with_capacity(32);
        fill(&mut source, &mut stored, 32).map_err(io)?;
        let Ok(stored) = <[u8; 32]>::try_from(stored.as_slice()) else {
            return Err(ReadError::HalfHeader { length: (front.len() + stored.len()) as u64 });
        };
        let start = Digest::of(&[&front]);
        if start != Digest::new(stored) {
            return Err(Broken { frame: 0, offset: 0, why: Why::Header }.into());
        }
        let header = Header::decode(front.get(PREAMBLE..).unwrap_or_default()).map_err(ReadError::Header)?;
        let head = Head { frames: 0, bytes: (PREAMBLE + text + 32) as u64, digest: start };
        let (head_bytes, sealed, stamp) = ([0; HEAD], Vec::new(), Stamp::default());
        Ok(Self {
            path: path.to_owned(),
            source,
            header,
            start,
            head,
            ended: false,
            unchained: false,
            head_bytes,
            sealed,
            stamp,
        })
    }

    /// Goes on behind `head`, forwards or back. A head that is not of this file is noticed at the next frame.
    pub(super) fn go_to(&mut self, head: &Head) -> Result<(), ReadError> {
        self.source.seek(SeekFrom::Start(head.bytes)).map_err(|e| self.io(e))?;
        (self.head, self.ended, self.unchained) = (*head, false, false);
        Ok(())
    }

    /// Goes on at the frame `seq` at `offset`, without the chain from here on.
    pub(super) fn go_unchained(&mut self, seq: u64, offset: u64) -> Result<(), ReadError> {
        let before = Head { frames: seq.saturating_sub(1), bytes: offset, digest: self.start };
        self.go_to(&before)?;
        self.unchained = true;
        Ok(())
    }

    /// Whether the chain vouches for where this stands.
    pub(super) fn chained(&self) -> bool {
        !self.unchained
    }

    /// The last `length` bytes of the file; `None` when it is shorter.
    pub(super) fn tail(&self, length: usize) -> Result<Option<Vec<u8>>, ReadError> {
        let file = self.source.get_ref();
        let whole = file.metadata().map_err(|e| self.io(e))?.len();
        let Some(from) = whole.checked_sub(length as u64) else { return Ok(None) };
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, from).map_err(|e| self.io(e))?;
        Ok(Some(bytes))
    }

    /// Steps over the next frame. After [`Step::End`] and [`Step::Torn`] it may be asked again: a live file grows.
    pub(super) fn step(&mut self) -> Result<Step, ReadError> {
        let mut bytes = Vec::new();
        std::mem::swap(&mut bytes, &mut self.sealed);
        bytes.clear();
        let stepped = self.read_frame(&mut bytes);
        self.sealed = bytes;
        let step = stepped?;
        if !matches!(step, Step::Frame(_)) {
            self.source.seek(SeekFrom::Start(self.head.bytes)).map_err(|e| self.io(e))?;
        }
        Ok(step)
    }

    fn read_frame(&mut self, bytes: &mut Vec<u8>) -> Result<Step, ReadError> {
        let got = fill(&mut self.source, bytes, HEAD).map_err(|e| self.io(e))?;
        let Some((head_bytes, _)) = bytes.split_first_chunk::<HEAD>().filter(|_| got == HEAD) else {
            return if got > 0 && self.ended { Err(self.trailing()) } else { Ok(ending(got)) };
        };
        if self.ended {
            return Err(self.trailing());
        }
        self.head_bytes = *head_bytes;
        let head = FrameHead::decode(head_bytes).ok_or_else(|| self.broken(Why::Head))?;
        let sealed = usize::try_from(head.sealed).unwrap_or(usize::MAX);
        if !(TAG..=MAX_PAYLOAD + TAG).contains(&sealed) {
            return Err(self.broken(Why::Head));
        }
        bytes.clear();
        let got = fill(&mut self.source, bytes, sealed + LINK).map_err(|e| self.io(e))?;
        if got < sealed + LINK {
            return Ok(Step::Torn);
        }
        if head.seq != self.head.frames + 1 {
            return Err(self.broken(Why::Sequence { found: head.seq }));
        }
        let (body, link) = bytes.split_at_checked(sealed).unwrap_or_default();
        let digest = if self.unchained {
            self.start
        } else {
            let digest = Digest::of(&[self.head.digest.bytes(), &self.head_bytes, body]);
            if digest.bytes().first_chunk::<LINK>().map(|l| l.as_slice()) != Some(link) {
                return Err(self.broken(Why::Chain));
            }
            digest
        };
        if Stream::from_code(head.stream).is_none() {
            return Err(self.broken(Why::Code(head.stream)));
        }
        if head.flags & !(PACKED | LAST) != 0 {
            return Err(self.broken(Why::Code(head.flags)));
        }
        bytes.truncate(sealed);
        let length = (HEAD + sealed + LINK) as u64;
        self.head = Head { frames: head.seq, bytes: self.head.bytes + length, digest };
        self.ended = head.flags & LAST != 0;
        self.stamp = head.stamp;
        Ok(Step::Frame(head))
    }

    /// The broken position at the next frame.
    pub(super) fn broken(&self, why: Why) -> ReadError {
        Broken { frame: self.head.frames + 1, offset: self.head.bytes, why }.into()
    }

    fn trailing(&self) -> ReadError {
        self.broken(Why::Trailing(self.following().unwrap_or(0)))
    }

    fn io(&self, source: io::Error) -> ReadError {
        ReadError::Io { path: self.path.clone(), source }
    }

    /// How many bytes follow the last good frame.
    pub(super) fn following(&self) -> Result<u64, ReadError> {
        let length = self.source.get_ref().metadata().map_err(|e| self.io(e))?.len();
        Ok(length.saturating_sub(self.head.bytes))
    }

    /// The head bytes and the sealed bytes of the frame last stepped over.
    pub(super) fn sealed(&mut self) -> (&[u8; HEAD], &mut [u8]) {
        (&self.head_bytes, &mut self.sealed)
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// The digest of the header, where the chain starts.
    pub(super) fn start(&self) -> &Digest {
        &self.start
    }

    /// How far the recording is good.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    /// Whether the last frame of a sealed recording was stepped over.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// When the frame last stepped over was recorded.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }
}

/// Where `front` (up to [`PREAMBLE`] bytes) says the header text ends.
fn header_length(front: &[u8]) -> Result<usize, ReadError> {
    let half = ReadError::HalfHeader { length: front.len() as u64 };
    if front.is_empty() {
        return Err(ReadError::Empty);
    }
    if !MAGIC.starts_with(front.get(..MAGIC.len()).unwrap_or(front)) {
        return Err(ReadError::Foreign);
    }
    let Some([_, _, _, _, _, _, _, _, v0, v1, r0, r1, l0, l1, l2, l3]) = front.first_chunk::<PREAMBLE>()
    else {
        return Err(half);
    };
    let found = u16::from_be_bytes([*v0, *v1]);
    if found != VERSION {
        return Err(ReadError::Version { found });
    }
    let length = usize::try_from(u32::from_be_bytes([*l0, *l1, *l2, *l3])).unwrap_or(usize::MAX);
    if length > MAX_HEADER || [*r0, *r1] != [0, 0] {
        return Err(Broken { frame: 0, offset: 0, why: Why::Header }.into());
    }
    Ok(length)
}

/// Reads until `to` holds `length` bytes or the file ends, and says how many bytes it holds.
fn fill(source: &mut impl Read, to: &mut Vec<u8>, length: usize) -> io::Result<usize> {
    let missing = length.saturating_sub(to.len());
    source.take(missing as u64).read_to_end(to)?;
    Ok(to.len())
}

/// No byte of a frame, or not enough.
fn ending(got: usize) -> Step {
    if got == 0 { Step::End } else { Step::Torn }
}
