//! Programs that `integration-tests/run` installs beside the build: an auditor and clients that are written in Python.
//! It never installs anything itself.

use std::path::PathBuf;

/// A program of the Python place, such as `ssh-audit` or `python`.
///
/// # Panics
/// When it was not installed: `integration-tests/run`.
pub fn python_tool(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(3).unwrap().join("tools/python/bin").join(name);
    assert!(path.exists(), "{} is missing: integration-tests/run installs it", path.display());
    path
}
