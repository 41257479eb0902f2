//! The inventory of machines: whose each is, in which state, and the key it proves itself with.
//! It never judges a device; it keeps what an administrator decided and refuses impossible turns.

pub use posture::{Kind as DeviceKind, State as DeviceState};
use serde::Serialize;
use sqlx::{FromRow, Sqlite, Transaction};

use super::{Store, StoreError};

/// A machine of the inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Device {
    /// The name.
    pub name: String,
    /// The operator who may use it.
    pub operator: String,
    /// The one tenant it belongs to.
    pub tenant: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: DeviceState,
    /// A person's machine or a service's.
    #[sqlx(try_from = "String")]
    pub kind: DeviceKind,
    /// Owned by a person, not managed by the company.
    pub personal: bool,
    /// An administrator vouches for it: no second person need approve.
    pub imported: bool,
    /// `SHA256:...` of its key.
    pub fingerprint: Option<String>,
    /// `algorithm base64` of its key.
    pub public_key: Option<String>,
    /// When it was registered, ms.
    pub registered: i64,
    /// By whom.
    pub registered_by: String,
    /// When it was approved, ms.
    pub approved: Option<i64>,
    /// By whom.
    pub approved_by: Option<String>,
    /// When its state last changed, ms.
    pub changed: i64,
}

/// What `device register` writes.
#[derive(Debug, Clone, Copy)]
pub struct NewDevice<'a> {
    /// The name, parsed.
    pub name: &'a str,
    /// Its owner, parsed.
    pub operator: &'a str,
    /// Its tenant, parsed.
    pub tenant: &'a str,
    /// `Registered`, or `Active` for one whose key an administrator brings along.
    pub state: DeviceState,
    /// A person's machine or a service's.
    pub kind: DeviceKind,
    /// Owned by a person.
    pub personal: bool,
    /// An administrator vouches for it: no second person need approve.
    pub imported: bool,
    /// Fingerprint (`SHA256:...`) and key (`algorithm base64`).
    pub key: Option<(&'a str, &'a str)>,
    /// Who registers it.
    pub by: &'a str,
}

#[cfg(test)]
impl<'a> NewDevice<'a> {
    /// A managed device in use, registered by `root`.
    pub(crate) fn active(
        name: &'a str,
        operator: &'a str,
        tenant: &'a str,
        key: Option<(&'a str, &'a str)>,
    ) -> Self {
        let (state, kind) = (DeviceState::Active, DeviceKind::default());
        Self { name, operator, tenant, state, kind, personal: false, imported: false, key, by: "root" }
    }
}

