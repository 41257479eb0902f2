//! How often a code may be tried, and that a step is taken once: counted before the code is looked at, so that a
//! thousand tries at one instant are a thousand tries. It never sees a code and never forgives because of a new prompt.
//!
//! `POSTURE.md` section 5: five free tries, then 30 s doubling to an hour, 50 in a row disable; per authenticator and
//! per source.

use super::{Store, StoreError, Totp};
use sqlx::{Sqlite, Transaction};

/// So many wrong codes in a row cost no waiting.
pub const FREE_TRIES: i64 = 5;
/// So many wrong codes in a row disable the authenticator.
pub const DISABLED_AT: i64 = 50;

const FIRST_WAIT_MS: i64 = 30_000;
const LONGEST_WAIT_MS: i64 = 3_600_000;
/// A source's wrong codes count for so long.
const SOURCE_MEMORY_MS: i64 = 3_600_000;

/// The answer to "may a code be tried now?".
#[derive(Debug, PartialEq, Eq)]
pub enum Try {
    /// Yes. It has been counted as a failure already; [`Store::take_step`] and [`Store::take_recovery`] take that back.
    Granted(Totp),
    /// The operator has no authenticator: no code can be right. Counted against the source.
    Absent,
    /// Not before this time (ms). Nothing was counted, so asking again makes it no worse.
    Throttled {
        /// When the next try is free.
        until: i64,
    },
    /// Too many wrong codes in a row.
    Disabled,
}

/// The answer to "is this step new?".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepTaken {
    /// It was, and it is now taken.
    Yes,
    /// This step or a later one was taken before.
    UsedBefore,
}

impl Store {
    /// Asks for one try of the operator's code from this source, and counts it.
    /// `source` is an address as text (a /64 for IPv6): whoever calls decides what one source is.
    ///
    /// # Errors
    /// When the database fails; then no try may be made.
    pub async fn begin_try(&self, operator: &str, source: &str, now: i64) -> Result<Try, StoreError> {
        let mut tx = self.begin().await?;
        let totp: Option<Totp> = sqlx::query_as(
            "SELECT id, operator, sealed, last_step, failures, locked_until, added
             FROM authenticators WHERE operator = $1 AND kind = 'totp'",
        )
        .bind(operator)
        .fetch_optional(&mut *tx)
        .await?;
        let free_at = source_free_at(&mut tx, source, now).await?;
        if totp.as_ref().is_some_and(Totp::disabled) {
            return Ok(Try::Disabled);
        }
        let until = free_at.max(totp.as_ref().map_or(0, |totp| totp.locked_until));
        if until > now {
            return Ok(Try::Throttled { until });
        }
        count_source(&mut tx, source, operator, now).await?;
        let Some(totp) = totp else {
            tx.commit().await?;
            return Ok(Try::Absent);
        };
        let failures = totp.failures + 1;
        sqlx::query("UPDATE authenticators SET failures = $2, locked_until = $3 WHERE id = $1")
            .bind(totp.id)
            .bind(failures)
            .bind(now.saturating_add(wait_after(failures)))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Try::Granted(totp))
    }

    /// Takes a step for good if it is greater than the last one: one conditional UPDATE, so of any number of takers at
    /// one instant one gets it. Taking it ends the count of failures of this authenticator, and of this operator at
    /// this source.
    ///
    /// # Errors
    /// When the database fails; then nothing was taken.
    pub async fn take_step(&self, totp: &Totp, step: i64, source: &str) -> Result<StepTaken, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "UPDATE authenticators SET last_step = $2, failures = 0, locked_until = 0
             WHERE id = $1 AND last_step < $2",
        )
        .bind(totp.id)
        .bind(step)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(StepTaken::UsedBefore);
        }
        forgive(&mut tx, source, &totp.operator).await?;
        tx.commit().await?;
        Ok(StepTaken::Yes)
    }

    /// Drops counts of sources that no longer weigh. Says how many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_sources(&self, now: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query("DELETE FROM source_failures WHERE last <= $1")
            .bind(now.saturating_sub(SOURCE_MEMORY_MS))
            .execute(&self.writes)
            .await?
            .rows_affected())
    }
}

