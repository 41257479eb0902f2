//! Room that is kept for the log's last words: a file that is empty, takes up disk, and is given up when the disk is full.
//!
//! Never stands between the log and its work: where there is no room for it the log goes on without, and [`has_reserve`] says so.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Enough to say of a thousand channels how they ended.
const SIZE: u64 = 4 * 1024 * 1024;
/// What must be free before it is made: the room it takes, and as much again, so that it is not taken from who was just
/// given it.
const FREE: u64 = 2 * SIZE;

/// Whether the log in `dir` has its reserve. Without one the disk is full, or nearly: nothing new should begin.
pub fn has_reserve(dir: &Path) -> bool {
    // Blocks are of 512 bytes, whatever the disk's are.
    let taken = |file: &Metadata| file.len().max(file.blocks().saturating_mul(512));
    std::fs::metadata(path(dir)).is_ok_and(|reserve| reserve.is_file() && taken(&reserve) >= SIZE)
}

fn path(dir: &Path) -> PathBuf {
    dir.join("reserve")
}

/// The reserve of one open log.
pub(super) struct Reserve {
    dir: PathBuf,
}

impl Reserve {
    /// Takes the reserve of the log in `dir`, and makes it where there is room.
    pub(super) fn take(dir: &Path) -> Self {
        let reserve = Self { dir: dir.to_owned() };
        reserve.keep();
        reserve
    }

    /// Makes it again once there is room, whoever took it away.
    pub(super) fn keep(&self) {
        if !has_reserve(&self.dir) && self.has_room() && self.make().is_err() {
            let _ = std::fs::remove_file(path(&self.dir));
        }
    }

    /// Gives it up; false when there was none left.
    pub(super) fn give_up(&self) -> bool {
        std::fs::remove_file(path(&self.dir)).is_ok()
    }

    fn has_room(&self) -> bool {
        rustix::fs::statvfs(&self.dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= FREE)
    }

    fn make(&self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path(&self.dir))?;
        match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, 0, SIZE) {
            Ok(()) if has_reserve(&self.dir) => Ok(()),
            Ok(()) | Err(Errno::OPNOTSUPP) => fill(&mut file),
            Err(why) => Err(why.into()),
        }
    }
}

/// For file systems that reserve nothing by a call, or do not tell.
fn fill(file: &mut File) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(SIZE), file)?;
    file.sync_data()
}
