//! Reads a recording with its key, frame by frame.
//!
//! Never yields a frame that the key does not vouch for, nor, but after [`Reader::glimpse`], one that the chain does not; and never
//! holds more than one.

use std::path::Path;

use zstd::bulk::Decompressor;

use super::cipher::Cipher;
use super::header::Header;
use super::layout::{FrameHead, HEAD, LAST, LINK, MAX_PAYLOAD, PACKED, Stream, TAG};
use super::outline::Mark;
use super::scan::{Broken, ReadError, Scan, Step, Why};
use super::{Head, Stamp};

/// A frame as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its number, from 1.
    pub seq: u64,
    /// What it holds.
    pub stream: Stream,
    /// When it was recorded.
    pub stamp: Stamp,
    /// The bytes.
    pub payload: Vec<u8>,
}

/// Where reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// The last good frame.
    pub head: Head,
    /// How many bytes follow it.
    pub bytes: u64,
    /// Whether the recording ends as a sealed one does; if not it is still being written, or a crash or a cut ended it.
    pub ended: bool,
}

/// An iterator over the frames. It ends at the end of the file or before a half-written frame; [`Reader::rest`] says which.
/// On a file that is being written it may be asked again later.
pub struct Reader {
    scan: Scan,
    cipher: Option<Cipher>,
    unpack: Option<Decompressor<'static>>,
    broken: bool,
}

impl Reader {
    /// Opens the recording at `path`. Without the key the frames come with empty payloads.
    pub fn open(path: &Path, key: Option<&[u8; 32]>) -> Result<Self, ReadError> {
        let mut reader = Self { scan: Scan::open(path)?, cipher: None, unpack: None, broken: false };
        if let Some(key) = key {
            reader.unlock(key)?;
        }
        Ok(reader)
    }

    /// Gives the key after the header has been read, since the header holds the envelope of the key.
    pub fn unlock(&mut self, key: &[u8; 32]) -> Result<(), ReadError> {
        let cipher = Cipher::new(key, self.scan.start());
        self.cipher = Some(cipher.map_err(|_| ReadError::Header("the key cannot be set up".to_owned()))?);
        self.unpack = Decompressor::new().ok();
        Ok(())
    }

    /// The header.
    pub fn header(&self) -> &Header {
        self.scan.header()
    }

    /// Where reading stands, and how much follows.
    pub fn rest(&self) -> Result<Rest, ReadError> {
        Ok(Rest { head: self.scan.head(), bytes: self.scan.following()?, ended: self.scan.ended() })
    }

    /// How far reading has come. After [`Reader::glimpse`] its digest stands for nothing.
    pub fn head(&self) -> Head {
        self.scan.head()
    }

    /// Whether the chain vouches for where reading stands: not so after [`Reader::glimpse`].
    pub fn chained(&self) -> bool {
        self.scan.chained()
    }

    /// Goes on behind `head`, at which a reader of this recording has stood before.
    pub fn go_to(&mut self, head: &Head) -> Result<(), ReadError> {
        self.broken = false;
        self.scan.go_to(head)
    }

    /// Goes on at `mark`. The key vouches for every frame from there on, and for its number; what is before, and so the chain,
    /// is not looked at.
    pub fn glimpse(&mut self, mark: &Mark) -> Result<(), ReadError> {
        self.broken = false;
        self.scan.go_unchained(mark.seq, mark.offset)
    }

    /// When the last frame of a sealed recording was recorded, by the key's word and without reading what is before it; `None`
    /// without the key, or when the file does not end as a sealed one does.
    pub fn end(&self) -> Result<Option<Stamp>, ReadError> {
        let (Some(cipher), Some(mut bytes)) = (&self.cipher, self.scan.tail(HEAD + TAG + LINK)?) else {
            return Ok(None);
        };
        let Some((head_bytes, rest)) = bytes.split_first_chunk_mut::<HEAD>() else { return Ok(None) };
        let head = FrameHead::decode(head_bytes).filter(|head| head.flags == LAST);
        let (Some(head), Some((tag, _))) = (head, rest.split_at_mut_checked(TAG)) else { return Ok(None) };
        Ok(cipher.open(head.seq, head_bytes, tag).is_ok().then_some(head.stamp))
    }

    fn read(&mut self) -> Result<Option<Frame>, ReadError> {
        let before = self.scan.head();
        let Step::Frame(head) = self.scan.step()? else { return Ok(None) };
        let broken = |why| ReadError::from(Broken { frame: head.seq, offset: before.bytes, why });
        let mut payload = Vec::new();
        if let Some(cipher) = &self.cipher {
            let (head_bytes, sealed) = self.scan.sealed();
            let opened = cipher.open(head.seq, head_bytes, sealed).map_err(|_| broken(Why::Key))?;
            if head.flags & PACKED == 0 {
                payload = opened.to_vec();
            } else {
                payload.reserve_exact(MAX_PAYLOAD);
                let unpack = self.unpack.as_mut().ok_or_else(|| broken(Why::Packing))?;
                unpack.decompress_to_buffer(opened, &mut payload).map_err(|_| broken(Why::Packing))?;
                payload.shrink_to_fit();
            }
        }
        let stream = Stream::from_code(head.stream).ok_or_else(|| broken(Why::Code(head.stream)))?;
        if head.flags & LAST != 0 {
            // The end itself is no content; the next step finds nothing, or bytes that must not be there.
            return self.read();
        }
        Ok(Some(Frame { seq: head.seq, stream, stamp: head.stamp, payload }))
    }
}

impl Iterator for Reader {
    type Item = Result<Frame, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.broken {
            return None;
        }
        let read = self.read().transpose();
        self.broken = matches!(read, Some(Err(_)));
        read
    }
}