/// Ends the count of what this operator got wrong at this source.
pub(super) async fn forgive(
    tx: &mut Transaction<'_, Sqlite>,
    source: &str,
    operator: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM source_failures WHERE source = $1 AND operator = $2")
        .bind(source)
        .bind(operator)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// When this source may try again, from what all operators got wrong there lately.
async fn source_free_at(tx: &mut Transaction<'_, Sqlite>, source: &str, now: i64) -> Result<i64, StoreError> {
    let (failures, last): (i64, i64) = sqlx::query_as(
        "SELECT CAST(COALESCE(SUM(failures), 0) AS BIGINT), CAST(COALESCE(MAX(last), 0) AS BIGINT)
         FROM source_failures WHERE source = $1 AND last > $2",
    )
    .bind(source)
    .bind(now.saturating_sub(SOURCE_MEMORY_MS))
    .fetch_one(&mut **tx)
    .await?;
    Ok(last.saturating_add(wait_after(failures)))
}

async fn count_source(
    tx: &mut Transaction<'_, Sqlite>,
    source: &str,
    operator: &str,
    now: i64,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO source_failures (source, operator, failures, last) VALUES ($1, $2, 1, $3)
         ON CONFLICT (source, operator) DO UPDATE SET
             failures = CASE WHEN source_failures.last > $4 THEN source_failures.failures + 1 ELSE 1 END,
             last = excluded.last",
    )
    .bind(source)
    .bind(operator)
    .bind(now)
    .bind(now.saturating_sub(SOURCE_MEMORY_MS))
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn wait_after(failures: i64) -> i64 {
    if failures < FREE_TRIES {
        return 0;
    }
    let doublings = u32::try_from(failures - FREE_TRIES).unwrap_or(u32::MAX);
    FIRST_WAIT_MS.saturating_mul(2_i64.saturating_pow(doublings)).min(LONGEST_WAIT_MS)
}

#[cfg(test)]
mod tests {
    use super::super::operators::tests::with_operator;
    use super::*;

    async fn with_code(store: &Store, name: &str) -> Totp {
        with_operator(store, name).await;
        store.set_totp(name, b"sealed", 1).await.unwrap();
        store.totp(name).await.unwrap().unwrap()
    }

    async fn granted(store: &Store, name: &str, source: &str, now: i64) -> bool {
        matches!(store.begin_try(name, source, now).await.unwrap(), Try::Granted(_))
    }

    #[test]
    fn the_wait_starts_after_five_and_doubles_to_an_hour() {
        let waits: Vec<i64> = [0, 4, 5, 6, 7, 11, 12, 49, i64::MAX].map(wait_after).to_vec();
        assert_eq!(waits, [0, 0, 30_000, 60_000, 120_000, 1_920_000, 3_600_000, 3_600_000, 3_600_000]);
    }

    #[tokio::test]
    async fn five_tries_are_free_then_each_waits_longer() {
        let store = Store::in_memory().await.unwrap();
        with_code(&store, "alice").await;
        for n in 0..5 {
            assert!(granted(&store, "alice", &format!("10.0.0.{n}"), 1000).await);
        }
        assert_eq!(
            store.begin_try("alice", "10.0.9.9", 1001).await.unwrap(),
            Try::Throttled { until: 31_000 }
        );
        assert!(granted(&store, "alice", "10.0.9.9", 31_000).await);
        assert!(!granted(&store, "alice", "10.0.9.8", 90_999).await);
        assert!(granted(&store, "alice", "10.0.9.8", 91_000).await);
    }

    #[tokio::test]
    async fn asking_while_locked_makes_it_no_worse() {
        let store = Store::in_memory().await.unwrap();
        with_code(&store, "alice").await;
        for _ in 0..100 {
            store.begin_try("alice", "10.0.0.1", 1000).await.unwrap();
        }
        assert_eq!(store.totp("alice").await.unwrap().unwrap().failures, 5);
    }

    #[tokio::test]
    async fn fifty_wrong_codes_disable_until_an_administrator_unlocks() {
        let store = Store::in_memory().await.unwrap();
        let totp = with_code(&store, "alice").await;
        let mut now = 0;
        for n in 0..50 {
            now += LONGEST_WAIT_MS;
            assert!(granted(&store, "alice", &format!("10.0.0.{n}"), now).await);
        }
        now += 1000 * LONGEST_WAIT_MS;
        assert_eq!(store.begin_try("alice", "10.1.0.1", now).await.unwrap(), Try::Disabled);
        assert!(store.unlock_totp("alice").await.unwrap());
        assert!(granted(&store, "alice", "10.1.0.1", now).await);
        assert_eq!(store.take_step(&totp, 7, "10.1.0.1").await.unwrap(), StepTaken::Yes);
    }

    #[tokio::test]
    async fn a_source_that_tries_many_operators_is_slowed_and_one_success_does_not_clear_the_others() {
        let store = Store::in_memory().await.unwrap();
        for name in ["a", "b", "c", "d", "e"] {
            with_code(&store, name).await;
            assert!(granted(&store, name, "10.0.0.1", 1000).await);
        }
        let f = with_code(&store, "f").await;
        assert_eq!(store.begin_try("f", "10.0.0.1", 1001).await.unwrap(), Try::Throttled { until: 31_000 });
        assert!(granted(&store, "f", "10.0.0.2", 1001).await, "another source is free");
        assert!(granted(&store, "f", "10.0.0.1", 31_000).await);
        assert_eq!(store.take_step(&f, 7, "10.0.0.1").await.unwrap(), StepTaken::Yes);
        assert!(granted(&store, "f", "10.0.0.1", 31_001).await);
        assert_eq!(
            store.begin_try("f", "10.0.0.1", 31_002).await.unwrap(),
            Try::Throttled { until: 91_001 },
            "the others' five still weigh"
        );
        assert!(granted(&store, "f", "10.0.0.1", 1000 + SOURCE_MEMORY_MS).await, "an hour later they do not");
        assert_eq!(store.forget_sources(1000 + SOURCE_MEMORY_MS).await.unwrap(), 5);
    }

    #[tokio::test]
    async fn only_a_greater_step_is_taken() {
        let store = Store::in_memory().await.unwrap();
        let totp = with_code(&store, "alice").await;
        assert_eq!(store.take_step(&totp, 100, "s").await.unwrap(), StepTaken::Yes);
        assert_eq!(store.take_step(&totp, 100, "s").await.unwrap(), StepTaken::UsedBefore);
        assert_eq!(store.take_step(&totp, 99, "s").await.unwrap(), StepTaken::UsedBefore);
        assert_eq!(store.take_step(&totp, 101, "s").await.unwrap(), StepTaken::Yes);
    }

    #[tokio::test]
    async fn of_many_takers_at_one_instant_one_gets_the_step() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bartizan.db")).await.unwrap();
        let totp = with_code(&store, "alice").await;
        let takers: Vec<_> = (0..16)
            .map(|_| {
                let (store, totp) = (store.clone(), totp.clone());
                tokio::spawn(async move { store.take_step(&totp, 100, "s").await.unwrap() })
            })
            .collect();
        let mut taken = 0;
        for taker in takers {
            taken += usize::from(taker.await.unwrap() == StepTaken::Yes);
        }
        assert_eq!(taken, 1);
    }

    #[tokio::test]
    async fn a_thousand_tries_at_one_instant_get_five() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bartizan.db")).await.unwrap();
        with_code(&store, "alice").await;
        let tries: Vec<_> = (0..200)
            .map(|n| {
                let store = store.clone();
                tokio::spawn(async move { granted(&store, "alice", &format!("10.0.0.{n}"), 1000).await })
            })
            .collect();
        let mut made = 0;
        for one in tries {
            made += usize::from(one.await.unwrap());
        }
        assert_eq!(made, 5);
    }
}
