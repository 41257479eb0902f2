//! A file that is written forward, synced from another thread, and given up for good at its first error.
//!
//! Never retries: after a failed write the end of the file is unknown, and after a failed fsync the kernel may have dropped
//! the pages and call the next fsync a success.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Why bytes could not be made to last.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The write failed; part of the bytes may be in the file.
    #[error("{}: cannot write: {source}; the file takes nothing more", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The sync failed; what was written since the last sync may be lost.
    #[error("{}: cannot sync to disk: {source}; the file takes nothing more", path.display())]
    Sync {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An earlier write or sync failed.
    #[error("{}: takes nothing more since an earlier write or sync failed", path.display())]
    Poisoned {
        /// The file.
        path: PathBuf,
    },
    /// The file would pass a limit of its format.
    #[error("{}: {what}", path.display())]
    Limit {
        /// The file.
        path: PathBuf,
        /// Which limit, and what to do.
        what: &'static str,
    },
}

/// Whether the system says that there is no room.
pub(crate) fn is_full(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The file behind a writer and its syncers.
#[derive(Debug)]
pub(crate) struct Durable {
    file: File,
    path: PathBuf,
    poisoned: AtomicBool,
    written: AtomicU64,
    synced: AtomicU64,
    /// One sync at a time: Linux reports a lost page to one fsync of a file, and the one that is told must poison the file
    /// before another may report success.
    gate: Mutex<()>,
}

impl Durable {
    pub(crate) fn new(file: File, path: PathBuf) -> Self {
        Self {
            file,
            path,
            poisoned: AtomicBool::new(false),
            written: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            gate: Mutex::new(()),
        }
    }

    /// Writes all of `bytes` at the end: one `write(2)` unless the system takes less.
    pub(crate) fn write(&self, bytes: &[u8]) -> Result<(), WriteError> {
        self.write_or(bytes, || false)
    }

    /// As [`Durable::write`]; when the disk is full and `room` says that it made some, it goes on where it stopped: a write that
    /// found no room has written nothing.
    pub(crate) fn write_or(&self, bytes: &[u8], room: impl Fn() -> bool) -> Result<(), WriteError> {
        self.sound()?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let failed = match (&self.file).write(rest) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    continue;
                }
                Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
                Err(why) if is_full(&why) && room() => continue,
                Err(why) => why,
            };
            self.poison();
            return Err(WriteError::Write { path: self.path.clone(), source: failed });
        }
        self.written.fetch_add(bytes.len() as u64, Ordering::Release);
        Ok(())
    }

    /// Makes everything written before the call last; does nothing when nothing was written since the last sync.
    pub(crate) fn sync(&self) -> Result<(), WriteError> {
        let _one = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.sound()?;
        let written = self.written.load(Ordering::Acquire);
        if written == self.synced.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.file.sync_data().map_err(|source| {
            self.poison();
            WriteError::Sync { path: self.path.clone(), source }
        })?;
        self.synced.store(written, Ordering::Relaxed);
        // A write that failed meanwhile leaves a torn end: what came before it has lasted, but nobody may go on.
        self.sound()
    }

    /// Gives the file up.
    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::Release);
    }

    /// An error once the file has been given up.
    pub(crate) fn sound(&self) -> Result<(), WriteError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(WriteError::Poisoned { path: self.path.clone() });
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes what a writer has written last, from any thread, while the writer goes on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Syncer(pub(crate) Arc<Durable>);

impl Syncer {
    /// Everything written before this call is on disk when it returns. Blocks. An error gives the file up for good.
    pub fn sync(&self) -> Result<(), WriteError> {
        self.0.sync()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Makes the names in `dir` last, so that a new or renamed file is found after a power failure.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
