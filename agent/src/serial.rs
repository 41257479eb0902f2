//! The number of each certificate: always greater than the one before, and on disk before it is used.
//! It never gives a number twice, also when two agents share a folder, the clock is set back or the machine loses power.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::files::{self, FileError};

const NAME: &str = "serial";

/// The numbers of one device.
#[derive(Debug, Clone)]
pub(crate) struct Serials {
    dir: PathBuf,
}

impl Serials {
    pub(crate) fn of(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// A number that was never given before.
    ///
    /// It is never less than the time in seconds: a folder that was lost or brought back from a copy goes on above what the
    /// bastion has seen, and parallel logins stay within the bastion's window.
    pub(crate) fn next(&self, now: u64) -> Result<u64, FileError> {
        let path = self.dir.join(NAME);
        let lock = File::open(&self.dir).map_err(FileError::io(&self.dir))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|why| FileError::io(&self.dir)(why.into()))?;
        let next = self.last()?.saturating_add(1).max(now).max(1);
        files::replace(&path, format!("{next}\n").as_bytes(), 0o600)?;
        Ok(next)
    }

    /// The number given last; 0 for none, also where the file holds no number any more.
    pub(crate) fn last(&self) -> Result<u64, FileError> {
        match files::read_text(&self.dir.join(NAME), 32) {
            Ok(text) => Ok(text.trim().parse().unwrap_or(0)),
            Err(why) if why.is_missing() => Ok(0),
            Err(why) => Err(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_grow_whatever_the_clock_does() {
        let folder = tempfile::tempdir().unwrap();
        let serials = Serials::of(folder.path());
        let given: Vec<u64> = [100, 100, 50, 0, 200].map(|now| serials.next(now).unwrap()).to_vec();
        assert_eq!(given, [100, 101, 102, 103, 200]);
        assert_eq!(serials.last().unwrap(), 200);
    }

    #[test]
    fn a_lost_or_broken_file_goes_on_at_the_time() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "garbage").unwrap();
        assert_eq!(Serials::of(folder.path()).next(1000).unwrap(), 1000);
    }

    #[test]
    fn two_agents_on_one_folder_never_give_the_same_number() {
        let folder = tempfile::tempdir().unwrap();
        let given = |_| {
            let serials = Serials::of(folder.path());
            (0..20).map(|_| serials.next(5).unwrap()).collect::<Vec<_>>()
        };
        let all: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|at| scope.spawn(move || given(at))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
