//! What a crash left half-written is set aside into a file of its own.
//!
//! Never drops a byte, and never touches what a checkpoint vouches for: the caller has checked that the tail is beyond it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::durable::sync_dir;

/// A tail that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The file it was the end of.
    pub of: PathBuf,
    /// Where it began there.
    pub offset: u64,
    /// How long it was.
    pub bytes: u64,
    /// Where it lies now.
    pub file: PathBuf,
}

/// Moves everything of `file` from `offset` on into a new file in `dir`, durably, before it is cut off.
pub(super) fn set_aside(dir: &Path, path: &Path, mut file: &File, offset: u64) -> io::Result<Torn> {
    let (mut aside, name) = fresh(dir, path, offset)?;
    file.seek(SeekFrom::Start(offset))?;
    let bytes = io::copy(&mut file, &mut aside)?;
    aside.sync_all()?;
    sync_dir(dir)?;
    file.set_len(offset)?;
    file.sync_all()?;
    Ok(Torn { of: path.to_owned(), offset, bytes, file: name })
}

/// A file that is not there yet: `torn-<of>-<offset>-<n>.part`.
fn fresh(dir: &Path, of: &Path, offset: u64) -> io::Result<(File, PathBuf)> {
    let of = of.file_stem().unwrap_or_default().to_string_lossy();
    for n in 1..10_000 {
        let name = dir.join(format!("torn-{of}-{offset}-{n}.part"));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (file, name)),
        }
    }
    Err(io::Error::other("there are 10000 torn files of this place: move them away"))
}
