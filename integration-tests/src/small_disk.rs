//! A disk of a few megabytes under the bastion's folder, that can be filled to the last page.
//! It never outlives its scene.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::Rig;

/// A mounted tmpfs.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of this many megabytes at `path`.
    pub(crate) fn mount(path: &Path, megabytes: u64) -> Self {
        std::fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={megabytes}m,mode=0700"), "none"]).arg(path);
        assert!(mount.status().unwrap().success(), "mount needs root");
        Self { path: path.to_owned() }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

impl Rig {
    /// Fills the disk of the bastion but for this many bytes.
    pub fn fill_disk(&self, but: u64) {
        let filler = File::options().create(true).append(true).open(self.filler()).unwrap();
        let room = self.room_on_disk().saturating_sub(but) / 4096 * 4096;
        if room > 0 {
            let from = filler.metadata().unwrap().len();
            fallocate(&filler, FallocateFlags::empty(), from, room).unwrap();
        }
    }

    /// Gives all of it back.
    pub fn free_disk(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }

    /// How many bytes are free.
    pub fn room_on_disk(&self) -> u64 {
        let disk = statvfs(self.state()).unwrap();
        disk.f_bavail * disk.f_frsize
    }

    fn filler(&self) -> PathBuf {
        self.state().join("filler")
    }
}
