//! One channel's recording: an append-only file of encrypted, chained frames.
//!
//! Never appends to a file that was not sealed, and never calls a file complete that the log does not call sealed.
//!
//! ```text
//! Writer::create -> append* -> seal        one writer, once; an error or a crash ends it for good
//! Reader::open   -> Frame* -> rest         with the key: what was recorded
//! verify                                   with or without the key: is it whole, and what proves it
//! recover                                  after a crash: how far it is good, for the log to say so
//! ```

mod cipher;
mod header;
mod index;
mod layout;
mod outline;
mod reader;
mod scan;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Digest;

pub use header::{Header, HeaderError};
pub use index::{IndexError, read_index, write_index};
pub use layout::{MAX_PAYLOAD, Stream};
pub use outline::{Mark, Spot, outline};
pub use reader::{Frame, Reader, Rest};
pub use scan::{Broken, ReadError, Why};
pub use verify::{Recovered, State, Verified, recover, recover_with_key, verify};
pub use writer::{CreateError, Writer};

/// When something was recorded, by two clocks: the order is that of the frames, never of either clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Nanoseconds on a clock that never goes back, from any origin.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970 as the node believed.
    pub wall_ns: i64,
}

/// How far a recording has come, and the digest that stands for all of it.
///
/// As JSON (in audit events): `{"frames": n, "bytes": n, "digest": "<64 hex digits>"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many frames; the last one carries this number.
    pub frames: u64,
    /// Where the last frame ends in the file; with no frame, where the header ends.
    pub bytes: u64,
    /// The running digest over the header and all frames.
    pub digest: Digest,
}

/// The name of a recording's file in the recordings folder.
pub fn file_name(recording: &str) -> PathBuf {
    PathBuf::from(format!("{recording}.rec"))
}
