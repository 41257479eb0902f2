//! Enrolments that are open: which token may bring which machine its key, until when, once.
//! It never keeps a token's secret, and a machine gets its key in the same step in which its token is used up.

use sqlx::{FromRow, Sqlite, Transaction};

use super::devices::key_is_free;
use super::{Device, DeviceState, Store, StoreError};

/// An enrolment to be opened.
#[derive(Debug, Clone, Copy)]
pub struct NewEnrolment<'a> {
    /// The token's id.
    pub id: &'a str,
    /// The machine, registered.
    pub device: &'a str,
    /// SHA-256 of the token's secret.
    pub secret: &'a [u8],
    /// Until when, ms.
    pub expires: i64,
}

/// An enrolment that is open.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Enrolment {
    /// The token's id.
    pub id: String,
    /// The machine.
    pub device: String,
    /// Whose it is to be.
    pub operator: String,
    /// Until when, ms.
    pub expires: i64,
}

/// What a token and a proven key come with.
#[derive(Debug, Clone, Copy)]
pub struct Enrolling<'a> {
    /// The token's id.
    pub id: &'a str,
    /// SHA-256 of the secret that was brought.
    pub secret: &'a [u8],
    /// Fingerprint (`SHA256:...`) and key (`algorithm base64`).
    pub key: (&'a str, &'a str),
}

impl Store {
    /// Opens an enrolment; an earlier one of the same machine ends.
    ///
    /// # Errors
    /// When the machine is not registered, or the database fails.
    pub async fn open_enrolment(&self, new: &NewEnrolment<'_>) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO enrolments (id, device, secret, expires) VALUES ($1, $2, $3, $4)
             ON CONFLICT (device) DO UPDATE SET id = excluded.id, secret = excluded.secret, expires = excluded.expires",
        )
        .bind(new.id)
        .bind(new.device)
        .bind(new.secret)
        .bind(new.expires)
        .execute(&self.writes)
        .await?;
        Ok(())
    }

    /// The enrolment that this token opens, if it is still open.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn enrolment(&self, id: &str, now: i64) -> Result<Option<Enrolment>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT e.id, e.device, d.operator, e.expires FROM enrolments e JOIN devices d ON d.name = e.device
             WHERE e.id = $1 AND e.expires > $2",
        )
        .bind(id)
        .bind(now)
        .fetch_optional(&self.reads)
        .await?)
    }

    /// Uses a token up and gives its machine this key: active at once where an administrator vouches for it, else pending.
    /// `None` when the token is not open, its secret is another, or its machine is not waiting for a key.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the key is another device's or an operator's, or when the database fails; then the token is
    /// as it was.
    pub async fn enrol(&self, with: &Enrolling<'_>, now: i64) -> Result<Option<Device>, StoreError> {
        let mut tx = self.begin().await?;
        key_is_free(&mut tx, with.key.0).await?;
        let device: Option<String> = sqlx::query_scalar(
            "DELETE FROM enrolments WHERE id = $1 AND secret = $2 AND expires > $3 RETURNING device",
        )
        .bind(with.id)
        .bind(with.secret)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(name) = device else { return Ok(None) };
        let enrolled = give_key(&mut tx, &name, with.key, now).await?;
        // Of a machine that was locked out meanwhile the token stays unused, and nothing has changed.
        if enrolled.is_some() {
            tx.commit().await?;
        }
        Ok(enrolled)
    }
}

async fn give_key(
    tx: &mut Transaction<'_, Sqlite>,
    name: &str,
    key: (&str, &str),
    now: i64,
) -> Result<Option<Device>, StoreError> {
    Ok(sqlx::query_as(
        "UPDATE devices SET fingerprint = $2, public_key = $3, changed = $4,
             state = CASE imported WHEN 1 THEN $5 ELSE $6 END,
             approved = CASE imported WHEN 1 THEN $4 END,
             approved_by = CASE imported WHEN 1 THEN registered_by END
         WHERE name = $1 AND state = $7 RETURNING *",
    )
    .bind(name)
    .bind(key.0)
    .bind(key.1)
    .bind(now)
    .bind(DeviceState::Active.as_str())
    .bind(DeviceState::Pending.as_str())
    .bind(DeviceState::Registered.as_str())
    .fetch_optional(&mut **tx)
    .await?)
}

