//! Where the answer to a word goes: standard output, or a file that is there whole or not at all.
//! It never takes the place of a file unless that was asked for, and never of anything but a file.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::say::SayError;

/// Where the answer goes.
pub(super) struct Sink {
    file: Option<Waiting>,
}

/// A file that is being written under another name beside its place.
struct Waiting {
    place: PathBuf,
    partial: PathBuf,
    file: File,
    replace: bool,
    whole: bool,
}

impl Sink {
    /// `None` is standard output.
    pub(super) fn open(path: Option<&Path>, replace: bool) -> Result<Self, SayError> {
        Ok(Self { file: path.map(|path| Waiting::open(path, replace)).transpose()? })
    }

    /// Whether it is a file.
    pub(super) fn is_file(&self) -> bool {
        self.file.is_some()
    }

    /// Whether anybody still reads.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<bool, SayError> {
        if let Some(waiting) = &mut self.file {
            let written = waiting.file.write_all(bytes);
            return written.map(|()| true).map_err(|why| refused(&waiting.place, why));
        }
        let mut handle = std::io::stdout().lock();
        match handle.write_all(bytes).and_then(|()| handle.flush()) {
            Ok(()) => Ok(true),
            Err(why) if why.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(why) => Err(SayError::Output { path: "standard output".to_owned(), why }),
        }
    }

    /// The answer is over, with this exit code.
    pub(super) fn finish(&mut self, code: u8) -> Result<(), SayError> {
        match &mut self.file {
            Some(waiting) if code == 0 => waiting.put(),
            _ => Ok(()),
        }
    }
}

impl Waiting {
    fn open(place: &Path, replace: bool) -> Result<Self, SayError> {
        match std::fs::symlink_metadata(place) {
            Ok(about) if !replace => {
                let what =
                    if about.is_file() { "it is there already" } else { "there is something of that name" };
                return Err(refused(place, std::io::Error::other(format!("{what}; name another file"))));
            }
            Ok(about) if !about.is_file() => {
                return Err(refused(place, std::io::Error::other("it is no file; name another")));
            }
            _ => {}
        }
        let name = place.file_name().unwrap_or_default().to_string_lossy();
        let partial = place.with_file_name(format!(".{name}.{}.partial", std::process::id()));
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
        let file = made.map_err(|why| refused(place, why))?;
        Ok(Self { place: place.to_owned(), partial, file, replace, whole: false })
    }

    fn put(&mut self) -> Result<(), SayError> {
        self.file.sync_all().map_err(|why| refused(&self.place, why))?;
        let moved = if self.replace {
            std::fs::rename(&self.partial, &self.place)
        } else {
            match renameat_with(CWD, &self.partial, CWD, &self.place, RenameFlags::NOREPLACE) {
                // A file system that cannot say it in one step.
                Err(Errno::INVAL | Errno::NOSYS) if !self.place.exists() => {
                    std::fs::rename(&self.partial, &self.place)
                }
                done => done.map_err(Into::into),
            }
        };
        moved.map_err(|why| refused(&self.place, why))?;
        self.whole = true;
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty());
        // The name lasts once the folder is on disk; where that cannot be asked for the file is whole all the same.
        let _ = File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Drop for Waiting {
    /// Half an answer is no file.
    fn drop(&mut self) {
        if !self.whole {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

fn refused(path: &Path, why: std::io::Error) -> SayError {
    SayError::Output { path: path.display().to_string(), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .expect("dir")
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn half_an_answer_leaves_no_file_and_a_whole_one_overwrites_none() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("out.cast");
        let mut sink = Sink::open(Some(&path), false).expect("open");
        sink.write(b"half").expect("write");
        assert!(!path.exists(), "it is not in its place before it is whole");
        drop(sink);
        let mut sink = Sink::open(Some(&path), false).expect("open");
        sink.finish(1).expect("finish");
        drop(sink);
        assert!(files(dir.path()).is_empty());
        let mut sink = Sink::open(Some(&path), false).expect("open");
        sink.write(b"whole\xff").expect("write");
        let mut late = Sink::open(Some(&dir.path().join("other")), false).expect("open");
        sink.finish(0).expect("finish");
        drop(sink);
        assert!(Sink::open(Some(&path), false).is_err());
        // One that came into being meanwhile is not overwritten either.
        std::fs::write(dir.path().join("other"), "mine").expect("write");
        assert!(late.finish(0).is_err());
        drop(late);
        assert_eq!(files(dir.path()), ["other", "out.cast"]);
        assert_eq!(std::fs::read(&path).expect("read"), b"whole\xff");
    }

    #[test]
    fn what_is_asked_for_takes_the_place_of_a_file_at_once_and_of_nothing_else() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("out");
        std::fs::write(&path, "old").expect("write");
        let mut sink = Sink::open(Some(&path), true).expect("open");
        sink.write(b"new").expect("write");
        assert_eq!(std::fs::read(&path).expect("read"), b"old");
        sink.finish(0).expect("finish");
        assert_eq!(std::fs::read(&path).expect("read"), b"new");
        assert!(Sink::open(Some(dir.path()), true).is_err());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("link");
        assert!(Sink::open(Some(&link), true).is_err());
    }
}
