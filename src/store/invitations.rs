//! Invitations: what lets a person without an authenticator in, once, to enrol one.
//! It never holds the token, only its digest, and never lets one in who has an authenticator.

use serde::Serialize;
use sqlx::FromRow;

use super::{Store, StoreError};

/// What `operator invite` writes.
#[derive(Debug, Clone, Copy)]
pub struct NewInvitation<'a> {
    /// Who is invited; has a row.
    pub operator: &'a str,
    /// The token's digest.
    pub digest: &'a [u8; 32],
    /// Until when it is good, ms.
    pub expires: i64,
    /// Who invited.
    pub by: &'a str,
}

/// An invitation that is open, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Invitation {
    /// Until when it is good, ms.
    pub expires: i64,
    /// When it was made, ms.
    pub made: i64,
    /// Who invited.
    pub made_by: String,
}

impl Store {
    /// Opens an invitation in place of an earlier one of the same operator.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where there is an authenticator, [`StoreError::Missing`] without an operator's row,
    /// [`StoreError::Final`] for a revoked one, or when the database fails.
    pub async fn invite(&self, new: &NewInvitation<'_>, now: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        super::operators::standing(&mut tx, new.operator).await?;
        let done = sqlx::query(
            "INSERT INTO invitations (operator, digest, expires, made, made_by)
             SELECT $1, $2, $3, $4, $5 WHERE NOT EXISTS (SELECT 1 FROM authenticators WHERE operator = $1)
             ON CONFLICT (operator) DO UPDATE SET digest = excluded.digest, expires = excluded.expires,
                 made = excluded.made, made_by = excluded.made_by",
        )
        .bind(new.operator)
        .bind(new.digest.as_slice())
        .bind(new.expires)
        .bind(now)
        .bind(new.by)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() == 0 {
            let remedy =
                "; they enrol another with `mfa enroll totp`, or `bartizan operator totp` replaces it";
            let name = format!("of operator {}", new.operator);
            return Err(StoreError::Exists { noun: "an authenticator", name, remedy });
        }
        tx.commit().await?;
        Ok(())
    }

    /// The operator's invitation, if it is open at `now` and there is no authenticator.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn open_invitation(&self, operator: &str, now: i64) -> Result<Option<Invitation>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT expires, made, made_by FROM invitations WHERE operator = $1 AND made <= $2 AND expires > $2
                 AND NOT EXISTS (SELECT 1 FROM authenticators WHERE operator = $1)",
        )
        .bind(operator)
        .bind(now)
        .fetch_optional(&self.reads)
        .await?)
    }

    /// Takes the invitation with this digest for good, if it is open: one conditional statement, so of any number of
    /// takers at one instant one gets it. Taking it ends the count of failures of this operator at this source.
    ///
    /// # Errors
    /// When the database fails; then nothing was taken.
    pub async fn take_invitation(
        &self,
        operator: &str,
        digest: &[u8; 32],
        source: &str,
        now: i64,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "DELETE FROM invitations WHERE operator = $1 AND digest = $2 AND made <= $3 AND expires > $3
                 AND NOT EXISTS (SELECT 1 FROM authenticators WHERE operator = $1)",
        )
        .bind(operator)
        .bind(digest.as_slice())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
        super::throttle::forgive(&mut tx, source, operator).await?;
        tx.commit().await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::operators::tests::with_operator;
    use super::*;

    const DIGEST: [u8; 32] = [7; 32];

    async fn invited(store: &Store) {
        let new = NewInvitation { operator: "alice", digest: &DIGEST, expires: 1000, by: "root" };
        store.invite(&new, 100).await.unwrap();
    }

    #[tokio::test]
    async fn an_invitation_is_taken_once_within_its_time_and_by_its_digest_only() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        invited(&store).await;
        for (digest, now, why) in
            [([8; 32], 500, "another token"), (DIGEST, 1000, "late"), (DIGEST, 99, "clock set back")]
        {
            assert!(!store.take_invitation("alice", &digest, "s", now).await.unwrap(), "{why}");
        }
        assert!(!store.take_invitation("bob", &DIGEST, "s", 500).await.unwrap());
        assert!(store.open_invitation("alice", 500).await.unwrap().is_some());
        assert!(store.take_invitation("alice", &DIGEST, "s", 500).await.unwrap());
        assert!(!store.take_invitation("alice", &DIGEST, "s", 500).await.unwrap(), "single use");
        assert!(store.open_invitation("alice", 500).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn who_has_an_authenticator_is_neither_invited_nor_let_in_by_an_invitation() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        invited(&store).await;
        store.set_totp("alice", b"sealed", 200).await.unwrap();
        assert!(store.open_invitation("alice", 500).await.unwrap().is_none());
        assert!(!store.take_invitation("alice", &DIGEST, "s", 500).await.unwrap());
        let new = NewInvitation { operator: "alice", digest: &DIGEST, expires: 1000, by: "root" };
        assert!(matches!(store.invite(&new, 300).await, Err(StoreError::Exists { .. })));
    }

    #[tokio::test]
    async fn of_many_takers_at_one_instant_one_is_let_in() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bartizan.db")).await.unwrap();
        with_operator(&store, "alice").await;
        invited(&store).await;
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.take_invitation("alice", &DIGEST, "s", 500).await.unwrap() })
            })
            .collect();
        let mut taken = 0;
        for taker in takers {
            taken += usize::from(taker.await.unwrap());
        }
        assert_eq!(taken, 1);
    }
}
