//! `doctor`: everything on this device that a login by it rests on, each with what to do when it does not hold.
//! It never connects to the bastion, and never changes anything.

mod resolved;
mod route;
mod trace;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::behind::Behind;
use crate::config::Config;
use crate::control::{self, Ask};
use crate::environment::{Clock, Environment};
use crate::facts::Snapshot;
use crate::serve::Agent;
use crate::ssh;
use crate::wire::Identities;

/// SSH_AGENTC_REQUEST_IDENTITIES.
const REQUEST_IDENTITIES: &[u8] = &[11];
const PATIENCE: Duration = Duration::from_secs(10);
/// The first OpenSSH that tells its agent which connection it is for.
const FIRST_BINDING: (u32, u32) = (8, 9);

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub check: String,
    /// Whether it holds.
    pub ok: bool,
    /// How it is, and what to do where it does not hold.
    pub said: String,
    /// The file of the line that decides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The number of that line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Check {
    fn new(check: impl Into<String>, ok: bool, said: impl Into<String>) -> Self {
        Self { check: check.into(), ok, said: said.into(), file: None, line: None }
    }
}

/// Looks at everything. `ssh_config` is given to `ssh -F` where it is named; `hosts` are looked at as targets besides those of
/// the configuration.
pub async fn examine(
    dir: &Path,
    environment: &Environment,
    clock: Arc<dyn Clock>,
    ssh_config: Option<&Path>,
    hosts: &[String],
) -> Vec<Check> {
    let agent = match Agent::open(dir, environment.agent.as_deref(), clock) {
        Ok(agent) => agent,
        Err(why) => return vec![Check::new("enrolment", false, why.to_string())],
    };
    let config = agent.config();
    let enrolled = format!("device {} of {}, for {}", config.device, config.owner, config.bastion.host);
    let mut checks = vec![Check::new("enrolment", true, enrolled)];
    checks.push(running(dir, config).await);
    checks.extend(own_agent(agent.own_agent()).await);
    checks.extend(facts(dir, &agent).await);
    checks.push(version().await);
    checks.extend(route::bastion(dir, config, ssh_config).await);
    for host in config.targets.iter().chain(hosts) {
        checks.extend(route::target(config, ssh_config, host).await);
    }
    checks
}

async fn running(dir: &Path, config: &Config) -> Check {
    let path = config.socket_in(dir);
    let there = timeout(PATIENCE, UnixStream::connect(&path)).await.is_ok_and(|stream| stream.is_ok());
    let said = if there {
        format!("answers at {}", path.display())
    } else {
        format!(
            "nobody answers at {}; start it with `systemctl --user start bartizan-agent` or `bartizan-agent run`",
            path.display()
        )
    };
    Check::new("agent", there, said)
}

async fn own_agent(path: Option<&Path>) -> Option<Check> {
    let path = path?;
    let answer = Behind::at(Some(path)).ask(REQUEST_IDENTITIES).await;
    let keys = answer.and_then(|answer| Identities::parse(&answer).ok());
    Some(match keys {
        Some(keys) => Check::new("own agent", true, format!("{} keys at {}", keys.count(), path.display())),
        None => {
            let said = format!(
                "nobody answers at {}; start it, or write another path as `agent` in agent.toml",
                path.display()
            );
            Check::new("own agent", false, said)
        }
    })
}

async fn facts(dir: &Path, agent: &Agent) -> Vec<Check> {
    let snapshot = match control::ask(dir, Ask::Facts).await {
        Ok(snapshot) => Ok(snapshot),
        Err(_) => agent.collect().await.map_err(|why| why.to_string()),
    };
    match snapshot {
        Ok(snapshot) => agent.config().facts.iter().map(|table| fact(*table, &snapshot)).collect(),
        Err(why) => vec![Check::new("facts", false, why)],
    }
}

fn fact(table: posture::report::Table, snapshot: &Snapshot) -> Check {
    let rows =
        serde_json::to_value(&snapshot.facts).ok().and_then(|facts| facts.get(table.as_str()).cloned());
    match rows {
        Some(rows) => Check::new(format!("fact {table}"), true, rows.to_string()),
        None => Check::new(
            format!("fact {table}"),
            false,
            "it cannot be told on this system; ask your administrator",
        ),
    }
}

async fn version() -> Check {
    let said = match ssh::run::<&str>(None, &["-V"], PATIENCE).await {
        Ok(said) => said.err.trim().to_owned(),
        Err(why) => return Check::new("ssh", false, why.to_string()),
    };
    let ok = release(&said).is_some_and(|release| release >= FIRST_BINDING);
    let remedy =
        if ok { "" } else { "; it does not tell agents what they sign for: install OpenSSH 8.9 or later" };
    Check::new("ssh", ok, format!("{}{remedy}", ssh::clean(&said)))
}

/// `OpenSSH_9.2p1 ...` to (9, 2).
fn release(said: &str) -> Option<(u32, u32)> {
    let (major, rest) = said.strip_prefix("OpenSSH_")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(release("OpenSSH_9.2p1 Debian-2, OpenSSL 3"), Some((9, 2)));
        assert!(release("OpenSSH_10.0p1").unwrap() >= FIRST_BINDING);
        assert!(release("OpenSSH_8.4p1").unwrap() < FIRST_BINDING);
        assert_eq!(release("dropbear"), None);
    }
}
