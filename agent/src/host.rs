//! What the machine calls itself: name, boot, maker's number.
//! It never fails: what cannot be read is said to be unknown or left out.

use std::path::Path;

use posture::report::Text;

use crate::files;

/// The machine.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) name: Text,
    pub(crate) boot_id: Text,
    pub(crate) serial: Option<Text>,
}

impl Host {
    /// As it is, under this root: `/` but for tests.
    pub(crate) fn read(root: &Path) -> Option<Self> {
        let line = |path: &str| Text::fitted(&files::read_text(&root.join(path), 4096).ok()?);
        let unknown = Text::parse("unknown").ok()?;
        let name = rustix::system::uname().nodename().to_str().ok().and_then(Text::fitted);
        Some(Self {
            name: name.unwrap_or_else(|| unknown.clone()),
            boot_id: line("proc/sys/kernel/random/boot_id").unwrap_or(unknown),
            // Only root may read it; without it the inventory's own number stands.
            serial: line("sys/class/dmi/id/product_serial"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::read(folder.path()).unwrap();
        assert_eq!((host.boot_id.as_str(), host.serial), ("unknown", None));
        assert_ne!(Host::read(Path::new("/")).unwrap().boot_id.as_str(), "unknown");
    }
}
