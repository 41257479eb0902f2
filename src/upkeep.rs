//! What a crash left open is closed at the next start, and what is over its time is forgotten.
//! Never appends to a recording that was not sealed: that would use a nonce twice. It says in the log how far it is good.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use keys::Keys;
use ledger::evidence::{self, End, Evidence};
use ledger::log::{Event, Filter, Reader};
use ledger::recording::{
    ReadError, Reader as RecordingReader, Recovered, file_name, recover, recover_with_key,
};
use serde_json::Value;

use crate::audit::AuditError;
use crate::bastion::Bastion;
use crate::clock::{Jump, Watch, jump};
use crate::ids::RecordingId;
use crate::live::Cut;
use crate::store::{Recording, RecordingEnd, RecordingState, SessionEnd, StoreError};

/// Between two rounds of forgetting.
const ROUND: Duration = Duration::from_secs(600);
/// Between two looks at the clocks.
const LOOK: Duration = Duration::from_secs(1);
/// What is remembered of codes is never older than this, in milliseconds.
const MEMORY: i64 = 30 * 86_400 * 1000;

/// What was left open cannot be closed: the server does not start on top of it.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] ledger::log::LogError),
}

/// How much a start had to close.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closed {
    /// Recordings that were not sealed.
    pub recordings: usize,
    /// Sessions that had not ended.
    pub sessions: usize,
    /// Entries of the log that were opened and not closed.
    pub entries: usize,
}

/// Closes everything that is still open. To be called at start, before anything is served.
///
/// # Errors
/// What cannot be read or written.
pub async fn close_what_is_open(bastion: &Bastion) -> Result<Closed, UpkeepError> {
    let mut closed = Closed::default();
    let now = bastion.clock.now();
    let said = Said::read(bastion.audit.log_dir())?;
    // A clock that went back while nothing ran; one that went ahead cannot be told from a long night.
    if let Some(back) = said.last.and_then(|last| jump(last, now)).filter(|jump| jump.by_ms < 0) {
        bastion.audit.note(jumped(bastion, back)).await?;
    }
    for open in bastion.store.open_recordings().await? {
        close_recording(bastion, &said, &open).await?;
        closed.recordings += 1;
    }
    for id in strangers(bastion).await? {
        if said.end(&id).is_some() {
            continue;
        }
        recovered(bastion, &id, None).await?;
        closed.recordings += 1;
    }
    let now = bastion.clock.unix_ms();
    for session in bastion.store.open_sessions().await? {
        let end = SessionEnd { ended: now, outcome: "crashed", code: None };
        bastion.store.end_session(&session.id, &end).await?;
        closed.sessions += 1;
    }
    for mut event in said.opened.into_values() {
        event.time = bastion.clock.now();
        event.outcome = Some("abandoned".into());
        event.reason = Some("the server ended before this was closed".into());
        bastion.audit.note(event).await?;
        closed.entries += 1;
    }
    Ok(closed)
}

/// Forgets what is over its time, now and then, as long as the bastion runs.
pub async fn forget(bastion: Arc<Bastion>) {
    loop {
        tokio::time::sleep(ROUND).await;
        let before = bastion.clock.unix_ms() - MEMORY;
        if let Err(why) = bastion.store.forget_before(before).await {
            tracing::warn!(%why, "old codes were not forgotten");
        }
        if let Err(why) = bastion.store.forget_sources(bastion.clock.unix_ms()).await {
            tracing::warn!(%why, "old failures of sources were not forgotten");
        }
    }
}

/// Cuts everything when the log can no longer be written: nothing goes on that is not logged.
pub async fn watch_the_log(bastion: Arc<Bastion>) {
    bastion.audit.broken().cancelled().await;
    tracing::error!(
        "the audit log cannot be written: all sessions are cut and no login is taken; mend the disk and restart"
    );
    bastion.live.cut_all(Cut::Unlogged);
}

/// Says in the log when the wall clock jumps, as long as the bastion runs: times before and after cannot be compared.
pub async fn watch_the_clock(bastion: Arc<Bastion>) {
    let mut watch = Watch::begin(bastion.clock.as_ref());
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(jump) = watch.look(bastion.clock.as_ref()) else { continue };
        tracing::warn!(by_ms = jump.by_ms, expected = %jump.expected, "the clock jumped");
        if let Err(why) = bastion.audit.note(jumped(&bastion, jump)).await {
            tracing::error!(%why, "that the clock jumped was not logged");
        }
    }
}

fn jumped(bastion: &Bastion, jump: Jump) -> Event {
    let mut event = bastion.audit.event("system.clock");
    event.detail.insert("expected".into(), jump.expected.to_string().into());
    event.detail.insert("by_ms".into(), jump.by_ms.into());
    event
}

/// What the log has already said.
struct Said {
    /// Entries that were opened and not closed, by their place.
    opened: BTreeMap<u64, Event>,
    /// Of recordings.
    evidence: Evidence,
    /// When it was written last, as the clock was then.
    last: Option<Timestamp>,
}

