//! `recording verify`: each recording against its own chain and against what the audit log says of it.
//! It never calls a recording whole that the log does not vouch for, and never changes either.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ledger::evidence::{End, Evidence, Said};
use ledger::log;
use ledger::recording::{self, ReadError, State, Verified, file_name};
use serde::Serialize;

use super::progress::Progress;
use super::{in_folder, no_such};
use crate::bastion::Bastion;
use crate::control::Done;
use crate::control::reply::{Reply, Trouble, unless_gone};
use crate::control::report::{Form, List, counted};
use crate::ids::RecordingId;
use crate::store::RecordingState;

/// What came of one recording, for scripts.
#[derive(Debug, Serialize)]
struct Finding {
    id: String,
    ok: bool,
    /// sealed, recovered, running, or broken.
    state: &'static str,
    frames: u64,
    bytes: u64,
    /// Frames that a head in the log vouches for.
    proven: u64,
    /// Bytes after the last good frame of a recovered one.
    ignored: u64,
    /// The broken place.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Finding {
    fn broken(id: &RecordingId, why: String) -> Self {
        let id = id.to_string();
        Self {
            id,
            ok: false,
            state: "broken",
            frames: 0,
            bytes: 0,
            proven: 0,
            ignored: 0,
            frame: None,
            offset: None,
            why: Some(why),
        }
    }
}

/// Verifies one recording, or all that the folder or the log knows.
pub(super) async fn verify<R: Reply>(
    bastion: &Bastion,
    id: Option<&str>,
    json: bool,
    out: &mut R,
) -> Result<Done, Trouble> {
    let evidence = unless_gone(out, evidence(bastion)).await??;
    let ids = match id {
        Some(text) => vec![RecordingId::parse(text).ok_or_else(|| no_such(text))?],
        None => known(bastion, &evidence)?,
    };
    if id.is_some() && ids.iter().all(|id| evidence.of(id.as_str()).is_none() && !path(bastion, id).exists())
    {
        return Err(no_such(id.unwrap_or_default()));
    }
    let mut totals = (0_u64, 0_u64, 0_u64, 0_u64);
    let mut rows =
        List::new(Form::of(json), &["id", "state", "frames", "bytes", "proven", "ignored", "broken"]);
    let (mut broken, mut progress) = (0_u64, Progress::of(out));
    for id in &ids {
        let how_far = || format!("{} of {} recordings verified", totals.0, ids.len());
        progress.tell(how_far, out).await?;
        let found = unless_gone(out, examine(bastion, id, evidence.of(id.as_str()))).await??;
        totals = (totals.0 + 1, totals.1 + found.frames, totals.2 + found.bytes, totals.3 + found.ignored);
        if !found.ok {
            broken += 1;
        }
        // A person wants to read what is wrong; a script wants every row.
        if json || !found.ok || ids.len() == 1 {
            rows.row(out, &found, || cells(&found)).await?;
        }
    }
    if json || broken > 0 || ids.len() == 1 {
        rows.end(out, "no recordings").await?;
    }
    if broken > 0 {
        if !json {
            out.out(&format!("broken: {broken} of {}\n", counted(totals.0, "recording"))).await?;
        }
        return Ok(Done::No);
    }
    if !json {
        let (recordings, frames) = (counted(totals.0, "recording"), counted(totals.1, "frame"));
        let ignored = if totals.3 > 0 {
            format!(", {} ignored after crashes", counted(totals.3, "byte"))
        } else {
            String::new()
        };
        out.out(&format!("ok: {recordings}, {frames}, {}{ignored}\n", counted(totals.2, "byte"))).await?;
    }
    Ok(Done::Well)
}

fn cells(found: &Finding) -> Vec<String> {
    let why = found.why.clone().unwrap_or_default();
    let [frames, bytes, proven, ignored] =
        [found.frames, found.bytes, found.proven, found.ignored].map(|n| n.to_string());
    vec![found.id.clone(), found.state.to_owned(), frames, bytes, proven, ignored, why]
}

