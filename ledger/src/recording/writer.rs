//! Writes a recording: the header first and durably, then frames, then the seal.
//!
//! Never opens a file that exists, never writes after an error, and copies no payload but into the frame it encrypts.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zstd::bulk::Compressor;

use super::cipher::Cipher;
use super::header::{Header, HeaderError};
use super::layout::{FrameHead, HEAD, LAST, LINK, MAX_PAYLOAD, PACKED, Stream, TAG};
use super::{Head, Stamp, file_name};
use crate::Digest;
use crate::durable::{Durable, Syncer, WriteError, sync_dir};

/// How many frames go into one `write(2)`.
const BATCH: usize = 4;
/// The largest frame.
const FRAME: usize = HEAD + MAX_PAYLOAD + TAG + LINK;
/// How much of a payload is tried before the whole of it is compressed.
const TRIED: usize = 4096;
/// Shorter payloads cannot shrink by more than the frame of zstd costs.
const WORTH_TRYING: usize = 64;
/// Of levels 1 to 3 the fastest: a terminal is redundant enough for it.
const LEVEL: i32 = 1;

/// Why a recording could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The header cannot be written.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The file cannot be made or made durable.
    #[error("{}: cannot begin the recording: {source}", path.display())]
    File {
        /// The file or its folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The header cannot be written to the file.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The key cannot be set up.
    #[error("the recording's key cannot be set up")]
    Key,
}

/// The one writer of a recording. A few hundred bytes: buffers and the compressor belong to the thread that appends.
pub struct Writer {
    file: Arc<Durable>,
    cipher: Cipher,
    head: Head,
    last: Stamp,
    patience: Patience,
}

impl Writer {
    /// Begins the recording `header.recording` in `dir` under `key`. The file is new, readable by its owner only, and the header
    /// and the file's name are on disk when this returns.
    pub fn create(dir: &Path, header: &Header, key: &[u8; 32]) -> Result<Self, CreateError> {
        let text = header.encode()?;
        let path = dir.join(file_name(&header.recording));
        let failed = |source| CreateError::File { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let begun = Self::begin(file, path.clone(), &text, key).and_then(|writer| {
            writer.file.sync()?;
            sync_dir(dir).map_err(failed)?;
            Ok(writer)
        });
        if begun.is_err() {
            // A header that is not durable is no recording; what cannot be removed is reported as a half header by readers.
            let _ = std::fs::remove_file(&path);
        }
        begun
    }

    /// Writes the header to `file` and stands ready for the first frame.
    pub(super) fn begin(
        file: File,
        path: PathBuf,
        header: &[u8],
        key: &[u8; 32],
    ) -> Result<Self, CreateError> {
        let digest = Digest::of(&[header]);
        let cipher = Cipher::new(key, &digest).map_err(|_| CreateError::Key)?;
        let file = Arc::new(Durable::new(file, path));
        file.write(&[header, digest.bytes()].concat())?;
        let bytes = (header.len() + digest.bytes().len()) as u64;
        Ok(Self {
            file,
            cipher,
            head: Head { frames: 0, bytes, digest },
            last: Stamp::default(),
            patience: Patience::default(),
        })
    }

    /// Appends `payload`, in several frames if it is longer than [`MAX_PAYLOAD`]. When this returns the system has the bytes;
    /// [`Syncer::sync`] puts them on disk. An error gives the recording up for good.
    pub fn append(&mut self, stream: Stream, stamp: Stamp, payload: &[u8]) -> Result<(), WriteError> {
        self.last = stamp;
        let (first, mut rest) = payload.split_at(payload.len().min(BATCH * MAX_PAYLOAD));
        self.write(stream, 0, first)?;
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(rest.len().min(BATCH * MAX_PAYLOAD));
            self.write(stream, 0, batch)?;
            rest = later;
        }
        Ok(())
    }

    /// Ends the recording: a last frame that says so, then all of it on disk. The head belongs into the log; only there is the
    /// recording sealed.
    pub fn seal(mut self) -> Result<Head, WriteError> {
        self.write(Stream::Note, LAST, &[])?;
        self.file.sync()?;
        Ok(self.head)
    }

    /// What has been written so far. It is on disk once a sync that began later has returned.
    pub fn head(&self) -> Head {
        self.head
    }

