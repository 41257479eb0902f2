//! `refresh`: hears from the bastion which facts it asks for, and has the running agent collect them now.
//! It never asks anybody but the bastion that was pinned, and never has a fact sent without naming it to whoever runs it.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use posture::report::Facts;
use posture::{FACTS_LOGIN, FactsWanted};

use super::errand::{self, Errand, ErrandError};
use crate::config::{Config, ConfigError};
use crate::control::{self, Ask, ControlError};
use crate::ssh;

/// Why the facts were not collected.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The running agent.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// Why it is not known which facts the bastion asks for now.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// It was not asked.
    #[error(transparent)]
    Errand(#[from] ErrandError),
    /// It could not be reached, or did not answer this device.
    #[error("{0}")]
    Refused(String),
    /// What it said is no list.
    #[error("its answer is no list of facts; update bartizan-agent")]
    Garbled,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Refreshed {
    /// What a login would send now.
    pub(super) facts: Facts,
    /// What has changed in what is asked for, a line each.
    pub(super) news: Vec<String>,
    /// The bastion could not be asked: what was asked for before was collected.
    pub(super) unheard: Option<Unheard>,
}

/// Refreshes by the agent that runs in this folder.
pub(super) async fn refresh(dir: &Path) -> Result<Refreshed, RefreshError> {
    let before = Config::read(dir)?;
    // Without it nobody would prove the device to the bastion, nor collect.
    control::ask(dir, Ask::Facts).await?;
    let (news, unheard) = match wanted(dir, &before).await {
        Ok(wanted) => {
            let news = news(&before, &wanted);
            let FactsWanted { facts, processes, .. } = wanted;
            let config = Config { facts, processes, ..before.clone() };
            if config != before {
                config.write(dir)?;
            }
            (news, None)
        }
        Err(why) => (Vec::new(), Some(why)),
    };
    let snapshot = control::ask(dir, Ask::Refresh).await?;
    Ok(Refreshed { facts: snapshot.facts, news, unheard })
}

/// Asks the bastion, as the device alone.
async fn wanted(dir: &Path, config: &Config) -> Result<FactsWanted, Unheard> {
    let errand = Errand {
        name: "refresh",
        bastion: &config.bastion,
        login: FACTS_LOGIN,
        command: FACTS_LOGIN,
        socket: &config.socket_in(dir),
    };
    let said = errand::run(dir, &errand).await?;
    if said.status == Some(0) {
        return FactsWanted::parse(said.out.trim()).map_err(|_| Unheard::Garbled);
    }
    let text = ssh::clean(said.err.trim());
    Err(Unheard::Refused(if text.is_empty() { "it gave no reason".to_owned() } else { text }))
}

fn news(before: &Config, wanted: &FactsWanted) -> Vec<String> {
    let programs = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let (old, new) = (programs(&before.processes), programs(&wanted.processes));
    let lines = [
        ("sent from now on", join(wanted.facts.difference(&before.facts))),
        ("no longer sent", join(before.facts.difference(&wanted.facts))),
        ("programs looked for from now on", join(new.difference(&old))),
        ("programs no longer looked for", join(old.difference(&new))),
        ("asked for and not known here; update bartizan-agent", join(&wanted.unknown)),
    ];
    lines
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {names}"))
        .collect()
}

fn join(names: impl IntoIterator<Item = impl Display>) -> String {
    names.into_iter().map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}
