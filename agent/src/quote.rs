//! Paths as `ssh_config`, `known_hosts` and systemd read them.
//! It never writes down a path that could be read as more than one.

use std::path::{Path, PathBuf};

/// A path that cannot be written into a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} holds a character that a configuration file cannot; choose another --dir", .0.display())]
pub struct QuoteError(PathBuf);

/// For ssh_config(5): in quotes, with `%` doubled where tokens are expanded. Patterns would be followed by `Include`.
pub(crate) fn for_ssh(path: &Path) -> Result<String, QuoteError> {
    Ok(format!("\"{}\"", plain(path)?.replace('%', "%%")))
}

/// The same for `Include`, which expands patterns but no tokens.
pub(crate) fn for_include(path: &Path) -> Result<String, QuoteError> {
    Ok(format!("\"{}\"", plain(path)?))
}

/// For systemd.service(5), `ExecStart`.
pub(crate) fn for_systemd(path: &Path) -> Result<String, QuoteError> {
    Ok(format!("\"{}\"", plain(path)?.replace('%', "%%").replace('$', "$$")))
}

fn plain(path: &Path) -> Result<&str, QuoteError> {
    let fits = |text: &&str| !text.chars().any(|c| c.is_control() || "\"'\\*?[]{}".contains(c));
    path.to_str().filter(fits).ok_or_else(|| QuoteError(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_path() {
        let path = Path::new("/home/a b/100%/$x");
        assert_eq!(for_ssh(path).unwrap(), "\"/home/a b/100%%/$x\"");
        assert_eq!(for_include(path).unwrap(), "\"/home/a b/100%/$x\"");
        assert_eq!(for_systemd(path).unwrap(), "\"/home/a b/100%%/$$x\"");
        for odd in ["/a\"b", "/a\nHost *", "/a*", "/a\\"] {
            assert!(for_ssh(Path::new(odd)).is_err(), "{odd:?}");
        }
    }
}