/// What the log, itself verified on the way, says of every recording.
async fn evidence(bastion: &Bastion) -> Result<Evidence, Trouble> {
    let (dir, key) = (bastion.audit.log_dir().to_owned(), crate::control::audit::key(bastion)?);
    blocking(move || {
        let mut evidence = Evidence::new();
        log::verify(&dir, &key, &[], |entry| evidence.take(entry.seq, &entry.event)).map_err(|why| {
            Trouble::said(format!("the audit log does not verify, so it vouches for nothing: {why}"))
        })?;
        Ok(evidence)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.map_err(Trouble::from)?
}

fn known(bastion: &Bastion, evidence: &Evidence) -> Result<Vec<RecordingId>, Trouble> {
    let mut ids: BTreeSet<RecordingId> = in_folder(bastion.recordings.dir())?.into_iter().collect();
    ids.extend(evidence.all().filter_map(|(id, _)| RecordingId::parse(id)));
    Ok(ids.into_iter().collect())
}

fn path(bastion: &Bastion, id: &RecordingId) -> PathBuf {
    bastion.recordings.dir().join(file_name(id.as_str()))
}

async fn examine(bastion: &Bastion, id: &RecordingId, said: Option<&Said>) -> Result<Finding, Trouble> {
    let mut found = look(bastion, id, said.cloned()).await?;
    if !found.ok && said.is_none_or(|said| said.end.is_none()) {
        // It may have been sealed after the log was read: what counts is what the log says now.
        let later = evidence(bastion).await?;
        if let Some(said) = later.of(id.as_str()).filter(|said| said.end.is_some()) {
            found = look(bastion, id, Some(said.clone())).await?;
        }
    }
    Ok(found)
}

async fn look(bastion: &Bastion, id: &RecordingId, said: Option<Said>) -> Result<Finding, Trouble> {
    let said = said.unwrap_or_default();
    if let Some(seq) = said.contradiction {
        return Ok(Finding::broken(id, format!("the audit log contradicts itself about it at entry {seq}")));
    }
    let (path, ended) = (path(bastion, id), said.end);
    // What a crash left open was closed at the start, so an open row is one that is being written.
    let row = bastion.store.recording(id.as_str()).await?;
    let running = row.is_some_and(|row| row.state == RecordingState::Open);
    let envelope = recording::Reader::open(&path, None).map(|reader| reader.header().envelope.clone());
    // A destroyed key is no damage: the chain is held against the log without it.
    let key = envelope.ok().and_then(|envelope| bastion.keys.open_recording_key(id.as_str(), &envelope).ok());
    let verified = tokio::task::spawn_blocking(move || {
        let committed = Vec::from_iter(said.committed);
        let expected = said.end.as_ref().map(End::head);
        recording::verify(&path, key.as_deref(), expected, &committed)
    })
    .await?;
    Ok(match verified {
        Ok(verified) => judge(id, &verified, ended, running),
        Err(error) => {
            let mut found = Finding::broken(id, error.to_string());
            if let ReadError::Broken(place) = &error {
                (found.frame, found.offset) = (Some(place.frame), Some(place.offset));
            }
            found
        }
    })
}

fn judge(id: &RecordingId, verified: &Verified, ended: Option<End>, running: bool) -> Finding {
    let mut found = Finding::broken(id, String::new());
    (found.frames, found.bytes) = (verified.head.frames, verified.head.bytes);
    (found.proven, found.ignored) = (verified.proven, verified.ignored);
    if verified.header.recording != id.as_str() {
        found.why = Some(format!("the file holds {}: files were swapped", verified.header.recording));
        return found;
    }
    let state = match (verified.state, ended) {
        (State::Sealed | State::Recovered, Some(End::Sealed(_))) => "sealed",
        (State::Sealed | State::Recovered, Some(End::Recovered(..))) => "recovered",
        _ if running => "running",
        (State::Ended, _) => {
            return Finding {
                why: Some("it is ended, and the audit log does not know of it".to_owned()),
                ..found
            };
        }
        _ => {
            return Finding {
                why: Some("it has no end, and the audit log knows of none".to_owned()),
                ..found
            };
        }
    };
    Finding { ok: true, state, why: None, ..found }
}
