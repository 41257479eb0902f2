//! Programs that `integration-tests/run` installs beside the build: an auditor and clients that are written in Python or
//! JavaScript.
//! It never installs anything itself.

use std::path::PathBuf;

/// A program of the Python place, such as `ssh-audit` or `python`.
///
/// # Panics
/// When it was not installed: `integration-tests/run`.
pub fn python_tool(name: &str) -> PathBuf {
    place(&format!("python/bin/{name}"))
}

/// Where the packages for Node are.
///
/// # Panics
/// When they were not installed: `integration-tests/run`.
pub fn node_packages() -> PathBuf {
    place("node/node_modules")
}

fn place(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let path = own.ancestors().nth(3).unwrap().join("tools").join(name);
    assert!(path.exists(), "{} is missing: integration-tests/run installs it", path.display());
    path
}
