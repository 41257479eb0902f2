//! `session`: who is where now, who was, and ending one.
//! It never waits for the operator whose session it ends.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::caller::{Need, Role};
use super::reply::{Reply, Trouble};
use super::report::{Form, List, moment, or_dash, thing};
use super::{Done, at, with_times};
use crate::bastion::Bastion;
use crate::ids::SessionId;
use crate::live::{Cut, LiveSession};
use crate::store::{Filter, Session};

/// What can be asked of sessions.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionWord {
    /// Lists sessions, oldest first.
    List {
        /// Only those open now.
        #[arg(long)]
        live: bool,
        /// Of this operator.
        #[arg(long)]
        operator: Option<String>,
        /// To this target.
        #[arg(long)]
        target: Option<String>,
        /// Begun at this time or later, such as 2026-03-01T09:00:00Z.
        #[arg(long, conflicts_with = "live")]
        #[serde(skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
        /// Begun before this time.
        #[arg(long, conflicts_with = "live")]
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
        /// At most so many, the newest.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<u32>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows all that is known of one, with its recordings.
    Show {
        /// Which.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows what its operator sees, as it happens, until it ends.
    Watch {
        /// Which.
        id: String,
    },
    /// Ends one at once, on both sides.
    Kill {
        /// Which.
        id: String,
    },
}

impl SessionWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        match self {
            Self::Kill { .. } => Some("admin.session.kill"),
            Self::Watch { .. } => Some("admin.session.watch"),
            Self::List { .. } | Self::Show { .. } => None,
        }
    }

    pub(super) fn need(&self) -> Need<'_> {
        match self {
            Self::Kill { .. } => Need::OneOf(&[Role::Administrator]),
            Self::Watch { .. } => Need::OneOf(&[Role::Auditor]),
            Self::List { .. } | Self::Show { .. } => Need::OneOf(&[Role::Auditor, Role::Administrator]),
        }
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::List { .. } | Self::Show { .. } => json!({}),
            Self::Kill { id } | Self::Watch { id } => {
                json!({ "session": id.chars().take(64).collect::<String>() })
            }
        }
    }

    pub(super) fn listens(&self) -> bool {
        matches!(self, Self::Watch { .. })
    }
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    word: SessionWord,
    out: &mut R,
) -> Result<Done, Trouble> {
    match word {
        SessionWord::List { live: true, operator, target, json, .. } => {
            let mut sessions = bastion.live.list();
            sessions.retain(|s| operator.as_deref().is_none_or(|o| o == s.operator));
            sessions.retain(|s| target.as_deref().is_none_or(|t| t == s.target.as_str()));
            live(&sessions, json, out).await?;
        }
        SessionWord::List { operator, target, since, until, limit, json, live: false } => {
            let filter = Filter {
                operator: operator.as_deref(),
                target: target.as_deref(),
                since: since.map(Timestamp::as_millisecond),
                until: until.map(Timestamp::as_millisecond),
                newest: limit,
                session: None,
            };
            past(bastion, filter, json, out).await?;
        }
        SessionWord::Show { id, json } => show(bastion, &id, json, out).await?,
        SessionWord::Watch { id } => {
            let parsed = SessionId::parse(&id).ok_or_else(|| no_such(&id))?;
            super::recording::watch(bastion, &parsed, out).await?;
        }
        SessionWord::Kill { id } => {
            let parsed = SessionId::parse(&id).ok_or_else(|| no_such(&id))?;
            if !bastion.live.kill(&parsed, Cut::Killed) {
                return Err(Trouble::said(format!(
                    "no session {id} is open; see `bartizan session list --live`"
                )));
            }
            out.out(&format!("session {id} ended\n")).await?;
        }
    }
    Ok(Done::Well)
}

fn no_such(id: &str) -> Trouble {
    Trouble::said(format!("there is no session {id}; see `bartizan session list`"))
}

async fn live<R: Reply>(sessions: &[LiveSession], json: bool, out: &mut R) -> Result<(), Trouble> {
    let columns = &["id", "since", "operator", "device", "account", "target", "peer", "channels"];
    let mut rows = List::new(Form::of(json), columns);
    for s in sessions {
        let value = json!({
            "id": s.id, "operator": s.operator, "device": s.device, "target": s.target, "account": s.account,
            "peer": s.peer, "started": s.since, "channels": s.channels, "live": true,
        });
        let cells = || {
            vec![
                s.id.to_string(),
                moment(s.since),
                s.operator.clone(),
                or_dash(s.device.as_deref()),
                s.account.to_string(),
                s.target.to_string(),
                s.peer.to_string(),
                s.channels.to_string(),
            ]
        };
        rows.row(out, &value, cells).await?;
    }
    rows.end(out, "no sessions are open").await
}

async fn past<R: Reply>(
    bastion: &Bastion,
    filter: Filter<'_>,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let columns = &["id", "started", "ended", "operator", "device", "account", "target", "peer", "outcome"];
    let mut rows = List::new(Form::of(json), columns);
    let mut sessions = bastion.store.sessions(filter);
    while let Some(session) = sessions.next().await? {
        rows.row(out, &value(&session), || cells(&session)).await?;
    }
    rows.end(out, "no sessions").await
}

fn cells(session: &Session) -> Vec<String> {
    vec![
        session.id.clone(),
        at(session.started),
        session.ended.map_or_else(|| "open".to_owned(), at),
        session.operator.clone(),
        or_dash(session.device.as_deref()),
        session.account.clone(),
        session.target.clone(),
        session.peer.clone(),
        or_dash(session.outcome.as_deref()),
    ]
}

async fn show<R: Reply>(bastion: &Bastion, id: &str, json: bool, out: &mut R) -> Result<(), Trouble> {
    let parsed = SessionId::parse(id).ok_or_else(|| no_such(id))?;
    let s = bastion.store.session(parsed.as_str()).await?.ok_or_else(|| no_such(id))?;
    let mut of_it = bastion.store.recordings(Filter { session: Some(&s.id), ..Filter::default() });
    let mut recordings = Vec::new();
    while let Some(recording) = of_it.next().await? {
        recordings.push(recording.id);
    }
    let mut full = value(&s);
    if let Some(members) = full.as_object_mut() {
        members.insert("recordings".to_owned(), json!(recordings));
    }
    let lines = vec![
        ("id", s.id.clone()),
        ("operator", s.operator.clone()),
        ("device", or_dash(s.device.as_deref())),
        ("target", s.target.clone()),
        ("account", s.account.clone()),
        ("peer", s.peer.clone()),
        ("reason", or_dash(s.reason.as_deref())),
        ("started", at(s.started)),
        ("ended", s.ended.map_or_else(|| "open".to_owned(), at)),
        ("outcome", or_dash(s.outcome.as_deref())),
        ("code", or_dash(s.code.as_deref())),
        ("recordings", recordings.join("\n")),
    ];
    thing(out, json, &full, lines).await
}

fn value(session: &Session) -> Value {
    with_times(session, &["started", "ended"])
}
