//! The device's facts, collected in the background so that a login never waits for them, and never older than five minutes.
//! It never judges a fact, and never sends one that the configuration does not name.

mod command;
mod disk;
mod firewall;
mod os;
mod osquery;
mod patches;
mod processes;
mod screenlock;
mod secureboot;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use posture::certificate::OLDEST_FACTS;
use posture::report::{Facts, Source, Table};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::files::{self, FileError};

/// How often facts are collected: a fresh set is there before the old one is too old.
pub(crate) const EVERY: Duration = Duration::from_secs(4 * 60);
/// The largest file of facts.
const LARGEST_FILE: u64 = posture::report::LARGEST as u64;

/// Facts, and where and when they are from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Unix seconds.
    pub collected_at: u64,
    /// Where they are from.
    pub source: Source,
    /// Only those that the configuration names.
    pub facts: Facts,
}

/// Why there are no facts. A collector that finds nothing is not among them: its table is left out.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The file that stands for the collectors cannot be read.
    #[error("facts_from: {0}")]
    File(#[from] FileError),
    /// Or is no file of facts.
    #[error("facts_from: {} is not the JSON of facts: {why}; write it as `bartizan-agent show` does", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Why.
        why: serde_json::Error,
    },
}

/// Collects.
#[derive(Debug)]
pub(crate) struct Collector {
    wanted: BTreeSet<Table>,
    processes: Vec<String>,
    from: Option<PathBuf>,
    root: PathBuf,
    patches: patches::Cache,
}

impl Collector {
    /// For what this configuration names.
    pub(crate) fn new(dir: &Path, config: &Config) -> Self {
        Self {
            wanted: config.facts.clone(),
            processes: config.processes.clone(),
            from: config.facts_from.as_ref().map(|path| dir.join(path)),
            root: PathBuf::from("/"),
            patches: patches::Cache::default(),
        }
    }

    /// Collects what this configuration names from now on.
    fn follow(&mut self, dir: &Path, config: &Config) {
        let patches = std::mem::take(&mut self.patches);
        *self = Self { root: std::mem::take(&mut self.root), patches, ..Self::new(dir, config) };
    }

    /// Collects now (Unix seconds). Every command it runs is bounded in time and output.
    pub(crate) async fn collect(&self, now: u64) -> Result<Snapshot, FactsError> {
        if let Some(path) = &self.from {
            let text = files::read_text(path, LARGEST_FILE)?;
            let form = |why| FactsError::Form { path: path.clone(), why };
            let facts: Facts = serde_json::from_str(&text).map_err(form)?;
            return Ok(Snapshot { collected_at: now, source: Source::File, facts: facts.only(&self.wanted) });
        }
        let (mut facts, theirs) =
            tokio::join!(self.own(now), osquery::collect(&self.wanted, &self.processes));
        let source = if theirs.is_some() { Source::Osquery } else { Source::Own };
        if let Some(theirs) = theirs {
            facts.disk_encryption = theirs.disk_encryption.or(facts.disk_encryption);
            facts.secureboot = theirs.secureboot.or(facts.secureboot);
            facts.processes = theirs.processes.or(facts.processes);
        }
        Ok(Snapshot { collected_at: now, source, facts: facts.only(&self.wanted) })
    }

    async fn own(&self, now: u64) -> Facts {
        let root = self.root.as_path();
        let wants = |table| self.wanted.contains(&table);
        let mut facts = Facts::default();
        if wants(Table::OsVersion) {
            facts.os_version = os::collect(root);
        }
        if wants(Table::DiskEncryption) {
            facts.disk_encryption = disk::collect(root);
        }
        if wants(Table::Secureboot) {
            facts.secureboot = secureboot::collect(root);
        }
        // At once: after the machine has slept, a login waits for the slowest and not for all in turn.
        (facts.screenlock, facts.firewall, facts.patches) = tokio::join!(
            when(wants(Table::Screenlock), screenlock::collect(root)),
            when(wants(Table::Firewall), firewall::collect(root)),
            when(wants(Table::Patches), self.patches.collect(root, now)),
        );
        if wants(Table::Processes) {
            facts.processes = processes::collect(root, &self.processes);
        }
        facts
    }
}

async fn when<T>(wanted: bool, collect: impl Future<Output = Option<T>>) -> Option<T> {
    if wanted { collect.await } else { None }
}

/// The latest facts, shared between the background and the logins.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Held while it collects: nobody collects what another is about to bring.
    collector: tokio::sync::Mutex<Collector>,
    latest: Mutex<Option<Snapshot>>,
}

impl Watch {
    pub(crate) fn new(collector: Collector) -> Self {
        Self { collector: tokio::sync::Mutex::new(collector), latest: Mutex::new(None) }
    }

    /// Facts that are not too old at this time (Unix seconds): the latest, or after a sleep of the machine new ones.
    pub(crate) async fn fresh(&self, now: u64) -> Result<Snapshot, FactsError> {
        if let Some(latest) = self.latest(now) {
            return Ok(latest);
        }
        let collector = self.collector.lock().await;
        // Whoever had the turn before may have brought them.
        match self.latest(now) {
            Some(latest) => Ok(latest),
            None => self.collect(&collector, now).await,
        }
    }

    /// Collects now.
    pub(crate) async fn refresh(&self, now: u64) -> Result<Snapshot, FactsError> {
        let collector = self.collector.lock().await;
        self.collect(&collector, now).await
    }

    /// Collects now what this configuration names, and nothing else from now on.
    pub(crate) async fn refresh_for(
        &self,
        dir: &Path,
        config: &Config,
        now: u64,
    ) -> Result<Snapshot, FactsError> {
        let mut collector = self.collector.lock().await;
        collector.follow(dir, config);
        // What is no longer wanted is not sent, also where nothing new can be had.
        *self.lock() = None;
        self.collect(&collector, now).await
    }

    async fn collect(&self, collector: &Collector, now: u64) -> Result<Snapshot, FactsError> {
        let snapshot = collector.collect(now).await?;
        *self.lock() = Some(snapshot.clone());
        Ok(snapshot)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Snapshot>> {
        self.latest.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn latest(&self, now: u64) -> Option<Snapshot> {
        let latest = self.lock();
        // A clock that was set back makes facts of the future: collect again.
        latest
            .clone()
            .filter(|snapshot| (snapshot.collected_at..=snapshot.collected_at + OLDEST_FACTS).contains(&now))
    }
}

/// A file below the root as text, as far as it can be read and is not absurdly large.
fn text(root: &Path, path: &str) -> Option<String> {
    files::read_text(&root.join(path), 1024 * 1024).ok()
}

#[cfg(test)]
mod tests;
