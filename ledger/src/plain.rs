//! Opens regular files for reading.
//!
//! Never opens anything else: a pipe or device put in a file's place would keep the reader waiting or reading for ever.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// The regular file at `path`.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Asked before opening, since opening a pipe already waits.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    File::open(path)
}

/// The first `bound` bytes of the regular file at `path`.
pub(crate) fn read(path: &Path, bound: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(bound as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
