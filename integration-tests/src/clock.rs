//! A clock of the scene's own: the bastion and its operators live by it, this machine and the targets do not.
//! It never touches the machine's clock, nor any clock that does not go back.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Rig;

/// How far it is from this machine's, in seconds.
const CLOCK: &str = "clock";

/// Makes a scene have a clock of its own.
pub(crate) fn begin(folder: &Path) {
    set(&folder.join(CLOCK), 0);
}

/// The bastion reads the clock each time anew, so that it can jump while it runs.
pub(crate) fn lend_to_bastion(command: &mut Command, folder: &Path) {
    let file = folder.join(CLOCK);
    if file.exists() {
        command.env("FAKETIME_TIMESTAMP_FILE", file).env("FAKETIME_NO_CACHE", "1");
        preload(command);
    }
}

/// A client keeps the clock it begins with.
pub(crate) fn lend_to_client(command: &mut Command, folder: &Path) {
    if let Ok(offset) = std::fs::read_to_string(folder.join(CLOCK)) {
        command.env("FAKETIME", offset.trim());
        preload(command);
    }
}

fn preload(command: &mut Command) {
    let machine = std::env::consts::ARCH;
    let library = PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketime.so.1"));
    assert!(library.exists(), "libfaketime is missing: integration-tests/run installs it");
    command.env("LD_PRELOAD", library).env("DONT_FAKE_MONOTONIC", "1");
}

/// Renamed into place, so that it is never read half written.
fn set(file: &Path, seconds: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{seconds:+}\n")).unwrap();
    std::fs::rename(new, file).unwrap();
}

impl Rig {
    /// Sets the clock of the bastion and its operators, in seconds from this machine's.
    pub fn set_clock(&self, seconds: i64) {
        set(&self.path(CLOCK), seconds);
    }
}
