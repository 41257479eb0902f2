//! MFA memory: a code given on a device counts for later logins from the same device key, for as long as policy says.
//! It never looks at an address, never renews itself by being used, and is capped in number and in rate.

use sqlx::FromRow;

use super::{Store, StoreError};

/// One code stands for at most so many logins.
pub const USES_MAX: i64 = 20_000;
/// And for at most so many in a minute.
pub const MINUTE_USES_MAX: i64 = 1_200;
/// So many devices remember one operator; so many operators are remembered on one device.
const ROWS_MAX: i64 = 16;

/// What is remembered.
#[derive(Debug, Clone, Copy)]
pub struct Remembered<'a> {
    /// Who gave the code.
    pub operator: &'a str,
    /// On which device.
    pub device: &'a str,
    /// The fingerprint of the key by which the device had proven itself.
    pub device_key: &'a str,
    /// Which authenticator made the code.
    pub authenticator: i64,
    /// The assurance reached.
    pub level: u8,
    /// When the code was given, ms.
    pub given: i64,
}

/// What was recalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Memory {
    /// Which authenticator made the code.
    pub authenticator: i64,
    /// The assurance reached then.
    #[sqlx(try_from = "i64")]
    pub level: u8,
    /// When the code was given, ms.
    pub given: i64,
}

