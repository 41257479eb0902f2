//! What `ssh` would do for one host: its answer to `ssh -G`, and the line behind each part of it.
//! It never reads the configuration but by `ssh` itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::trace::{Line, Trace};
use crate::ssh::{self, SshError};

const PATIENCE: Duration = Duration::from_secs(20);

/// The configuration of one host.
#[derive(Debug)]
pub(crate) struct Resolved {
    values: BTreeMap<String, String>,
    said: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResolveError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error("`ssh -G {host}` refused: {said}")]
    Refused { host: String, said: String },
}

impl Resolved {
    /// Asks `ssh`, with this file alone where one is named. `host` has been checked to be a host name.
    pub(crate) async fn of(host: &str, ssh_config: Option<&Path>) -> Result<Self, ResolveError> {
        let said = ssh::run(ssh_config, &["-vvv", "-G", host], PATIENCE).await?;
        if said.status != Some(0) {
            let last = said.err.lines().rfind(|line| !line.starts_with("debug")).unwrap_or_default();
            return Err(ResolveError::Refused { host: host.to_owned(), said: ssh::clean(last) });
        }
        let mut values = BTreeMap::new();
        for (key, value) in said.out.lines().filter_map(|line| line.split_once(' ')) {
            values.entry(key.to_owned()).or_insert_with(|| value.trim().to_owned());
        }
        Ok(Self { values, said: said.err })
    }

    /// The value of an option, by `ssh -G`'s name for it.
    pub(crate) fn value(&self, option: &str) -> Option<&str> {
        self.values.get(option).map(String::as_str)
    }

    /// The line that decides any of these options.
    pub(crate) fn line(&self, options: &[&str]) -> Option<Line> {
        Trace::parse(&self.said).winner(options)
    }
}
