//! `os_version` from os-release(5).
//! It never guesses: without `ID` there is no row.

use std::path::Path;

use posture::report::{OsVersion, Text};

pub(super) fn collect(root: &Path) -> Option<Vec<OsVersion>> {
    let text = super::text(root, "etc/os-release").or_else(|| super::text(root, "usr/lib/os-release"))?;
    let platform = Text::fitted(&value(&text, "ID")?)?;
    // A rolling distribution has no version.
    let version = value(&text, "VERSION_ID").and_then(|version| Text::fitted(&version));
    Some(vec![OsVersion { platform, version: version.or_else(|| Text::fitted("rolling"))? }])
}

/// The value of a shell-like assignment, without its quotes.
pub(super) fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim().trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        std::fs::write(folder.path().join("etc/os-release"), text).unwrap();
        let row = collect(folder.path())?.pop()?;
        Some((row.platform.as_str().to_owned(), row.version.as_str().to_owned()))
    }

    #[test]
    fn name_and_version_are_read_with_and_without_quotes() {
        assert_eq!(read("NAME=x\nVERSION_ID=\"12\"\nID=debian\n"), Some(("debian".into(), "12".into())));
        assert_eq!(read("ID='arch'\n"), Some(("arch".into(), "rolling".into())));
        assert_eq!(read("NAME=x\n"), None);
    }

    #[test]
    fn this_machine_has_one() {
        assert!(collect(Path::new("/")).is_some());
    }
}
