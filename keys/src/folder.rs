//! Files that hold secrets: one folder of mode 0700, files of mode 0600, owned by whoever runs the program.
//! It never follows a symbolic link, never overwrites a file, and never reads one that others could have read or written.
//!
//! Every file is reached through the open folder, so what was checked is what is read, whoever renames things meanwhile.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use zeroize::Zeroizing;

/// No file of ours is longer; a longer one is not ours.
const LONGEST: u64 = 4096;

/// Why a folder or file with secrets cannot be used. The path comes first, the remedy last.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Not there.
    #[error("{path}: missing; restore it from a backup of the whole keys folder", path = path.display())]
    Missing {
        /// The file or folder.
        path: PathBuf,
    },
    /// There already.
    #[error("{path}: exists already, and keys are never overwritten; move it away first", path = path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// Group or others have a right to it.
    #[error("{path}: mode {mode:04o} lets others in; run `chmod {want:04o} {path}`", path = path.display())]
    Loose {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they must be.
        want: u32,
    },
    /// It belongs to another user.
    #[error(
        "{path}: belongs to user {owner}, this process runs as user {runner}; run it as the owner or `chown` it",
        path = path.display()
    )]
    ForeignOwner {
        /// The file or folder.
        path: PathBuf,
        /// User id of the owner.
        owner: u32,
        /// User id of this process.
        runner: u32,
    },
    /// A link, a pipe, a folder in place of a file, or the reverse.
    #[error("{path}: is not a plain {want}; put the real one there, links are not followed", path = path.display())]
    Kind {
        /// The file or folder.
        path: PathBuf,
        /// `file` or `folder`.
        want: &'static str,
    },
    /// A new folder cannot take the name of a mount point.
    #[error("{path}: is a mount point, which new keys cannot replace; mount the folder above it instead", path = path.display())]
    Mounted {
        /// The folder.
        path: PathBuf,
    },
    /// It does not hold what was written.
    #[error("{path}: is damaged; restore it from a backup of the whole keys folder", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{path}: {source}; check the disk and the rights on the folder", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
}

/// An open folder that only its owner may enter.
pub(crate) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens `path` and checks kind, owner and mode.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        Self::open_under(CWD, path, path)
    }

    /// Opens the folder `name` inside this one, with the same checks.
    pub(crate) fn open_inner(&self, name: &str) -> Result<Self, FolderError> {
        Self::open_under(&self.fd, Path::new(name), &self.path.join(name))
    }

    fn open_under(at: impl std::os::fd::AsFd, name: &Path, path: &Path) -> Result<Self, FolderError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(at, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOTDIR | Errno::LOOP => FolderError::Kind { path: path.to_owned(), want: "folder" },
            other => refused(path, other),
        })?;
        let folder = Self { fd, path: path.to_owned() };
        let stat = rustix::fs::fstat(&folder.fd).map_err(|errno| refused(path, errno))?;
        owned_and_closed(path, &stat, 0o700)?;
        Ok(folder)
    }

    /// Makes the folder `name` inside this one, mode 0700; it must not exist. The entry is durable after [`Folder::sync`].
    pub(crate) fn make_inner(&self, name: &str) -> Result<Self, FolderError> {
        make(&self.fd, Path::new(name), &self.path.join(name))?;
        self.open_inner(name)
    }

    /// Writes a new file of mode 0600 and makes its bytes durable; it must not exist. The entry is durable after [`Folder::sync`].
    pub(crate) fn write_new(&self, name: &str, bytes: &[u8]) -> Result<(), FolderError> {
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))
            .map_err(|errno| refused(&path, errno))?;
        // Whatever the umask took away is given back: a key its owner cannot read is lost.
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(0o600)).map_err(|errno| refused(&path, errno))?;
        let mut file = File::from(fd);
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        written.map_err(|source| FolderError::Io { path, source })
    }

    /// Reads a file after checking kind, owner and mode.
    pub(crate) fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, FolderError> {
        let path = self.path.join(name);
        // NONBLOCK so that a pipe put in the file's place cannot make us wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NXIO => FolderError::Kind { path: path.clone(), want: "file" },
            other => refused(&path, other),
        })?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| refused(&path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(FolderError::Kind { path, want: "file" });
        }
        owned_and_closed(&path, &stat, 0o600)?;
        if u64::try_from(stat.st_size).is_ok_and(|size| size > LONGEST) {
            return Err(FolderError::Damaged { path });
        }
        // Room for all of it at once: a growing buffer would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
        match File::from(fd).take(LONGEST).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(FolderError::Io { path, source }),
        }
    }

    /// Writes zeros over a file and removes it; `false` if it was not there. Durable after [`Folder::sync`].
    ///
    /// The zeros are what can be done from here: snapshots and the spare blocks of a flash disk may keep the old bytes.
    pub(crate) fn destroy(&self, name: &str) -> Result<bool, FolderError> {
        let path = self.path.join(name);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(refused(&path, errno)),
        };
        let stat = rustix::fs::fstat(&fd).map_err(|errno| refused(&path, errno))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(FolderError::Kind { path, want: "file" });
        }
        let length = usize::try_from(stat.st_size).unwrap_or(0).min(LONGEST as usize);
        let mut file = File::from(fd);
        let written = file.write_all(&vec![0; length]).and_then(|()| file.sync_all());
        written.map_err(|source| FolderError::Io { path: path.clone(), source })?;
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).map_err(|errno| refused(&path, errno))?;
        Ok(true)
    }

    /// Makes the folder's entries durable.
    pub(crate) fn sync(&self) -> Result<(), FolderError> {
        rustix::fs::fsync(&self.fd).map_err(|errno| refused(&self.path, errno))
    }

    /// The path of a file in here, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Makes a folder whole or not at all: `fill` writes into a folder beside `path`, which takes its name only when all is durable.
