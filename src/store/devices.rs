//! The inventory of machines: whose each is, in which state, and the key it proves itself with.
//! It never judges a device; it keeps what an administrator decided and refuses impossible turns.

use serde::Serialize;
use sqlx::FromRow;

use super::{Store, StoreError};

/// Where a device stands.
///
/// ```text
/// registered -> pending -> active <-> locked
///      any of these -> lost -> retired        retired is final
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
pub enum DeviceState {
    /// Known by name; has no key yet.
    Registered,
    /// Has proven its key; waits for a second person.
    Pending,
    /// May be used.
    Active,
    /// Stopped by an administrator; may come back.
    Locked,
    /// Out of its owner's hands.
    Lost,
    /// Gone for good.
    Retired,
}

impl DeviceState {
    /// The word that people and the log see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Locked => "locked",
            Self::Lost => "lost",
            Self::Retired => "retired",
        }
    }

    fn may_become(self, to: Self) -> bool {
        use DeviceState::{Active, Locked, Lost, Pending, Registered, Retired};
        match self {
            Registered => matches!(to, Pending | Active | Lost | Retired),
            Pending => matches!(to, Active | Lost | Retired),
            Active => matches!(to, Locked | Lost | Retired),
            Locked => matches!(to, Active | Lost | Retired),
            Lost => to == Retired,
            Retired => false,
        }
    }
}

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
    pub state: DeviceState,
    /// Owned by a person, not managed by the company.
    pub personal: bool,
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
    /// `Registered`, or `Active` for one that an administrator vouches for.
    pub state: DeviceState,
    /// Owned by a person.
    pub personal: bool,
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
        Self { name, operator, tenant, state: DeviceState::Active, personal: false, key, by: "root" }
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
            let taken: Option<i64> = sqlx::query_scalar(
                "SELECT 1 FROM operator_keys WHERE fingerprint = $1 UNION SELECT 1 FROM devices WHERE fingerprint = $1",
            )
            .bind(fingerprint)
            .fetch_optional(&mut *tx)
            .await?;
            if taken.is_some() {
                let remedy = " for an operator or a device; use a key of its own for each";
                return Err(StoreError::Exists { noun: "key", name: fingerprint.to_owned(), remedy });
            }
        }
        let approved = (new.state == DeviceState::Active).then_some(now);
        sqlx::query(
            "INSERT INTO devices (name, operator, tenant, state, personal, fingerprint, public_key,
                 registered, registered_by, approved, approved_by, changed)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $8)",
        )
        .bind(new.name)
        .bind(new.operator)
        .bind(new.tenant)
        .bind(new.state)
        .bind(new.personal)
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
            .fetch_optional(&self.pool)
            .await?)
    }

    /// The device with this key, in whatever state.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn device_by_key(&self, fingerprint: &str) -> Result<Option<Device>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM devices WHERE fingerprint = $1")
            .bind(fingerprint)
            .fetch_optional(&self.pool)
            .await?)
    }

    /// Every device, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn devices(&self) -> Result<Vec<Device>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM devices ORDER BY name").fetch_all(&self.pool).await?)
    }

    /// Turns the device to another state; leaving `Active` ends what was remembered of codes given on it. Says whether
    /// anything changed.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::State`] for a turn that is not in the picture of [`DeviceState`], or when
    /// the database fails.
    pub async fn set_device_state(&self, name: &str, to: DeviceState, now: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let is: Option<DeviceState> = sqlx::query_scalar("SELECT state FROM devices WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *tx)
            .await?;
        let is = is.ok_or_else(|| StoreError::missing("device", name))?;
        if is == to {
            return Ok(false);
        }
        if !is.may_become(to) {
            return Err(StoreError::State {
                noun: "device",
                name: name.to_owned(),
                is: is.as_str(),
                to: to.as_str(),
            });
        }
        sqlx::query("UPDATE devices SET state = $2, changed = $3 WHERE name = $1")
            .bind(name)
            .bind(to)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        if to != DeviceState::Active {
            sqlx::query("DELETE FROM mfa_memory WHERE device = $1").bind(name).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }
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
        assert!(matches!(back, Err(StoreError::State { is: "lost", to: "active", .. })));
        assert!(store.set_device_state("lt-1", DeviceState::Retired, 6).await.unwrap());
        assert!(store.set_device_state("lt-1", DeviceState::Active, 7).await.is_err());
        assert!(matches!(
            store.set_device_state("lt-2", DeviceState::Locked, 8).await,
            Err(StoreError::Missing { .. })
        ));
    }
}