impl Store {
    /// Registers a device. One that starts `Active` counts as approved by who registers it.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when the name is taken, or the key by another device or an operator; or when the
    /// database fails.
    pub async fn add_device(&self, new: &NewDevice<'_>, now: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if let Some((fingerprint, _)) = new.key {
            key_is_free(&mut tx, fingerprint).await?;
        }
        let approved = (new.state == DeviceState::Active).then_some(now);
        sqlx::query(
            "INSERT INTO devices (name, operator, tenant, state, kind, personal, imported, fingerprint, public_key,
                 registered, registered_by, approved, approved_by, changed)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $10)",
        )
        .bind(new.name)
        .bind(new.operator)
        .bind(new.tenant)
        .bind(new.state.as_str())
        .bind(new.kind.as_str())
        .bind(new.personal)
        .bind(new.imported)
        .bind(new.key.map(|key| key.0))
        .bind(new.key.map(|key| key.1))
        .bind(now)
        .bind(new.by)
        .bind(approved)
        .bind(approved.map(|_| new.by))
        .execute(&mut *tx)
        .await
        .map_err(|e| StoreError::exists(e, "device", new.name, "; choose another name"))?;
        tx.commit().await?;
        Ok(())
    }

    /// The device of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device(&self, name: &str) -> Result<Option<Device>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM devices WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.reads)
            .await?)
    }

    /// The device with this key, in whatever state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device_by_key(&self, fingerprint: &str) -> Result<Option<Device>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM devices WHERE fingerprint = $1")
            .bind(fingerprint)
            .fetch_optional(&self.reads)
            .await?)
    }

    /// Every device, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices(&self) -> Result<Vec<Device>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM devices ORDER BY name").fetch_all(&self.reads).await?)
    }

    /// Turns the device to another state; leaving `Active` ends what was remembered of codes given on it. Says whether
    /// anything changed.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Step`] for a step that no device may take, or when the database fails.
    pub async fn set_device_state(&self, name: &str, to: DeviceState, now: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let is = state(&mut tx, name).await?;
        if is == to {
            return Ok(false);
        }
        step(name, is, to)?;
        if to == DeviceState::Active && is != DeviceState::Locked {
            let remedy = "only a locked device is unlocked; one that waits is approved";
            return Err(StoreError::Step { name: name.to_owned(), is, to, remedy });
        }
        sqlx::query("UPDATE devices SET state = $2, changed = $3 WHERE name = $1")
            .bind(name)
            .bind(to.as_str())
            .bind(now)
            .execute(&mut *tx)
            .await?;
        if to != DeviceState::Active {
            forget(&mut tx, name).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Makes a pending device active in the name of a second person.
    ///
    /// # Errors
    /// [`StoreError::Missing`]; [`StoreError::Step`] when it does not wait for approval; [`StoreError::SecondPerson`] when `by` is
    /// who registered it; or when the database fails.
    pub async fn approve_device(&self, name: &str, by: &str, now: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let is = state(&mut tx, name).await?;
        if is != DeviceState::Pending {
            let remedy = "only a device that has proven its key and waits is approved";
            return Err(StoreError::Step { name: name.to_owned(), is, to: DeviceState::Active, remedy });
        }
        let done = sqlx::query(
            "UPDATE devices SET state = $2, changed = $3, approved = $3, approved_by = $4
             WHERE name = $1 AND registered_by <> $4",
        )
        .bind(name)
        .bind(DeviceState::Active.as_str())
        .bind(now)
        .bind(by)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() != 1 {
            return Err(StoreError::SecondPerson { name: name.to_owned() });
        }
        tx.commit().await?;
        Ok(())
    }

    /// Registers a device once more that has lost its key or never had one: it may be enrolled anew. What is on record of it
    /// otherwise is as `new` says; its name and operator are as they were.
    ///
    /// # Errors
    /// [`StoreError::Step`] when it is in use or gone for good, [`StoreError::Exists`] when it is another operator's, or when the
    /// database fails.
    pub async fn register_again(&self, new: &NewDevice<'_>, now: i64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let is = state(&mut tx, new.name).await?;
        if is != DeviceState::Registered {
            step(new.name, is, DeviceState::Registered)?;
        }
        let done = sqlx::query(
            "UPDATE devices SET state = $3, changed = $4, registered = $4, registered_by = $5, tenant = $6, kind = $7,
                 personal = $8, imported = $9, fingerprint = NULL, public_key = NULL, approved = NULL, approved_by = NULL
             WHERE name = $1 AND operator = $2",
        )
        .bind(new.name)
        .bind(new.operator)
        .bind(DeviceState::Registered.as_str())
        .bind(now)
        .bind(new.by)
        .bind(new.tenant)
        .bind(new.kind.as_str())
        .bind(new.personal)
        .bind(new.imported)
        .execute(&mut *tx)
        .await?;
        if done.rows_affected() != 1 {
            let remedy = " for another operator; choose another name";
            return Err(StoreError::Exists { noun: "device", name: new.name.to_owned(), remedy });
        }
        forget(&mut tx, new.name).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// A key names one machine or one operator.
pub(super) async fn key_is_free(
    tx: &mut Transaction<'_, Sqlite>,
    fingerprint: &str,
) -> Result<(), StoreError> {
    let taken: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM operator_keys WHERE fingerprint = $1 UNION SELECT 1 FROM devices WHERE fingerprint = $1",
    )
    .bind(fingerprint)
    .fetch_optional(&mut **tx)
    .await?;
    if taken.is_none() {
        return Ok(());
    }
    let remedy = " for an operator or a device; use a key of its own for each";
    Err(StoreError::Exists { noun: "key", name: fingerprint.to_owned(), remedy })
}

async fn state(tx: &mut Transaction<'_, Sqlite>, name: &str) -> Result<DeviceState, StoreError> {
    let text: Option<String> = sqlx::query_scalar("SELECT state FROM devices WHERE name = $1")
        .bind(name)
        .fetch_optional(&mut **tx)
        .await?;
    let text = text.ok_or_else(|| StoreError::missing("device", name))?;
    let unreadable = |why: posture::StateError| StoreError::Unreadable {
        noun: "device",
        name: name.to_owned(),
        why: why.to_string(),
    };
    text.parse().map_err(unreadable)
}

fn step(name: &str, is: DeviceState, to: DeviceState) -> Result<(), StoreError> {
    match is.step(to) {
        Err(posture::StateError::Step { remedy, .. }) => {
            Err(StoreError::Step { name: name.to_owned(), is, to, remedy })
        }
        _ => Ok(()),
    }
}

/// What was remembered of codes given on it.
async fn forget(tx: &mut Transaction<'_, Sqlite>, name: &str) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM mfa_memory WHERE device = $1").bind(name).execute(&mut **tx).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_device_reads_back_as_registered() {
        let store = Store::in_memory().await.unwrap();
        let new = NewDevice::active("lt-1", "alice", "acme", Some(("SHA256:d", "ssh-ed25519 D")));
        store.add_device(&new, 5).await.unwrap();
        let device = store.device_by_key("SHA256:d").await.unwrap().unwrap();
        assert_eq!(
            (device.name.as_str(), device.operator.as_str(), device.tenant.as_str()),
            ("lt-1", "alice", "acme")
        );
        assert_eq!(
            (device.state, device.approved, device.approved_by.as_deref()),
            (DeviceState::Active, Some(5), Some("root"))
        );
        assert_eq!(store.devices().await.unwrap(), [device]);
        assert!(matches!(store.add_device(&new, 6).await, Err(StoreError::Exists { noun: "key", .. })));
        let same_name = NewDevice { key: None, ..new };
        assert!(matches!(
            store.add_device(&same_name, 6).await,
            Err(StoreError::Exists { noun: "device", .. })
        ));
    }

    #[tokio::test]
    async fn a_retired_device_never_comes_back_and_a_lost_one_is_not_unlocked() {
        let store = Store::in_memory().await.unwrap();
        store.add_device(&NewDevice::active("lt-1", "alice", "acme", None), 1).await.unwrap();
        assert!(store.set_device_state("lt-1", DeviceState::Locked, 2).await.unwrap());
        assert!(!store.set_device_state("lt-1", DeviceState::Locked, 3).await.unwrap());
        assert!(store.set_device_state("lt-1", DeviceState::Lost, 4).await.unwrap());
        let back = store.set_device_state("lt-1", DeviceState::Active, 5).await;
        assert!(matches!(back, Err(StoreError::Step { is: DeviceState::Lost, to: DeviceState::Active, .. })));
        assert!(store.set_device_state("lt-1", DeviceState::Retired, 6).await.unwrap());
        assert!(store.set_device_state("lt-1", DeviceState::Active, 7).await.is_err());
        assert!(matches!(
            store.set_device_state("lt-2", DeviceState::Locked, 8).await,
            Err(StoreError::Missing { .. })
        ));
    }

    #[tokio::test]
    async fn approval_takes_a_second_person_and_a_device_that_waits() {
        let store = Store::in_memory().await.unwrap();
        let new =
            NewDevice { state: DeviceState::Pending, ..NewDevice::active("lt-1", "alice", "acme", None) };
        store.add_device(&new, 1).await.unwrap();
        let unlocked = store.set_device_state("lt-1", DeviceState::Active, 2).await;
        assert!(matches!(unlocked, Err(StoreError::Step { .. })), "unlocking is no way around it");
        assert!(matches!(
            store.approve_device("lt-1", "root", 2).await,
            Err(StoreError::SecondPerson { .. })
        ));
        store.approve_device("lt-1", "ben", 3).await.unwrap();
        let device = store.device("lt-1").await.unwrap().unwrap();
        assert_eq!((device.state, device.approved_by.as_deref()), (DeviceState::Active, Some("ben")));
        assert!(matches!(store.approve_device("lt-1", "ben", 4).await, Err(StoreError::Step { .. })));
    }

    #[tokio::test]
    async fn a_lost_device_that_is_registered_again_has_no_key_any_more() {
        let store = Store::in_memory().await.unwrap();
        let new = NewDevice::active("lt-1", "alice", "acme", Some(("SHA256:d", "ssh-ed25519 D")));
        store.add_device(&new, 1).await.unwrap();
        assert!(matches!(store.register_again(&new, 2).await, Err(StoreError::Step { .. })), "it is in use");
        store.set_device_state("lt-1", DeviceState::Lost, 3).await.unwrap();
        let bobs = NewDevice { operator: "bob", ..new };
        assert!(matches!(store.register_again(&bobs, 4).await, Err(StoreError::Exists { .. })));
        store.register_again(&new, 5).await.unwrap();
        let device = store.device("lt-1").await.unwrap().unwrap();
        assert_eq!(
            (device.state, device.fingerprint, device.approved),
            (DeviceState::Registered, None, None)
        );
        store.register_again(&new, 6).await.unwrap();
    }
}