impl Store {
    /// Remembers that a code was given, in place of an earlier one of the same authenticator on the same device. Of an
    /// operator's devices, and of a device's operators, the oldest beyond the cap are forgotten.
    ///
    /// # Errors
    /// When the database fails, also when operator, device or authenticator are gone meanwhile.
    pub async fn remember(&self, what: &Remembered<'_>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO mfa_memory (operator, device, authenticator, device_key, level, given, uses, minute, minute_uses)
             VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0)
             ON CONFLICT (operator, device, authenticator) DO UPDATE SET device_key = excluded.device_key,
                 level = excluded.level, given = excluded.given, uses = 0, minute = 0, minute_uses = 0",
        )
        .bind(what.operator)
        .bind(what.device)
        .bind(what.authenticator)
        .bind(what.device_key)
        .bind(i64::from(what.level))
        .bind(what.given)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM mfa_memory WHERE operator = $1 AND given <
             (SELECT given FROM mfa_memory WHERE operator = $1 ORDER BY given DESC LIMIT 1 OFFSET $2)",
        )
        .bind(what.operator)
        .bind(ROWS_MAX - 1)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM mfa_memory WHERE device = $1 AND given <
             (SELECT given FROM mfa_memory WHERE device = $1 ORDER BY given DESC LIMIT 1 OFFSET $2)",
        )
        .bind(what.device)
        .bind(ROWS_MAX - 1)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The newest code of this operator from this device key given after `since` and not after `now` (a clock that was
    /// set back remembers nothing from its future). Each call counts as one use.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn recall(
        &self,
        operator: &str,
        device: &str,
        device_key: &str,
        since: i64,
        now: i64,
    ) -> Result<Option<Memory>, StoreError> {
        let minute = now.div_euclid(60_000);
        let found: Vec<Memory> = sqlx::query_as(
            "UPDATE mfa_memory SET uses = uses + 1,
                 minute_uses = CASE WHEN minute = $6 THEN minute_uses + 1 ELSE 1 END, minute = $6
             WHERE operator = $1 AND device = $2 AND device_key = $3 AND given > $4 AND given <= $5
                 AND uses < $7 AND (minute <> $6 OR minute_uses < $8)
             RETURNING authenticator, level, given",
        )
        .bind(operator)
        .bind(device)
        .bind(device_key)
        .bind(since)
        .bind(now)
        .bind(minute)
        .bind(USES_MAX)
        .bind(MINUTE_USES_MAX)
        .fetch_all(&self.writes)
        .await?;
        Ok(found.into_iter().max_by_key(|memory| memory.given))
    }

    /// Forgets what was given on this device: by everybody, or by one operator (a logout). Says how much.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_device(&self, device: &str, operator: Option<&str>) -> Result<u64, StoreError> {
        Ok(sqlx::query("DELETE FROM mfa_memory WHERE device = $1 AND ($2 IS NULL OR operator = $2)")
            .bind(device)
            .bind(operator)
            .execute(&self.writes)
            .await?
            .rows_affected())
    }

    /// Forgets what was given before this time. Says how much.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_before(&self, given: i64) -> Result<u64, StoreError> {
        Ok(sqlx::query("DELETE FROM mfa_memory WHERE given < $1")
            .bind(given)
            .execute(&self.writes)
            .await?
            .rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::super::operators::tests::with_operator;
    use super::super::{DeviceState, NewDevice, OperatorState};
    use super::*;

    async fn scene() -> (Store, i64) {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        let id = store.set_totp("alice", b"sealed", 1).await.unwrap();
        for n in 0..20 {
            let (name, key) = (format!("lt-{n}"), format!("SHA256:{n}"));
            let device = NewDevice::active(&name, "alice", "default", Some((&key, "ssh-ed25519 D")));
            store.add_device(&device, 1).await.unwrap();
        }
        (store, id)
    }

    fn given(device: &str, authenticator: i64, given: i64) -> Remembered<'_> {
        Remembered { operator: "alice", device, device_key: "SHA256:k", authenticator, level: 1, given }
    }

    async fn recalled(store: &Store, device: &str, since: i64, now: i64) -> Option<i64> {
        store.recall("alice", device, "SHA256:k", since, now).await.unwrap().map(|memory| memory.given)
    }

    #[tokio::test]
    async fn a_code_is_remembered_for_its_device_key_and_within_its_time_only() {
        let (store, id) = scene().await;
        store.remember(&given("lt-0", id, 1000)).await.unwrap();
        assert_eq!(recalled(&store, "lt-0", 500, 2000).await, Some(1000));
        assert_eq!(recalled(&store, "lt-0", 1000, 2000).await, None, "too old");
        assert_eq!(recalled(&store, "lt-0", 0, 999).await, None, "from the future of a clock set back");
        assert_eq!(recalled(&store, "lt-1", 500, 2000).await, None, "another device");
        let rekeyed = store.recall("alice", "lt-0", "SHA256:other", 500, 2000).await.unwrap();
        assert_eq!(rekeyed, None, "the same device with a new key");
        assert_eq!(store.recall("bob", "lt-0", "SHA256:k", 500, 2000).await.unwrap(), None);
    }

    #[tokio::test]
    async fn use_is_capped_in_rate_and_number() {
        let (store, id) = scene().await;
        store.remember(&given("lt-0", id, 1000)).await.unwrap();
        for _ in 0..MINUTE_USES_MAX {
            assert!(recalled(&store, "lt-0", 0, 2000).await.is_some());
        }
        assert_eq!(recalled(&store, "lt-0", 0, 2000).await, None);
        assert!(recalled(&store, "lt-0", 0, 62_000).await.is_some());
        sqlx::query("UPDATE mfa_memory SET uses = $1").bind(USES_MAX).execute(&store.writes).await.unwrap();
        assert_eq!(recalled(&store, "lt-0", 0, 200_000).await, None);
    }

    #[tokio::test]
    async fn an_operator_is_remembered_on_a_bounded_number_of_devices() {
        let (store, id) = scene().await;
        for n in 0..20 {
            store.remember(&given(&format!("lt-{n}"), id, 1000 + n)).await.unwrap();
        }
        let rows: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM mfa_memory").fetch_one(&store.reads).await.unwrap();
        assert_eq!(rows, ROWS_MAX);
        assert_eq!(recalled(&store, "lt-0", 0, 5000).await, None, "the oldest went");
        assert!(recalled(&store, "lt-19", 0, 5000).await.is_some());
    }

    #[tokio::test]
    async fn lock_disable_logout_new_seed_and_age_end_it() {
        let (store, id) = scene().await;
        store.remember(&given("lt-0", id, 1000)).await.unwrap();
        store.set_device_state("lt-0", DeviceState::Locked, 2).await.unwrap();
        store.set_device_state("lt-0", DeviceState::Active, 3).await.unwrap();
        assert_eq!(recalled(&store, "lt-0", 0, 5000).await, None, "locked and unlocked");
        store.remember(&given("lt-0", id, 1000)).await.unwrap();
        store.set_operator_state("alice", OperatorState::Disabled, 4).await.unwrap();
        store.set_operator_state("alice", OperatorState::Active, 5).await.unwrap();
        assert_eq!(recalled(&store, "lt-0", 0, 5000).await, None, "disabled and enabled");
        store.remember(&given("lt-0", id, 1000)).await.unwrap();
        assert_eq!(store.forget_device("lt-0", Some("bob")).await.unwrap(), 0);
        assert_eq!(store.forget_device("lt-0", Some("alice")).await.unwrap(), 1);
        store.remember(&given("lt-0", id, 1000)).await.unwrap();
        assert_eq!(store.forget_before(1001).await.unwrap(), 1);
        store.remember(&given("lt-0", id, 1000)).await.unwrap();
        store.set_totp("alice", b"new", 6).await.unwrap();
        assert_eq!(recalled(&store, "lt-0", 0, 5000).await, None, "a new seed");
        assert!(store.remember(&given("lt-0", id, 1000)).await.is_err(), "the old authenticator is gone");
    }
}
