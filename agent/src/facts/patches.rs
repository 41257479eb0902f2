//! `patches`: how many security updates wait, as apt or dnf already know, and when they last asked.
//! It never fetches anything, never changes anything, and never asks again while nothing can have changed.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use posture::report::{Number, Patches};

use super::command::output;

/// Simulating an upgrade may take long on a slow disk.
const PATIENCE: Duration = Duration::from_secs(30);
/// After this many seconds it asks again in any case.
const LONGEST: u64 = 60 * 60;

/// The last answer, and what it rested on.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Option<Known>>);

#[derive(Debug, Clone)]
struct Known {
    at: u64,
    stamps: [Option<u64>; 2],
    rows: Vec<Patches>,
}

/// A package system: its lists of what there is, its record of what is installed.
struct System {
    lists: &'static str,
    /// What changes when the lists are fetched, also where nothing new was found.
    fetched: [&'static str; 2],
    installed: &'static str,
}

const APT: System = System {
    lists: "var/lib/apt/lists",
    fetched: ["var/lib/apt/periodic/update-success-stamp", "var/lib/apt/lists/partial"],
    installed: "var/lib/dpkg/status",
};
const DNF: System = System {
    lists: "var/cache/dnf",
    fetched: ["var/cache/dnf/last_makecache", "var/cache/libdnf5"],
    installed: "var/lib/rpm",
};

impl Cache {
    pub(super) async fn collect(&self, root: &Path, now: u64) -> Option<Vec<Patches>> {
        let (system, is_apt) = match (root.join(APT.installed).exists(), root.join(DNF.installed).exists()) {
            (true, _) => (APT, true),
            (false, true) => (DNF, false),
            (false, false) => return None,
        };
        let stamps = [changed(&root.join(system.lists)), changed(&root.join(system.installed))];
        if let Some(rows) = self.known(now, stamps) {
            return Some(rows);
        }
        let pending = if is_apt { apt().await? } else { dnf().await? };
        let fetched = system.fetched.iter().filter_map(|path| changed(&root.join(path)));
        let checked = fetched.chain(stamps[0]).max().unwrap_or(0);
        let number = |count: u64| i64::try_from(count).map(Number).ok();
        let rows = vec![Patches { pending_security: number(pending)?, checked_at: number(checked)? }];
        let known = Known { at: now, stamps, rows: rows.clone() };
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(known);
        Some(rows)
    }

    fn known(&self, now: u64, stamps: [Option<u64>; 2]) -> Option<Vec<Patches>> {
        let known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let known = known.as_ref().filter(|known| known.stamps == stamps)?;
        now.checked_sub(known.at).filter(|age| *age < LONGEST).map(|_| known.rows.clone())
    }
}

/// When a file or folder last changed, Unix seconds.
fn changed(path: &Path) -> Option<u64> {
    let changed = std::fs::metadata(PathBuf::from(path)).ok()?.modified().ok()?;
    Some(changed.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

async fn apt() -> Option<u64> {
    let arguments = ["-s", "-qq", "-o", "Debug::NoLocking=true", "dist-upgrade"];
    let printed = output("apt-get", &arguments, PATIENCE).await?;
    printed.succeeded.then(|| from_security(&printed.text))
}

/// `Inst name [old] (new Debian-Security:12/stable-security [amd64])`: those that a security archive brings.
fn from_security(simulated: &str) -> u64 {
    let is_security = |line: &&str| {
        let archive =
            line.strip_prefix("Inst ").and_then(|line| line.split_once('(')).map(|(_, archive)| archive);
        archive.is_some_and(|archive| archive.to_ascii_lowercase().contains("-security"))
    };
    simulated.lines().filter(is_security).count() as u64
}

async fn dnf() -> Option<u64> {
    let arguments = ["-q", "-C", "updateinfo", "list", "--updates", "--security"];
    let printed = output("dnf", &arguments, PATIENCE).await?;
    printed.succeeded.then(|| advisories(&printed.text))
}

/// `RHSA-2026:1234 Important/Sec. name-1.2-3.x86_64`, one line a package.
fn advisories(list: &str) -> u64 {
    let is_one = |line: &&str| line.split_whitespace().nth(2).is_some() && line.contains("Sec.");
    list.lines().filter(is_one).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_security_archive_brings_counts() {
        let simulated = "Inst libc6 [2.36-9] (2.36-9+deb12u13 Debian-Security:12/stable-security [amd64])\n\
            Inst tzdata [2025a] (2025b Debian:12.11/stable [all])\n\
            Inst openssl [3.0.2] (3.0.3 Ubuntu:22.04/jammy-updates, Ubuntu:22.04/jammy-security [amd64])\n\
            Conf libc6 (2.36-9+deb12u13 Debian-Security:12/stable-security [amd64])\n";
        assert_eq!(from_security(simulated), 2);
        assert_eq!(from_security(""), 0);
    }

    #[test]
    fn every_security_advisory_counts() {
        let list = "RHSA-2026:1234 Important/Sec. openssl-3.2.2-1.x86_64\nRHSA-2026:9 Low/Sec.       vim-9-1.x86_64\n\n";
        assert_eq!(advisories(list), 2);
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_something_changes() {
        let cache = Cache::default();
        let root = Path::new("/");
        let Some(rows) = cache.collect(root, 1000).await else { return };
        let stamps = [changed(&root.join(APT.lists)), changed(&root.join(APT.installed))];
        assert_eq!(cache.known(1000 + LONGEST - 1, stamps), Some(rows));
        assert_eq!(cache.known(1000 + LONGEST, stamps), None);
        assert_eq!(cache.known(1001, [None, None]), None);
        assert_eq!(cache.known(999, stamps), None);
    }
}