/// An empty folder at `path` is replaced; anything else there is refused and left alone.
pub(crate) fn create_whole<E: From<FolderError>>(
    path: &Path,
    nonce: &str,
    fill: impl FnOnce(&Folder) -> Result<(), E>,
) -> Result<(), E> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let beside = parent.join(format!(".keys-{nonce}"));
    make(CWD, &beside, &beside)?;
    let made = fill_and_rename(path, parent, &beside, fill);
    if made.is_err() {
        // The cause is what the caller must hear of; a leftover holds keys that nothing ever used.
        let _ = std::fs::remove_dir_all(&beside);
    }
    made
}

fn fill_and_rename<E: From<FolderError>>(
    path: &Path,
    parent: &Path,
    beside: &Path,
    fill: impl FnOnce(&Folder) -> Result<(), E>,
) -> Result<(), E> {
    let folder = Folder::open(beside)?;
    fill(&folder)?;
    folder.sync()?;
    // rename(2) replaces an empty folder and refuses a full one, a file and a link: no check before it could be as sure.
    rustix::fs::rename(beside, path).map_err(|errno| match errno {
        Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR => FolderError::Exists { path: path.to_owned() },
        Errno::BUSY | Errno::XDEV => FolderError::Mounted { path: path.to_owned() },
        other => refused(path, other),
    })?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let synced = rustix::fs::open(parent, flags, Mode::empty()).and_then(rustix::fs::fsync);
    synced.map_err(|errno| E::from(refused(parent, errno)))
}

fn make(at: impl std::os::fd::AsFd, name: &Path, path: &Path) -> Result<(), FolderError> {
    let mode = Mode::from_raw_mode(0o700);
    rustix::fs::mkdirat(&at, name, mode).map_err(|errno| refused(path, errno))?;
    // The umask may have taken rights from the owner. Through the open folder, so that no link put in its place is followed.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(&at, name, flags, Mode::empty()).map_err(|errno| refused(path, errno))?;
    rustix::fs::fchmod(fd, mode).map_err(|errno| refused(path, errno))
}

/// The owner must be who runs this, and nobody else may have any right.
fn owned_and_closed(path: &Path, stat: &rustix::fs::Stat, want: u32) -> Result<(), FolderError> {
    let runner = rustix::process::geteuid().as_raw();
    if stat.st_uid != runner {
        return Err(FolderError::ForeignOwner { path: path.to_owned(), owner: stat.st_uid, runner });
    }
    let mode = stat.st_mode & 0o7777;
    if mode & 0o077 != 0 {
        return Err(FolderError::Loose { path: path.to_owned(), mode, want });
    }
    Ok(())
}

fn refused(path: &Path, errno: Errno) -> FolderError {
    let path = path.to_owned();
    match errno {
        Errno::NOENT => FolderError::Missing { path },
        Errno::EXIST => FolderError::Exists { path },
        other => FolderError::Io { path, source: other.into() },
    }
}
