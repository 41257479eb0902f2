//! Where in a recording a moment is, by the heads of its frames alone: fast, and without the key.
//!
//! Never proves anything: heads stand in clear. Whoever goes to a mark reads frames there that the key vouches for.

use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use super::layout::{FrameHead, HEAD, LINK, MAX_PAYLOAD, Stream, TAG};
use super::scan::{ReadError, Scan};
use crate::plain;

/// A place between two frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The byte at which the next frame begins.
    pub offset: u64,
    /// That frame's number.
    pub seq: u64,
    /// Its monotonic time, in nanoseconds, as its head says.
    pub at: u64,
}

/// What stands at a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    /// Any frame; so many bytes after the one before.
    Any,
    /// A frame that may tell the terminal's size: a request or a resize.
    Size,
}

/// Steps over the heads of the recording at `path` and gives a mark at the first frame and then at least every `every` bytes, and one
/// where a terminal's size may be told, until `take` says no. Returns the time of the last head. It ends at the first head that is
/// none: whoever reads the frames says why.
///
/// # Errors
/// The header is not one, or the system does not let us.
pub fn outline(
    path: &Path,
    every: u64,
    mut take: impl FnMut(Spot, Mark) -> bool,
) -> Result<Option<u64>, ReadError> {
    let start = Scan::open(path)?.head().bytes;
    let io = |source| ReadError::Io { path: path.to_owned(), source };
    let mut source = BufReader::with_capacity(64 * 1024, plain::open(path).map_err(io)?);
    source.seek(SeekFrom::Start(start)).map_err(io)?;
    let (mut offset, mut next, mut last, mut bytes) = (start, start, None, [0; HEAD]);
    loop {
        match source.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(end) if end.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(last),
            Err(error) => return Err(io(error)),
        }
        let Some(head) = FrameHead::decode(&bytes) else { return Ok(last) };
        let sealed = usize::try_from(head.sealed).unwrap_or(usize::MAX);
        if !(TAG..=MAX_PAYLOAD + TAG).contains(&sealed) {
            return Ok(last);
        }
        last = Some(head.stamp.monotonic_ns);
        let mark = Mark { offset, seq: head.seq, at: head.stamp.monotonic_ns };
        let sizes = [Stream::Request, Stream::Resize];
        if Stream::from_code(head.stream).is_some_and(|stream| sizes.contains(&stream))
            && !take(Spot::Size, mark)
        {
            return Ok(last);
        }
        if offset >= next {
            if !take(Spot::Any, mark) {
                return Ok(last);
            }
            next = offset.saturating_add(every);
        }
        let rest = sealed + LINK;
        offset += (HEAD + rest) as u64;
        source.seek_relative(i64::try_from(rest).unwrap_or(i64::MAX)).map_err(io)?;
    }
}