impl Said {
    fn read(log: &Path) -> Result<Self, UpkeepError> {
        let mut said = Self { opened: BTreeMap::new(), evidence: Evidence::new(), last: None };
        for entry in Reader::open(log, Filter::default())? {
            let entry = entry?;
            said.evidence.take(entry.seq, &entry.event);
            said.last = Some(entry.event.time);
            said.take(entry.seq, entry.event);
        }
        Ok(said)
    }

    fn take(&mut self, seq: u64, mut event: Event) {
        if let Some(opened) = event.detail.get("opened").and_then(Value::as_u64) {
            self.opened.remove(&opened);
        } else if event.outcome.as_deref() == Some("opened") {
            event.detail.insert("opened".into(), seq.into());
            self.opened.insert(seq, event);
        }
    }

    /// How the log says that a recording ended.
    fn end(&self, id: &str) -> Option<End> {
        self.evidence.of(id)?.end
    }
}

/// A recording whose row says that it is open: the log may have finished it already, then only the row is mended.
async fn close_recording(bastion: &Bastion, said: &Said, open: &Recording) -> Result<(), UpkeepError> {
    let Some(end) = said.end(&open.id) else { return recovered(bastion, &open.id, Some(open)).await };
    let (state, ignored) = match end {
        End::Sealed(_) => (RecordingState::Sealed, 0),
        End::Recovered(_, ignored) => (RecordingState::Recovered, ignored),
    };
    let head = end.head();
    let end = RecordingEnd {
        state,
        ended: bastion.clock.unix_ms(),
        outcome: "crashed",
        bytes: head.bytes,
        frames: head.frames,
        ignored,
        digest: Some(head.digest.bytes()),
    };
    bastion.store.end_recording(&open.id, &end).await?;
    Ok(())
}

/// Says in the log how far a recording is good that nobody writes any more, and gives it a row.
async fn recovered(bastion: &Bastion, id: &str, row: Option<&Recording>) -> Result<(), UpkeepError> {
    let path = bastion.recordings.dir().join(file_name(id));
    let (read, keys, named) = (path.clone(), bastion.keys.clone(), id.to_owned());
    let found = tokio::task::spawn_blocking(move || good_part(&keys, &named, &read))
        .await
        .unwrap_or_else(|why| Err(why.to_string()));
    let mut event = bastion.audit.event(evidence::RECOVERED);
    match &found {
        Ok(found) => {
            event.outcome = Some("recovered".into());
            event.detail = evidence::recovered(id, &found.head, found.ignored);
        }
        Err(why) => {
            event.kind = "recording.unreadable".into();
            event.outcome = Some("failed".into());
            event.reason = Some(why.clone());
            event.detail = evidence::started(id);
        }
    }
    if let Some(row) = row {
        event.session = Some(row.session.clone());
        event.operator = Some(row.operator.clone());
        event.device.clone_from(&row.device);
        event.target = Some(row.target.clone());
        event.account = Some(row.account.clone());
    } else if found.is_err() {
        // A header that was being written: nothing was begun under it. Kept, but no longer as a recording.
        let _ = std::fs::rename(&path, path.with_extension("part"));
    }
    let found: Option<Recovered> = found.ok();
    bastion.audit.note(event).await?;
    let Some(row) = row else { return Ok(()) };
    let head = found.as_ref().map(|found| found.head);
    let digest = head.map(|head| *head.digest.bytes());
    let end = RecordingEnd {
        state: RecordingState::Recovered,
        ended: found.as_ref().map_or(row.started, |found| found.last.wall_ns / 1_000_000).max(row.started),
        outcome: "crashed",
        bytes: head.map_or(0, |head| head.bytes),
        frames: head.map_or(0, |head| head.frames),
        ignored: found.as_ref().map_or(0, |found| found.ignored),
        digest: digest.as_ref(),
    };
    bastion.store.end_recording(&row.id, &end).await?;
    Ok(())
}

/// How far a recording is good. With its key, so that nobody who only has the files can have added to it since.
fn good_part(keys: &Keys, id: &str, path: &Path) -> Result<Recovered, String> {
    let header = |path| Ok::<_, ReadError>(RecordingReader::open(path, None)?.header().clone());
    let envelope = header(path).map_err(|why| why.to_string())?.envelope;
    let found = match keys.open_recording_key(id, &envelope) {
        Ok(key) => recover_with_key(path, &key),
        Err(why) => {
            tracing::warn!(%id, %why, "a recording is recovered without its key");
            recover(path)
        }
    };
    found.map_err(|why| why.to_string())
}

/// Recordings whose row was not written before the crash: nothing was shown of them yet, but they are evidence.
async fn strangers(bastion: &Bastion) -> Result<Vec<String>, UpkeepError> {
    let mut strangers = Vec::new();
    let Ok(folder) = std::fs::read_dir(bastion.recordings.dir()) else { return Ok(strangers) };
    for file in folder.flatten() {
        let name = file.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".rec")) else { continue };
        if RecordingId::parse(id).is_some() && bastion.store.recording(id).await?.is_none() {
            strangers.push(id.to_owned());
        }
    }
    strangers.sort();
    Ok(strangers)
}
