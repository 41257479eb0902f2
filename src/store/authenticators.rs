//! Registered authenticators: today the seed of an operator's one-time codes, sealed by the `keys` crate.
//! It never sees a seed in the clear nor a code; which try may be made and which step is new is `throttle.rs`.

use serde::Serialize;
use sqlx::FromRow;

use super::{DISABLED_AT, Store, StoreError};

/// The authenticator for an operator's one-time codes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Totp {
    /// Never used again, also when the operator gets a new seed.
    pub id: i64,
    /// Whose it is.
    pub operator: String,
    /// The seed, sealed by `keys` for this operator.
    #[serde(skip)]
    pub sealed: Vec<u8>,
    /// The last time step accepted (Unix time / 30 s); -1 before the first.
    pub last_step: i64,
    /// Wrong codes since the last right one.
    pub failures: i64,
    /// No try before this time, ms.
    pub locked_until: i64,
    /// When it was registered, ms.
    pub added: i64,
}

impl Totp {
    /// Too many wrong codes in a row: only `operator unlock` or a new seed helps.
    #[must_use]
    pub fn disabled(&self) -> bool {
        self.failures >= DISABLED_AT
    }
}

/// What an authenticator that a person enrolled may take the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// None: they were let in because they had none.
    None,
    /// This one, by which they were proven.
    Only(i64),
}

/// What a person's own enrolment writes.
#[derive(Debug, Clone, Copy)]
pub struct NewTotp<'a> {
    /// Whose it is.
    pub operator: &'a str,
    /// The seed, sealed by `keys` for this operator.
    pub sealed: &'a [u8],
    /// The step of the last code that was typed to confirm it: used up.
    pub last_step: i64,
    /// Digests of the recovery codes.
    pub recovery: &'a [[u8; 32]],
    /// What it takes the place of.
    pub replace: Replace,
}

impl Store {
    /// Registers a seed that a person has confirmed, with its recovery codes. `false` when there is another authenticator
    /// than the one it is to replace: then nothing was changed.
    ///
    /// # Errors
    /// As [`Store::set_totp`].
    pub async fn enrol_totp(&self, new: &NewTotp<'_>, now: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        super::operators::standing(&mut tx, new.operator).await?;
        let old: Option<i64> = match new.replace {
            Replace::None => None,
            Replace::Only(id) => Some(id),
        };
        sqlx::query("DELETE FROM authenticators WHERE operator = $1 AND kind = 'totp' AND id = $2")
            .bind(new.operator)
            .bind(old)
            .execute(&mut *tx)
            .await?;
        let ids: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO authenticators (operator, kind, sealed, last_step, failures, locked_until, added)
             VALUES ($1, 'totp', $2, $3, 0, 0, $4) ON CONFLICT (operator, kind) DO NOTHING RETURNING id",
        )
        .bind(new.operator)
        .bind(new.sealed)
        .bind(new.last_step)
        .bind(now)
        .fetch_all(&mut *tx)
        .await?;
        let Some(id) = ids.first().copied() else { return Ok(false) };
        super::recovery::write(&mut tx, id, new.recovery, now).await?;
        sqlx::query("DELETE FROM invitations WHERE operator = $1")
            .bind(new.operator)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Registers the operator's seed in place of an earlier one; what was remembered of that one is forgotten.
    /// Gives the new authenticator's id.
    ///
    /// # Errors
    /// [`StoreError::Missing`] without an operator's row, [`StoreError::Final`] for a revoked one, or when the
    /// database fails.
    pub async fn set_totp(&self, operator: &str, sealed: &[u8], now: i64) -> Result<i64, StoreError> {
        let mut tx = self.begin().await?;
        super::operators::standing(&mut tx, operator).await?;
        sqlx::query("DELETE FROM authenticators WHERE operator = $1 AND kind = 'totp'")
            .bind(operator)
            .execute(&mut *tx)
            .await?;
        let ids: Vec<i64> = sqlx::query_scalar(
            "INSERT INTO authenticators (operator, kind, sealed, last_step, failures, locked_until, added)
             VALUES ($1, 'totp', $2, -1, 0, 0, $3) RETURNING id",
        )
        .bind(operator)
        .bind(sealed)
        .bind(now)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        ids.first().copied().ok_or(StoreError::Sql(sqlx::Error::RowNotFound))
    }

    /// The operator's authenticator for one-time codes.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn totp(&self, operator: &str) -> Result<Option<Totp>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT id, operator, sealed, last_step, failures, locked_until, added
             FROM authenticators WHERE operator = $1 AND kind = 'totp'",
        )
        .bind(operator)
        .fetch_optional(&self.reads)
        .await?)
    }

    /// Forgets the operator's wrong codes, here and per source, so that the next try is free. The last accepted step
    /// stays. Says whether there is an authenticator.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unlock_totp(&self, operator: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done =
            sqlx::query("UPDATE authenticators SET failures = 0, locked_until = 0 WHERE operator = $1")
                .bind(operator)
                .execute(&mut *tx)
                .await?;
        sqlx::query("DELETE FROM source_failures WHERE operator = $1")
            .bind(operator)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::operators::tests::with_operator;
    use super::*;

    #[tokio::test]
    async fn a_new_seed_has_a_new_id_and_no_history() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        let first = store.set_totp("alice", b"one", 1).await.unwrap();
        let second = store.set_totp("alice", b"two", 2).await.unwrap();
        assert!(second > first);
        let totp = store.totp("alice").await.unwrap().unwrap();
        assert_eq!(
            (totp.id, totp.sealed.as_slice(), totp.last_step, totp.failures),
            (second, &b"two"[..], -1, 0)
        );
        assert!(matches!(store.set_totp("bob", b"x", 3).await, Err(StoreError::Missing { .. })));
    }

    #[tokio::test]
    async fn an_enrolment_takes_the_place_of_what_it_was_proven_by_and_of_nothing_else() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        let enrol = async |sealed: &[u8], replace| {
            let new = NewTotp { operator: "alice", sealed, last_step: 9, recovery: &[], replace };
            store.enrol_totp(&new, 1).await.unwrap()
        };
        assert!(enrol(b"one", Replace::None).await);
        let first = store.totp("alice").await.unwrap().unwrap();
        assert!(!enrol(b"two", Replace::None).await, "let in for having none, and there is one now");
        assert!(!enrol(b"two", Replace::Only(first.id + 1)).await, "replaced by somebody else meanwhile");
        assert_eq!(store.totp("alice").await.unwrap().unwrap().id, first.id);
        assert!(enrol(b"two", Replace::Only(first.id)).await);
        let second = store.totp("alice").await.unwrap().unwrap();
        assert!(second.id > first.id && second.sealed == b"two" && second.last_step == 9);
    }
}
