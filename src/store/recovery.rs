//! Recovery codes: digests of what a person wrote down, each taken once, gone with the authenticator they stand in for.
//! It never sees a code, and never takes one that was not asked for by a counted try.

use super::{Store, StoreError, Totp};
use sqlx::{Sqlite, Transaction};

impl Store {
    /// Makes these the recovery codes of this authenticator, in place of all earlier ones.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when the authenticator is gone, or when the database fails.
    pub async fn set_recovery(
        &self,
        authenticator: i64,
        digests: &[[u8; 32]],
        now: i64,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let there: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM authenticators WHERE id = $1")
            .bind(authenticator)
            .fetch_one(&mut *tx)
            .await?;
        if there != 1 {
            return Err(StoreError::missing("authenticator", "for these recovery codes"));
        }
        write(&mut tx, authenticator, digests, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// How many are left.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recovery_left(&self, authenticator: i64) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT COUNT(*) FROM recovery_codes WHERE authenticator = $1")
            .bind(authenticator)
            .fetch_one(&self.reads)
            .await?)
    }

    /// Takes one for good: one conditional statement, so of any number of takers at one instant one gets it. Taking it
    /// ends the count of failures of this authenticator, and of this operator at this source. `totp` is what
    /// [`Store::begin_try`] granted.
    ///
    /// # Errors
    /// When the database fails; then nothing was taken.
    pub async fn take_recovery(
        &self,
        totp: &Totp,
        digest: &[u8; 32],
        source: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("DELETE FROM recovery_codes WHERE authenticator = $1 AND digest = $2")
            .bind(totp.id)
            .bind(digest.as_slice())
            .execute(&mut *tx)
            .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
        sqlx::query("UPDATE authenticators SET failures = 0, locked_until = 0 WHERE id = $1")
            .bind(totp.id)
            .execute(&mut *tx)
            .await?;
        super::throttle::forgive(&mut tx, source, &totp.operator).await?;
        tx.commit().await?;
        Ok(true)
    }
}

pub(super) async fn write(
    tx: &mut Transaction<'_, Sqlite>,
    authenticator: i64,
    digests: &[[u8; 32]],
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM recovery_codes WHERE authenticator = $1")
        .bind(authenticator)
        .execute(&mut **tx)
        .await?;
    for digest in digests {
        sqlx::query("INSERT INTO recovery_codes (authenticator, digest, made) VALUES ($1, $2, $3)")
            .bind(authenticator)
            .bind(digest.as_slice())
            .bind(now)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::operators::tests::with_operator;
    use super::super::{NewTotp, Replace, Try};
    use super::*;

    fn codes() -> Vec<[u8; 32]> {
        (0..10).map(|n| [n; 32]).collect()
    }

    async fn enrolled(store: &Store) -> Totp {
        with_operator(store, "alice").await;
        let codes = codes();
        let new = NewTotp {
            operator: "alice",
            sealed: b"s",
            last_step: 5,
            recovery: &codes,
            replace: Replace::None,
        };
        store.enrol_totp(&new, 1).await.unwrap();
        store.totp("alice").await.unwrap().unwrap()
    }

    #[tokio::test]
    async fn a_recovery_code_is_taken_once_and_ends_the_count_of_failures() {
        let store = Store::in_memory().await.unwrap();
        let totp = enrolled(&store).await;
        assert_eq!((totp.last_step, store.recovery_left(totp.id).await.unwrap()), (5, 10));
        assert!(matches!(store.begin_try("alice", "s", 10).await.unwrap(), Try::Granted(_)));
        assert!(!store.take_recovery(&totp, &[99; 32], "s").await.unwrap());
        assert_eq!(store.totp("alice").await.unwrap().unwrap().failures, 1);
        assert!(store.take_recovery(&totp, &[3; 32], "s").await.unwrap());
        assert!(!store.take_recovery(&totp, &[3; 32], "s").await.unwrap(), "single use");
        assert_eq!(store.totp("alice").await.unwrap().unwrap().failures, 0);
        assert_eq!(store.recovery_left(totp.id).await.unwrap(), 9);
    }

    #[tokio::test]
    async fn new_codes_end_the_old_and_a_new_authenticator_ends_them_all() {
        let store = Store::in_memory().await.unwrap();
        let totp = enrolled(&store).await;
        store.set_recovery(totp.id, &[[77; 32]], 2).await.unwrap();
        assert!(!store.take_recovery(&totp, &[3; 32], "s").await.unwrap());
        store.set_totp("alice", b"new", 3).await.unwrap();
        assert!(!store.take_recovery(&totp, &[77; 32], "s").await.unwrap());
        assert!(matches!(store.set_recovery(totp.id, &codes(), 4).await, Err(StoreError::Missing { .. })));
    }

    #[tokio::test]
    async fn of_many_takers_at_one_instant_one_gets_the_code() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bartizan.db")).await.unwrap();
        let totp = enrolled(&store).await;
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let (store, totp) = (store.clone(), totp.clone());
                tokio::spawn(async move { store.take_recovery(&totp, &[4; 32], "s").await.unwrap() })
            })
            .collect();
        let mut taken = 0;
        for taker in takers {
            taken += usize::from(taker.await.unwrap());
        }
        assert_eq!(taken, 1);
    }
}
