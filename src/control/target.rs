//! `target`: the servers of the access bundle, and whether they are who it says.
//! It never adds a target and never trusts a host key by itself: what `scan` prints is for a person to compare.

use policy::TargetName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ssh_key::HashAlg;

use super::Done;
use super::reply::{Reply, Trouble, unless_gone};
use super::report::{Form, List, or_dash};
use crate::bastion::Bastion;

/// What can be asked of targets.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetWord {
    /// Lists the targets of the bundle in force.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prints the host keys that a server shows, to compare and paste into a bundle.
    Scan {
        /// host, host:port or [address]:port.
        address: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Dials every target, or those named, and verifies host key and login.
    Check {
        /// Which; all when none is named.
        names: Vec<TargetName>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

impl TargetWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        match self {
            Self::List { .. } => None,
            // Both dial out.
            Self::Scan { .. } => Some("admin.target.scan"),
            Self::Check { .. } => Some("admin.target.check"),
        }
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::List { .. } => json!({}),
            Self::Scan { address, .. } => json!({ "address": address.chars().take(300).collect::<String>() }),
            Self::Check { names, .. } => json!({ "targets": names.iter().take(100).collect::<Vec<_>>() }),
        }
    }
}

pub(super) async fn run<R: Reply>(bastion: &Bastion, word: TargetWord, out: &mut R) -> Result<Done, Trouble> {
    match word {
        TargetWord::List { json } => list(bastion, json, out).await.map(|()| Done::Well),
        TargetWord::Scan { address, json } => scan(&address, json, out).await.map(|()| Done::Well),
        TargetWord::Check { names, json } => check(bastion, &names, json, out).await,
    }
}

async fn list<R: Reply>(bastion: &Bastion, json: bool, out: &mut R) -> Result<(), Trouble> {
    let bundle = bastion.access.bundle();
    let columns = &["name", "address", "accounts", "labels", "tenant", "owner"];
    let mut rows = List::new(Form::of(json), columns);
    for target in bundle.targets() {
        let labels: Vec<String> = target.labels().iter().map(|(k, v)| format!("{k}={v}")).collect();
        let accounts: Vec<String> = target.accounts().iter().map(ToString::to_string).collect();
        let value = json!({
            "name": target.name(), "address": target.address().to_string(), "accounts": accounts,
            "default_account": target.default_account(), "labels": target.labels(), "tenant": target.tenant(),
            "owner": target.owner(), "host_keys": target.host_keys(), "host_ca": target.host_ca(),
            "login": target.login().to_string(), "via": target.via(),
        });
        let cells = || {
            vec![
                target.name().to_string(),
                target.address().to_string(),
                accounts.join(","),
                labels.join(","),
                target.tenant().to_string(),
                or_dash(target.owner()),
            ]
        };
        rows.row(out, &value, cells).await?;
    }
    rows.end(out, "no targets; `bartizan access apply DIR` brings them").await
}

async fn scan<R: Reply>(address: &str, json: bool, out: &mut R) -> Result<(), Trouble> {
    let keys = unless_gone(out, crate::target::scan(address)).await??;
    if !json {
        out.err("bartizan: compare the fingerprints with the server's own before you trust them\n").await?;
    }
    let mut rows = List::new(if json { Form::Array } else { Form::Lines }, &[]);
    for key in keys {
        let (text, fingerprint) = (key.to_openssh()?, key.fingerprint(HashAlg::Sha256).to_string());
        if json {
            rows.row(out, &json!({ "key": text, "fingerprint": fingerprint }), Vec::new).await?;
        } else {
            out.err(&format!("# {fingerprint}\n")).await?;
            out.out(&format!("{text}\n")).await?;
        }
    }
    rows.end(out, "").await
}

async fn check<R: Reply>(
    bastion: &Bastion,
    names: &[TargetName],
    json: bool,
    out: &mut R,
) -> Result<Done, Trouble> {
    let bundle = bastion.access.bundle();
    if let Some(missing) = names.iter().find(|name| bundle.target(name).is_none()) {
        return Err(Trouble::said(format!("there is no target {missing}; see `bartizan target list`")));
    }
    let mut rows = List::new(Form::of(json), &["target", "account", "ok", "says"]);
    let mut all = true;
    for target in bundle.targets().filter(|t| names.is_empty() || names.contains(t.name())) {
        let account = target.default_account().or(target.accounts().first());
        let found = match account {
            Some(account) => unless_gone(out, crate::target::check(bastion, target, account)).await?,
            None => continue,
        };
        let (ok, says) = match found {
            Ok(reached) => (true, format!("{reached}: host key and login are right")),
            Err(error) => (false, Trouble::from(error).to_string()),
        };
        all &= ok;
        let value = json!({ "target": target.name(), "account": account, "ok": ok, "says": says });
        let mark = if ok { "ok" } else { "WRONG" };
        let account = or_dash(account);
        rows.row(out, &value, || vec![target.name().to_string(), account, mark.to_owned(), says]).await?;
    }
    rows.end(out, "no targets").await?;
    Ok(if all { Done::Well } else { Done::No })
}
