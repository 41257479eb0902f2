//! `audit`: the log of everything that happened, to be read, followed and verified.
//! It never changes the log, and a text in it never commands the reader's terminal.

use jiff::Timestamp;
use ledger::log::{Entry, Filter, LogError, Reader, VerifierKey, VerifyError, tail, verify};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::mpsc;

use super::reply::{Heard, Reply, Trouble, unless_gone};
use super::report::{Form, List, counted, moment, or_dash};
use super::{Done, clean};
use crate::bastion::Bastion;

/// Entries read before anybody asks for them.
const AHEAD: usize = 64;
/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Which entries are wanted.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
pub struct Wanted {
    /// Whose type is or begins with this, such as channel.session or auth.
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Of this operator.
    #[arg(long)]
    operator: Option<String>,
    /// Of this target.
    #[arg(long)]
    target: Option<String>,
    /// Of this session.
    #[arg(long)]
    session: Option<String>,
    /// At this time or later, such as 2026-03-01T09:00:00Z.
    #[arg(long)]
    since: Option<Timestamp>,
    /// Before this time.
    #[arg(long)]
    until: Option<Timestamp>,
}

/// What can be asked of the log.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuditWord {
    /// Lists entries, oldest first; as JSON one object a line.
    List {
        /// Which.
        #[command(flatten)]
        wanted: Wanted,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows the last entries and then every new one, until interrupted.
    Tail {
        /// Which.
        #[command(flatten)]
        wanted: Wanted,
        /// How many old entries first.
        #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(0..=10_000))]
        lines: u16,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one entry in full.
    Show {
        /// Its place in the log.
        seq: u64,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Holds the log against its hashes and signed checkpoints.
    Verify {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

impl AuditWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        None
    }

    pub(super) fn facts(&self) -> Value {
        json!({})
    }
}

impl From<Wanted> for Filter {
    fn from(w: Wanted) -> Self {
        Self {
            kind: w.kind,
            operator: w.operator,
            target: w.target,
            session: w.session,
            since: w.since,
            until: w.until,
        }
    }
}

pub(super) async fn run<R: Reply>(bastion: &Bastion, word: AuditWord, out: &mut R) -> Result<Done, Trouble> {
    match word {
        AuditWord::List { wanted, json } => {
            list(bastion, wanted.into(), json, out).await.map(|()| Done::Well)
        }
        AuditWord::Tail { wanted, lines, json } => {
            follow(bastion, wanted.into(), lines, json, out).await.map(|()| Done::Well)
        }
        AuditWord::Show { seq, json } => show(bastion, seq, json, out).await.map(|()| Done::Well),
        AuditWord::Verify { json } => check(bastion, json, out).await,
    }
}

/// The key whose signatures count for this log.
pub(super) fn key(bastion: &Bastion) -> Result<VerifierKey, Trouble> {
    Ok(VerifierKey::new(&format!("{}/audit", bastion.audit.node()), bastion.keys.log_public())?)
}

const COLUMNS: &[&str] =
    &["seq", "time", "type", "outcome", "code", "operator", "account", "target", "reason"];

fn cells(entry: &Entry) -> Vec<String> {
    let e = &entry.event;
    vec![
        entry.seq.to_string(),
        moment(e.time),
        e.kind.clone(),
        or_dash(e.outcome.as_deref()),
        or_dash(e.code.as_deref()),
        or_dash(e.operator.as_deref()),
        or_dash(e.account.as_deref()),
        or_dash(e.target.as_deref()),
        e.reason.clone().unwrap_or_default(),
    ]
}

fn value(entry: &Entry) -> Result<Value, Trouble> {
    Ok(serde_json::from_str(&entry.json)?)
}

async fn list<R: Reply>(bastion: &Bastion, filter: Filter, json: bool, out: &mut R) -> Result<(), Trouble> {
    let dir = bastion.audit.log_dir().to_owned();
    let (give, mut entries) = mpsc::channel::<Result<Entry, LogError>>(AHEAD);
    tokio::task::spawn_blocking(move || {
        let reader = match Reader::open(&dir, filter) {
            Ok(reader) => reader,
            Err(error) => return drop(give.blocking_send(Err(error))),
        };
        for entry in reader {
            if give.blocking_send(entry).is_err() {
                return;
            }
        }
    });
    let mut rows = List::new(if json { Form::Lines } else { Form::Table }, COLUMNS);
    while let Some(entry) = entries.recv().await {
        let entry = entry?;
        if json {
            // The very text that was hashed.
            out.out(&format!("{}\n", clean::json(&entry.json))).await?;
        } else {
            rows.row(out, &(), || cells(&entry)).await?;
        }
    }
    rows.end(out, "no entries").await
}

async fn follow<R: Reply>(
    bastion: &Bastion,
    filter: Filter,
    lines: u16,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let dir = bastion.audit.log_dir().to_owned();
    let (old, mut reader) =
        tokio::task::spawn_blocking(move || tail(&dir, filter, usize::from(lines))).await??;
    for entry in &old {
        say(entry, json, out).await?;
    }
    loop {
        let (back, read) = tokio::task::spawn_blocking(move || {
            let read: Vec<_> = reader.by_ref().take(AHEAD).collect();
            (reader, read)
        })
        .await?;
        reader = back;
        let more = read.len() == AHEAD;
        for entry in read {
            say(&entry?, json, out).await?;
        }
        let wait = if more { Duration::ZERO } else { LOOK };
        if let Ok(Heard::Gone) = tokio::time::timeout(wait, out.heard()).await {
            return Err(Trouble::Gone);
        }
    }
}

async fn say<R: Reply>(entry: &Entry, json: bool, out: &mut R) -> Result<(), Trouble> {
    if json {
        return out.out(&format!("{}\n", clean::json(&entry.json))).await;
    }
    let line = cells(entry).join("  ");
    out.out(&format!("{}\n", clean::line(&line))).await
}

async fn show<R: Reply>(bastion: &Bastion, seq: u64, json: bool, out: &mut R) -> Result<(), Trouble> {
    let dir = bastion.audit.log_dir().to_owned();
    let found = tokio::task::spawn_blocking(move || -> Result<Option<Entry>, LogError> {
        for entry in Reader::open(&dir, Filter::default())? {
            let entry = entry?;
            if entry.seq >= seq {
                return Ok((entry.seq == seq).then_some(entry));
            }
        }
        Ok(None)
    })
    .await??;
    let entry =
        found.ok_or_else(|| Trouble::said(format!("there is no entry {seq}; see `bartizan audit list`")))?;
    if json {
        return out.out(&format!("{}\n", clean::json(&entry.json))).await;
    }
    let text = serde_json::to_string_pretty(&value(&entry)?)?;
    out.out(&format!("{}\n", clean::json(&text))).await
}

async fn check<R: Reply>(bastion: &Bastion, json: bool, out: &mut R) -> Result<Done, Trouble> {
    let (dir, key) = (bastion.audit.log_dir().to_owned(), key(bastion)?);
    let verifying = tokio::task::spawn_blocking(move || verify(&dir, &key, &[], |_| {}));
    let verified = unless_gone(out, verifying).await??;
    let counts = match verified {
        Ok(counts) => counts,
        Err(VerifyError::Broken(broken)) => {
            let why = broken.why.to_string();
            if json {
                let value = json!({ "ok": false, "file": broken.place.name(), "seq": broken.seq, "offset": broken.offset, "why": why });
                out.out(&format!("{}\n", clean::json(&value.to_string()))).await?;
            } else {
                out.out(&format!("broken: {}\n", clean::line(&broken.to_string()))).await?;
            }
            return Ok(Done::No);
        }
        Err(other) => return Err(other.into()),
    };
    if json {
        let value = json!({
            "ok": true, "entries": counts.entries, "signed": counts.signed, "checkpoints": counts.checkpoints, "torn": counts.torn,
        });
        out.out(&format!("{value}\n")).await?;
    } else {
        let (entries, checkpoints) = (counts.entries, counted(counts.checkpoints, "checkpoint"));
        let signed = counts.signed;
        let entries = if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
        out.out(&format!("ok: {entries}, {signed} of them under {checkpoints}\n")).await?;
    }
    Ok(Done::Well)
}