#[cfg(test)]
mod tests {
    use super::super::NewDevice;
    use super::*;

    const KEY: (&str, &str) = ("SHA256:d", "ssh-ed25519 D");

    async fn registered(imported: bool) -> Store {
        let store = Store::in_memory().await.unwrap();
        let new = NewDevice {
            state: DeviceState::Registered,
            imported,
            ..NewDevice::active("lt-1", "alice", "acme", None)
        };
        store.add_device(&new, 1).await.unwrap();
        let open = NewEnrolment { id: "t1", device: "lt-1", secret: b"hash", expires: 100 };
        store.open_enrolment(&open).await.unwrap();
        store
    }

    fn with<'a>(id: &'a str, secret: &'a [u8]) -> Enrolling<'a> {
        Enrolling { id, secret, key: KEY }
    }

    #[tokio::test]
    async fn a_token_is_used_once_in_its_time_with_its_secret() {
        let store = registered(false).await;
        assert_eq!(store.enrolment("t1", 99).await.unwrap().unwrap().device, "lt-1");
        assert!(store.enrolment("t1", 100).await.unwrap().is_none());
        assert!(store.enrol(&with("t1", b"other"), 2).await.unwrap().is_none());
        assert!(store.enrol(&with("t2", b"hash"), 2).await.unwrap().is_none());
        assert!(store.enrol(&with("t1", b"hash"), 100).await.unwrap().is_none());
        let device = store.enrol(&with("t1", b"hash"), 50).await.unwrap().unwrap();
        assert_eq!((device.state, device.fingerprint.as_deref()), (DeviceState::Pending, Some(KEY.0)));
        assert_eq!((device.approved, device.approved_by), (None, None));
        let again = Enrolling { key: ("SHA256:e", "ssh-ed25519 E"), ..with("t1", b"hash") };
        assert!(store.enrol(&again, 51).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn one_that_an_administrator_vouches_for_is_active_at_once() {
        let store = registered(true).await;
        let device = store.enrol(&with("t1", b"hash"), 50).await.unwrap().unwrap();
        assert_eq!(
            (device.state, device.approved, device.approved_by.as_deref()),
            (DeviceState::Active, Some(50), Some("root"))
        );
    }

    #[tokio::test]
    async fn a_key_that_is_known_enrols_nothing_and_leaves_the_token() {
        let store = registered(false).await;
        store.add_device(&NewDevice::active("lt-2", "bob", "acme", Some(KEY)), 1).await.unwrap();
        assert!(matches!(
            store.enrol(&with("t1", b"hash"), 50).await,
            Err(StoreError::Exists { noun: "key", .. })
        ));
        assert!(store.enrolment("t1", 50).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_machine_that_was_retired_meanwhile_is_not_enrolled() {
        let store = registered(true).await;
        store.set_device_state("lt-1", DeviceState::Retired, 2).await.unwrap();
        assert!(store.enrol(&with("t1", b"hash"), 50).await.unwrap().is_none());
        assert_eq!(store.device("lt-1").await.unwrap().unwrap().fingerprint, None);
    }

    #[tokio::test]
    async fn a_second_token_ends_the_first() {
        let store = registered(false).await;
        let second = NewEnrolment { id: "t2", device: "lt-1", secret: b"two", expires: 100 };
        store.open_enrolment(&second).await.unwrap();
        assert!(store.enrol(&with("t1", b"hash"), 2).await.unwrap().is_none());
        assert!(store.enrol(&with("t2", b"two"), 2).await.unwrap().is_some());
    }
}
