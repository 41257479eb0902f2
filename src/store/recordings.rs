//! Recordings: where each channel's evidence stands, and the totals and digest it was sealed with.
//! It never holds what was recorded; that is the ledger's file, and the audit log is what proves this row.

use serde::Serialize;
use sqlx::FromRow;

use super::{Store, StoreError};

/// Where a recording stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
pub enum RecordingState {
    /// Being written, or left by a crash until upkeep has recovered it.
    Open,
    /// Finished and committed to the log.
    Sealed,
    /// Finished by recovery after a crash.
    Recovered,
}

/// A recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Recording {
    /// `r-` and 26 Crockford characters; the file is `recordings/<id>.rec`.
    pub id: String,
    /// The session it belongs to.
    pub session: String,
    /// Who.
    pub operator: String,
    /// From which device, where one was proven.
    pub device: Option<String>,
    /// To which target.
    pub target: String,
    /// On which account.
    pub account: String,
    /// shell, exec, sftp, subsystem:<name>.
    pub kind: String,
    /// The command of an exec.
    pub command: Option<String>,
    /// When it started, ms.
    pub started: i64,
    /// When it ended, ms.
    pub ended: Option<i64>,
    /// How it ended, one word.
    pub outcome: Option<String>,
    /// Where it stands.
    pub state: RecordingState,
    /// Bytes of good frames in the file.
    pub bytes: i64,
    /// Good frames in the file.
    pub frames: i64,
    /// Bytes after the last good frame, where it was recovered.
    pub ignored: i64,
    /// The final head of the chain, hex when shown.
    #[serde(serialize_with = "as_hex")]
    pub digest: Option<Vec<u8>>,
}

/// What is known when a recording starts.
#[derive(Debug, Clone, Copy)]
pub struct NewRecording<'a> {
    /// `r-...`.
    pub id: &'a str,
    /// Its session, which must have been started.
    pub session: &'a str,
    /// Who.
    pub operator: &'a str,
    /// From which device.
    pub device: Option<&'a str>,
    /// To which target.
    pub target: &'a str,
    /// On which account.
    pub account: &'a str,
    /// shell, exec, sftp, subsystem:<name>.
    pub kind: &'a str,
    /// The command of an exec.
    pub command: Option<&'a str>,
    /// When, ms.
    pub started: i64,
}

/// What a recording was finished with.
#[derive(Debug, Clone, Copy)]
pub struct RecordingEnd<'a> {
    /// `Sealed` or `Recovered`.
    pub state: RecordingState,
    /// When, ms.
    pub ended: i64,
    /// One word.
    pub outcome: &'a str,
    /// Bytes of good frames.
    pub bytes: u64,
    /// Good frames.
    pub frames: u64,
    /// Bytes after the last good frame.
    pub ignored: u64,
    /// The final head of the chain; `None` where not even the header could be read.
    pub digest: Option<&'a [u8; 32]>,
}

impl Store {
    /// Writes that a recording has started.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for an id used before, or when the database fails, also for a session that is not there.
    pub async fn start_recording(&self, new: &NewRecording<'_>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO recordings (id, session, operator, device, target, account, kind, command, started,
                 state, bytes, frames, ignored)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'open', 0, 0, 0)",
        )
        .bind(new.id)
        .bind(new.session)
        .bind(new.operator)
        .bind(new.device)
        .bind(new.target)
        .bind(new.account)
        .bind(new.kind)
        .bind(new.command)
        .bind(new.started)
        .execute(&self.writes)
        .await
        .map_err(|e| StoreError::exists(e, "recording", new.id, ""))?;
        Ok(())
    }

    /// Writes what a recording was finished with. The first end stands: says whether this was it.
    ///
    /// # Errors
    /// When the database fails; an end of state `Open` is one it refuses.
    pub async fn end_recording(&self, id: &str, end: &RecordingEnd<'_>) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE recordings SET state = $2, ended = $3, outcome = $4, bytes = $5, frames = $6, ignored = $7,
                 digest = $8
             WHERE id = $1 AND state = 'open'",
        )
        .bind(id)
        .bind(end.state)
        .bind(end.ended)
        .bind(end.outcome)
        .bind(count(end.bytes))
        .bind(count(end.frames))
        .bind(count(end.ignored))
        .bind(end.digest.map(|digest| digest.as_slice()))
        .execute(&self.writes)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The recording of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recording(&self, id: &str) -> Result<Option<Recording>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM recordings WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reads)
            .await?)
    }

    /// Recordings without an end: those being written, and those that a crash left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_recordings(&self) -> Result<Vec<Recording>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM recordings WHERE state = 'open' ORDER BY started, id")
            .fetch_all(&self.reads)
            .await?)
    }
}

fn count(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[expect(clippy::ref_option, reason = "the shape that serde calls")]
fn as_hex<S: serde::Serializer>(digest: &Option<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
    match digest {
        Some(bytes) => to.serialize_some(&data_encoding::HEXLOWER.encode(bytes)),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Filter;
    use super::super::sessions::tests::new as session;
    use super::*;

    fn new<'a>(id: &'a str, session: &'a str) -> NewRecording<'a> {
        NewRecording {
            id,
            session,
            operator: "alice",
            device: None,
            target: "web-1",
            account: "deploy",
            kind: "exec",
            command: Some("uptime"),
            started: 5,
        }
    }

    #[tokio::test]
    async fn the_first_end_of_a_recording_stands() {
        let store = Store::in_memory().await.unwrap();
        assert!(store.start_recording(&new("r-1", "s-1")).await.is_err(), "no such session");
        store.start_session(&session("s-1", 1)).await.unwrap();
        store.start_recording(&new("r-1", "s-1")).await.unwrap();
        assert_eq!(store.open_recordings().await.unwrap().len(), 1);
        let mut end = RecordingEnd {
            state: RecordingState::Sealed,
            ended: 9,
            outcome: "ok",
            bytes: 100,
            frames: 3,
            ignored: 0,
            digest: Some(&[7; 32]),
        };
        assert!(store.end_recording("r-1", &end).await.unwrap());
        end.digest = Some(&[8; 32]);
        end.state = RecordingState::Recovered;
        assert!(!store.end_recording("r-1", &end).await.unwrap());
        let recording = store.recording("r-1").await.unwrap().unwrap();
        assert_eq!(recording.state, RecordingState::Sealed);
        assert_eq!(recording.digest, Some(vec![7; 32]));
        assert!(store.open_recordings().await.unwrap().is_empty());
        let json = serde_json::to_value(&recording).unwrap();
        assert_eq!(json["digest"], "07".repeat(32));
        assert_eq!((json["kind"].as_str(), json["command"].as_str()), (Some("exec"), Some("uptime")));
    }

    #[tokio::test]
    async fn recordings_are_listed_by_session() {
        let store = Store::in_memory().await.unwrap();
        for s in ["s-1", "s-2"] {
            store.start_session(&session(s, 1)).await.unwrap();
            store.start_recording(&new(&s.replace("s-", "r-"), s)).await.unwrap();
        }
        let filter = Filter { session: Some("s-2"), ..Filter::default() };
        let mut found = store.recordings(filter);
        assert_eq!(found.next().await.unwrap().unwrap().id, "r-2");
        assert_eq!(found.next().await.unwrap(), None);
    }
}
