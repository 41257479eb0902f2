//! The one place that reads the environment, the clock and the system's randomness.
//! It never decides anything by them.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Unix seconds.
    fn unix(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that all others are told to take")]
    fn unix(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// What the environment says, read once.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `BARTIZAN_AGENT_DIR`.
    pub dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `SSH_AUTH_SOCK`: the person's own agent.
    pub agent: Option<PathBuf>,
}

impl Environment {
    /// As it is now.
    #[must_use]
    pub fn read() -> Self {
        Self {
            home: absolute("HOME"),
            dir: absolute("BARTIZAN_AGENT_DIR"),
            config_home: absolute("XDG_CONFIG_HOME"),
            agent: absolute("SSH_AUTH_SOCK"),
        }
    }

    /// The agent's folder: the one named, else `$BARTIZAN_AGENT_DIR`, else `bartizan-agent` in the person's configuration folder.
    #[must_use]
    pub fn directory(&self, named: Option<&Path>) -> PathBuf {
        if let Some(named) = named {
            return std::path::absolute(named).unwrap_or_else(|_| named.to_owned());
        }
        if let Some(dir) = &self.dir {
            return dir.clone();
        }
        let config = self.config_home.clone().or_else(|| Some(self.home.as_ref()?.join(".config")));
        config.unwrap_or_else(|| PathBuf::from("/")).join("bartizan-agent")
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the reader of the environment that all others are told to take"
)]
fn absolute(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Fills `bytes` from the operating system; false when it gives none.
pub(crate) fn random(bytes: &mut [u8]) -> bool {
    SystemRandom::new().fill(bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_named_then_the_environments_then_the_homes() {
        let home = || Environment { home: Some("/h".into()), ..Environment::default() };
        assert_eq!(home().directory(Some(Path::new("/x"))), Path::new("/x"));
        assert_eq!(home().directory(None), Path::new("/h/.config/bartizan-agent"));
        let config = Environment { config_home: Some("/c".into()), ..home() };
        assert_eq!(config.directory(None), Path::new("/c/bartizan-agent"));
        let set = Environment { dir: Some("/d".into()), ..config };
        assert_eq!(set.directory(None), Path::new("/d"));
    }

    #[test]
    fn two_draws_differ() {
        let (mut one, mut two) = ([0; 32], [0; 32]);
        assert!(random(&mut one) && random(&mut two));
        assert_ne!(one, two);
    }
}
