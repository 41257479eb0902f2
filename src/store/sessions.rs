//! Sessions: one connection's span to one account of one target, as it was started and as it ended.
//! It never ends a running session; it is where its story stands for later readers.

use serde::Serialize;
use sqlx::FromRow;

use super::{Store, StoreError};

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Session {
    /// `s-` and 26 Crockford characters.
    pub id: String,
    /// Who.
    pub operator: String,
    /// From which device, where one was proven.
    pub device: Option<String>,
    /// To which target.
    pub target: String,
    /// On which account.
    pub account: String,
    /// The operator's address and port.
    pub peer: String,
    /// When it started, ms.
    pub started: i64,
    /// When it ended, ms; `None` while it runs, or after a crash until upkeep has closed it.
    pub ended: Option<i64>,
    /// How it ended, one word.
    pub outcome: Option<String>,
    /// The refusal's code, where it was ended by one.
    pub code: Option<String>,
    /// Why they went there, where that was asked.
    pub reason: Option<String>,
}

/// What is known when a session starts.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// `s-...`.
    pub id: &'a str,
    /// Who.
    pub operator: &'a str,
    /// From which device.
    pub device: Option<&'a str>,
    /// To which target.
    pub target: &'a str,
    /// On which account.
    pub account: &'a str,
    /// The operator's address and port.
    pub peer: &'a str,
    /// When, ms.
    pub started: i64,
    /// Why, where that was asked.
    pub reason: Option<&'a str>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy)]
pub struct SessionEnd<'a> {
    /// When, ms.
    pub ended: i64,
    /// One word.
    pub outcome: &'a str,
    /// The refusal's code, where there is one.
    pub code: Option<&'a str>,
}

impl Store {
    /// Writes that a session has started.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for an id used before, or when the database fails.
    pub async fn start_session(&self, new: &NewSession<'_>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO sessions (id, operator, device, target, account, peer, started, reason)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(new.id)
        .bind(new.operator)
        .bind(new.device)
        .bind(new.target)
        .bind(new.account)
        .bind(new.peer)
        .bind(new.started)
        .bind(new.reason)
        .execute(&self.writes)
        .await
        .map_err(|e| StoreError::exists(e, "session", new.id, ""))?;
        Ok(())
    }

    /// Writes how a session ended. The first end stands: says whether this was it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_session(&self, id: &str, end: &SessionEnd<'_>) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE sessions SET ended = $2, outcome = $3, code = $4 WHERE id = $1 AND ended IS NULL",
        )
        .bind(id)
        .bind(end.ended)
        .bind(end.outcome)
        .bind(end.code)
        .execute(&self.writes)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The session of this id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn session(&self, id: &str) -> Result<Option<Session>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM sessions WHERE id = $1")
            .bind(id)
            .fetch_optional(&self.reads)
            .await?)
    }

    /// Sessions without an end: those that run, and those that a crash left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_sessions(&self) -> Result<Vec<Session>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM sessions WHERE ended IS NULL ORDER BY started, id")
            .fetch_all(&self.reads)
            .await?)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::store) fn new(id: &str, started: i64) -> NewSession<'_> {
        NewSession {
            id,
            operator: "alice",
            device: Some("lt-1"),
            target: "web-1",
            account: "deploy",
            peer: "192.0.2.9:50000",
            started,
            reason: Some("INC-42"),
        }
    }

    #[tokio::test]
    async fn the_first_end_of_a_session_stands() {
        let store = Store::in_memory().await.unwrap();
        store.start_session(&new("s-1", 1)).await.unwrap();
        assert!(store.start_session(&new("s-1", 2)).await.is_err());
        assert_eq!(store.open_sessions().await.unwrap().len(), 1);
        let killed = SessionEnd { ended: 9, outcome: "ended", code: Some("SESSION-001") };
        assert!(store.end_session("s-1", &killed).await.unwrap());
        let later = SessionEnd { ended: 10, outcome: "ok", code: None };
        assert!(!store.end_session("s-1", &later).await.unwrap());
        let session = store.session("s-1").await.unwrap().unwrap();
        assert_eq!((session.ended, session.outcome.as_deref()), (Some(9), Some("ended")));
        assert_eq!(session.reason.as_deref(), Some("INC-42"));
        assert_eq!(store.open_sessions().await.unwrap(), []);
    }
}