    /// A handle that makes what was written last, for another thread.
    pub fn syncer(&self) -> Syncer {
        Syncer(Arc::clone(&self.file))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes up to [`BATCH`] frames in one call to the system. The head moves only when the bytes are written.
    fn write(&mut self, stream: Stream, flags: u8, batch: &[u8]) -> Result<(), WriteError> {
        self.file.sound()?;
        BENCH.with_borrow_mut(|bench| {
            let mut head = self.head;
            let mut written = 0;
            let mut rest = batch;
            loop {
                let (piece, later) = rest.split_at(rest.len().min(MAX_PAYLOAD));
                let free = bench.buffer.get_mut(written..).unwrap_or_default();
                let frame = Piece { stream, flags, seq: head.frames + 1, stamp: self.last, payload: piece };
                let length = frame
                    .encode(&self.cipher, &mut head, free, bench.compressor.as_mut(), &mut self.patience)
                    .ok_or_else(|| self.overflow())?;
                written += length;
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            self.file.write(bench.buffer.get(..written).unwrap_or_default())?;
            self.head = head;
            Ok(())
        })
    }

    /// The file has reached what its format can count.
    fn overflow(&self) -> WriteError {
        self.file.poison();
        WriteError::Limit {
            path: self.file.path().to_owned(),
            what: "the recording cannot hold another frame",
        }
    }
}

/// One frame to be.
struct Piece<'a> {
    stream: Stream,
    flags: u8,
    seq: u64,
    stamp: Stamp,
    payload: &'a [u8],
}

impl Piece<'_> {
    /// Encodes the frame at the front of `free`, moves `at` over it, and returns its length.
    fn encode(
        &self,
        cipher: &Cipher,
        at: &mut Head,
        free: &mut [u8],
        compressor: Option<&mut Compressor<'static>>,
        patience: &mut Patience,
    ) -> Option<usize> {
        let (head_bytes, body) = free.split_first_chunk_mut::<HEAD>()?;
        let packed = compressor.and_then(|z| pack(z, self.payload, body, patience));
        let length = packed.unwrap_or(self.payload.len());
        let (payload, after) = body.split_at_mut_checked(length)?;
        if packed.is_none() {
            payload.copy_from_slice(self.payload);
        }
        let head = FrameHead {
            sealed: u32::try_from(length + TAG).ok()?,
            stream: self.stream as u8,
            flags: self.flags | if packed.is_some() { PACKED } else { 0 },
            seq: self.seq,
            stamp: self.stamp,
        };
        *head_bytes = head.encode();
        let tag = cipher.seal(self.seq, head_bytes, payload).ok()?;
        let (tag_bytes, after) = after.split_first_chunk_mut::<TAG>()?;
        tag_bytes.copy_from_slice(tag.as_ref());
        let digest = Digest::of(&[at.digest.bytes(), head_bytes, payload, tag_bytes]);
        let (link, _) = after.split_first_chunk_mut::<LINK>()?;
        link.copy_from_slice(digest.bytes().first_chunk::<LINK>()?);
        let total = HEAD + length + TAG + LINK;
        *at = Head { frames: self.seq, bytes: at.bytes + total as u64, digest };
        Some(total)
    }
}

/// How long compression is left alone after it did not help: encrypted or packed streams stay what they are.
#[derive(Clone, Copy, Default)]
struct Patience {
    fruitless: u8,
    pause: u8,
}

impl Patience {
    /// The longest pause, in frames; a stream that becomes text is noticed after as many.
    const LONGEST: u8 = 15;

    /// Whether to try now.
    fn tries(&mut self) -> bool {
        let now = self.pause == 0;
        self.pause = self.pause.saturating_sub(1);
        now
    }

    /// Whether it helped the last time.
    fn hopes(self) -> bool {
        self.fruitless == 0
    }

    fn learn(&mut self, helped: bool) {
        self.fruitless = if helped { 0 } else { (self.fruitless * 2 + 1).min(Self::LONGEST) };
        self.pause = self.fruitless;
    }
}

/// Compresses `payload` into `to` and returns the length; `None` when it does not shrink enough to be worth it.
fn pack(
    compressor: &mut Compressor<'static>,
    payload: &[u8],
    to: &mut [u8],
    patience: &mut Patience,
) -> Option<usize> {
    if payload.len() < WORTH_TRYING || !patience.tries() {
        return None;
    }
    // What has just shrunk will most likely shrink again.
    let tried = match payload.split_at_checked(TRIED) {
        Some((first, rest)) if !rest.is_empty() && !patience.hopes() => {
            compress(compressor, first, to).is_some()
        }
        _ => true,
    };
    let packed = if tried { compress(compressor, payload, to) } else { None };
    patience.learn(packed.is_some());
    packed
}

/// Compresses into less than fifteen sixteenths of the length of `from`, or not.
fn compress(compressor: &mut Compressor<'static>, from: &[u8], to: &mut [u8]) -> Option<usize> {
    let room = to.get_mut(..from.len() - from.len().div_ceil(16))?;
    compressor.compress_to_buffer(from, room).ok()
}

/// What a thread needs to make frames, kept from call to call. Between calls the buffer holds encrypted bytes; the compressor may
/// keep pieces of the last payload in its tables until the next.
struct Bench {
    buffer: Vec<u8>,
    compressor: Option<Compressor<'static>>,
}

thread_local! {
    static BENCH: RefCell<Bench> =
        RefCell::new(Bench { buffer: vec![0; BATCH * FRAME], compressor: Compressor::new(LEVEL).ok() });
}
