//! Small files of the agent's own folder: written whole or not at all, read up to a bound, closed to everybody else.
//! It never follows a link to a secret, and never uses a secret that others could have read or put there.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Others have rights to it.
    #[error("{} may be used by others (mode {mode:04o}); `chmod go= {}`", .path.display(), .path.display())]
    Loose {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is somebody else's.
    #[error("{} belongs to user id {owner}; run as that user, or choose another --dir", .path.display())]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// Too large.
    #[error("{} is larger than {most} bytes; it is not what it should be", .path.display())]
    Large {
        /// Which.
        path: PathBuf,
        /// The bound.
        most: u64,
    },
    /// It cannot be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }

    /// Whether it is that there is none.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Makes a folder that is its owner's alone, or makes sure that it is one.
pub(crate) fn private_folder(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::io(path))?;
    let about = std::fs::metadata(path).map_err(FileError::io(path))?;
    ours_alone(path, &about)
}

/// Makes a folder for its owner alone where there is none; one that is there stays as it is.
pub(crate) fn private_folder_if_missing(path: &Path) -> Result<(), FileError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(FileError::io(path))
}

/// Reads a file of text that is not secret.
pub(crate) fn read_text(path: &Path, most: u64) -> Result<String, FileError> {
    let file = File::open(path).map_err(FileError::io(path))?;
    bounded(path, file, most)
}

/// Reads a secret's file: a plain file, its owner's alone.
pub(crate) fn read_secret(path: &Path, most: u64) -> Result<String, FileError> {
    let nofollow = OFlags::NOFOLLOW.bits().cast_signed();
    let file =
        OpenOptions::new().read(true).custom_flags(nofollow).open(path).map_err(FileError::io(path))?;
    ours_alone(path, &file.metadata().map_err(FileError::io(path))?)?;
    bounded(path, file, most)
}

fn bounded(path: &Path, file: File, most: u64) -> Result<String, FileError> {
    let mut text = String::new();
    file.take(most + 1).read_to_string(&mut text).map_err(FileError::io(path))?;
    if text.len() as u64 > most {
        return Err(FileError::Large { path: path.to_owned(), most });
    }
    Ok(text)
}

fn ours_alone(path: &Path, about: &std::fs::Metadata) -> Result<(), FileError> {
    if about.uid() != rustix::process::geteuid().as_raw() {
        return Err(FileError::Foreign { path: path.to_owned(), owner: about.uid() });
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(FileError::Loose { path: path.to_owned(), mode }) }
}

/// Puts a file in place, whole and durable, with this mode.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(|source| {
        // The cause is what the caller must hear of.
        let _ = std::fs::remove_file(&beside);
        FileError::Io { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_that_others_may_read_or_that_is_a_link_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        replace(&path, b"x", 0o600).unwrap();
        assert_eq!(read_secret(&path, 9).unwrap(), "x");
        std::os::unix::fs::symlink(&path, folder.path().join("link")).unwrap();
        assert!(read_secret(&folder.path().join("link"), 9).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let told = read_secret(&path, 9).unwrap_err().to_string();
        assert!(told.contains("chmod go="), "{told}");
    }

    #[test]
    fn a_file_is_replaced_whole_and_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"first", 0o600).unwrap();
        replace(&path, b"second", 0o600).unwrap();
        assert_eq!(read_text(&path, 6).unwrap(), "second");
        assert!(matches!(read_text(&path, 5), Err(FileError::Large { .. })));
        assert!(read_text(&folder.path().join("none"), 5).unwrap_err().is_missing());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent");
        private_folder(&path).unwrap();
        private_folder(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(private_folder(&path), Err(FileError::Loose { .. })));
    }
}
