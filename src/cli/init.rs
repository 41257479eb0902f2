//! `bartizan init`: a directory with keys, configuration, an empty store and an empty log.
//! It never touches a directory that holds anything.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use keys::Keys;

use super::directory::DirectoryError;
use crate::bastion::Bastion;
use crate::config::{self, Config};
use crate::control::lock::{self, Lock};

/// The configuration of a fresh directory: every key with its default, to be changed in place.
pub(super) const CONFIG: &str = r#"# Bartizan. Every key has this default; unknown keys are refused.

[ssh]
# listen = ["127.0.0.1:2222"]
# names = ["bastion.example"]     # for the host certificate
# profile = "compatible"          # or "strict": post-quantum key exchange only
# login_grace = "120s"
# max_channels = 64
# max_connections = 10000
# max_unauthenticated = 100
# idle_timeout = "1h"
# banner = "..."

[store]
# url = "sqlite:bartizan.db"

[recording]
# mode = "strict"
# flush = "20ms"
# input = false                   # typed input holds passwords too
# max = "256MiB"

[audit]
# checkpoint = "1s"

[device]
# require = "managed"             # or "any"
# evidence = "bound"              # a proof bound to the connection; "key": a plain device key is enough

[admin]
# listen = "127.0.0.1:2280"
"#;

/// Why there is no new directory.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// One is there.
    #[error("{} is a bartizan directory already; use it with `bartizan serve`, or name another with --dir", .0.display())]
    Exists(PathBuf),
    /// Something else is there.
    #[error("{} is there and not empty; name a new directory with --dir", .0.display())]
    NotEmpty(PathBuf),
    /// It is not the caller's.
    #[error("{} belongs to somebody else or may be written by others; name another with --dir", .0.display())]
    Loose(PathBuf),
    /// The system refused.
    #[error("{} cannot be made: {why}; name another with --dir", .path.display())]
    Refused {
        /// What was to be made.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The keys.
    #[error(transparent)]
    Keys(#[from] keys::CreateError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Makes the directory; `text` becomes its `bartizan.toml`.
pub(super) async fn init(dir: &Path, text: &str) -> Result<(), InitError> {
    let config = Config::parse(dir, text).map_err(DirectoryError::from)?;
    room(dir)?;
    let lock = Lock::take(dir).map_err(DirectoryError::from)?;
    Keys::create(&config.keys_dir())?;
    // Opening makes what is not there: the store, the log, the folder of recordings.
    let bastion = Bastion::open(config).await.map_err(DirectoryError::from)?;
    bastion.audit.stop().await;
    bastion.store.close().await;
    // Last, because a directory with this file is a whole one.
    write(&dir.join(config::FILE), text)?;
    drop(lock);
    Ok(())
}

/// A directory that is the caller's alone and empty.
fn room(dir: &Path) -> Result<(), InitError> {
    let refused = |why| InitError::Refused { path: dir.to_owned(), why };
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(refused)?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(()),
        Err(why) if why.kind() != ErrorKind::AlreadyExists => return Err(refused(why)),
        Err(_) => {}
    }
    if dir.join(config::FILE).exists() {
        return Err(InitError::Exists(dir.to_owned()));
    }
    let about = std::fs::metadata(dir).map_err(refused)?;
    // A crowd that waits for the same directory may have made the lock, which is nobody's work.
    let used =
        std::fs::read_dir(dir).map_err(refused)?.flatten().any(|entry| entry.file_name() != lock::FILE);
    match () {
        () if !about.is_dir() || used => Err(InitError::NotEmpty(dir.to_owned())),
        () if about.uid() != rustix::process::geteuid().as_raw() || about.mode() & 0o022 != 0 => {
            Err(InitError::Loose(dir.to_owned()))
        }
        () => Ok(()),
    }
}

/// A new file that its owner alone may read, on disk when this returns.
pub(super) fn write(path: &Path, text: &str) -> Result<(), InitError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
    .map_err(|why| InitError::Refused { path: path.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_configuration_is_the_default_with_and_without_its_comment_signs() {
        let plain = Config::parse(Path::new("/x"), CONFIG).expect("as written");
        let uncommented: String = CONFIG
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| rest.contains(" = ")).unwrap_or(line))
            .filter(|line| {
                !line.starts_with("names")
                    && !line.starts_with("banner")
                    && !line.starts_with("listen = \"127.0.0.1:2280")
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let spelled = Config::parse(Path::new("/x"), &uncommented).expect("spelled out");
        assert_eq!(format!("{plain:?}"), format!("{spelled:?}"));
    }

    #[test]
    fn a_directory_that_holds_something_is_left_alone() {
        let dir = tempfile::tempdir().expect("dir");
        let mine = dir.path().join("mine");
        std::fs::create_dir(&mine).expect("mkdir");
        std::fs::write(mine.join("thesis.txt"), "years").expect("write");
        assert!(matches!(room(&mine), Err(InitError::NotEmpty(_))));
        std::fs::write(mine.join(config::FILE), "").expect("write");
        assert!(matches!(room(&mine), Err(InitError::Exists(_))));
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("write");
        assert!(room(&file).is_err());
    }
}
