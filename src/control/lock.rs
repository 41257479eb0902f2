//! The one writer: an exclusive lock on the directory, held by the server or by a command that does its own work.
//! It never waits and never takes the lock away from whoever holds it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The lock file's name inside the directory.
pub const FILE: &str = "lock";

/// The lock, held until dropped; the system lets go of it when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why the lock is not held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{} is in use by another bartizan; let that one end, or use another --dir", .0.display())]
    Held(PathBuf),
    /// The file cannot be made or locked.
    #[error("{} cannot be locked: {why}", .path.display())]
    Refused {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
}

impl Lock {
    /// Takes the lock on `dir` or says at once why not.
    pub fn take(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(FILE);
        let refused = |why| LockError::Refused { path: path.clone(), why };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(refused)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(std::fs::TryLockError::WouldBlock) => Err(LockError::Held(dir.to_owned())),
            Err(std::fs::TryLockError::Error(why)) => Err(refused(why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cannot_hold_it_and_a_dropped_one_is_free() {
        let dir = tempfile::tempdir().expect("dir");
        let first = Lock::take(dir.path()).expect("free");
        assert!(matches!(Lock::take(dir.path()), Err(LockError::Held(_))));
        drop(first);
        Lock::take(dir.path()).expect("free again");
    }

    #[test]
    fn a_link_in_its_place_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let victim = dir.path().join("victim");
        std::os::unix::fs::symlink(&victim, dir.path().join(FILE)).expect("link");
        assert!(matches!(Lock::take(dir.path()), Err(LockError::Refused { .. })));
        assert!(!victim.exists());
    }
}
