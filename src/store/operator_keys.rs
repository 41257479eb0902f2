//! The public keys by which operators prove themselves: one key, one operator, and never a device's.
//! It never judges a key's kind or size; that is done before a key comes here and again when it is used.

use serde::Serialize;
use sqlx::FromRow;

use super::{Store, StoreError};

/// A registered key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct OperatorKey {
    /// `SHA256:...`, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// Whose it is.
    pub operator: String,
    /// `algorithm base64`, without the comment.
    pub public_key: String,
    /// The comment it came with, for people.
    pub comment: String,
    /// When it was registered, ms.
    pub added: i64,
}

/// What `operator key add` writes.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// Whose it is to be.
    pub operator: &'a str,
    /// `SHA256:...`.
    pub fingerprint: &'a str,
    /// `algorithm base64`.
    pub public_key: &'a str,
    /// For people.
    pub comment: &'a str,
}

impl Store {
    /// Registers a key of an operator who has a row (see [`Store::know_operator`]) and is not revoked.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when any operator or device has this key already, [`StoreError::Missing`] without an
    /// operator's row, [`StoreError::Final`] for a revoked one, or when the database fails.
    pub async fn add_operator_key(&self, new: &NewKey<'_>, now: i64) -> Result<(), StoreError> {
        const REMEDY: &str = " for an operator or a device; use a key of its own for each";
        let mut tx = self.begin().await?;
        super::operators::standing(&mut tx, new.operator).await?;
        let device: Option<i64> = sqlx::query_scalar("SELECT 1 FROM devices WHERE fingerprint = $1")
            .bind(new.fingerprint)
            .fetch_optional(&mut *tx)
            .await?;
        if device.is_some() {
            return Err(StoreError::Exists { noun: "key", name: new.fingerprint.to_owned(), remedy: REMEDY });
        }
        sqlx::query(
            "INSERT INTO operator_keys (fingerprint, operator, public_key, comment, added)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(new.fingerprint)
        .bind(new.operator)
        .bind(new.public_key)
        .bind(new.comment)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(|e| StoreError::exists(e, "key", new.fingerprint, REMEDY))?;
        tx.commit().await?;
        Ok(())
    }

    /// The key of this fingerprint, whoever's it is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operator_key(&self, fingerprint: &str) -> Result<Option<OperatorKey>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM operator_keys WHERE fingerprint = $1")
            .bind(fingerprint)
            .fetch_optional(&self.reads)
            .await?)
    }

    /// An operator's keys, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn operator_keys(&self, operator: &str) -> Result<Vec<OperatorKey>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM operator_keys WHERE operator = $1 ORDER BY added, fingerprint")
            .bind(operator)
            .fetch_all(&self.reads)
            .await?)
    }

    /// Takes a key away from its operator. Says whether there was one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_operator_key(&self, operator: &str, fingerprint: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM operator_keys WHERE operator = $1 AND fingerprint = $2")
            .bind(operator)
            .bind(fingerprint)
            .execute(&self.writes)
            .await?;
        Ok(done.rows_affected() == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::operators::tests::with_operator;
    use super::super::{NewDevice, OperatorState};
    use super::*;

    fn key<'a>(operator: &'a str, fingerprint: &'a str) -> NewKey<'a> {
        NewKey { operator, fingerprint, public_key: "ssh-ed25519 AAAA", comment: "laptop" }
    }

    #[tokio::test]
    async fn a_key_names_one_operator_only() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        with_operator(&store, "bob").await;
        store.add_operator_key(&key("alice", "SHA256:a"), 1).await.unwrap();
        assert!(matches!(
            store.add_operator_key(&key("bob", "SHA256:a"), 2).await,
            Err(StoreError::Exists { .. })
        ));
        assert_eq!(store.operator_key("SHA256:a").await.unwrap().unwrap().operator, "alice");
        assert!(!store.remove_operator_key("bob", "SHA256:a").await.unwrap());
        assert!(store.remove_operator_key("alice", "SHA256:a").await.unwrap());
        assert_eq!(store.operator_keys("alice").await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_device_key_never_becomes_an_operators_key_nor_the_other_way_round() {
        let store = Store::in_memory().await.unwrap();
        with_operator(&store, "alice").await;
        let mut device = NewDevice::active("lt-1", "alice", "default", Some(("SHA256:d", "ssh-ed25519 D")));
        store.add_device(&device, 1).await.unwrap();
        assert!(matches!(
            store.add_operator_key(&key("alice", "SHA256:d"), 2).await,
            Err(StoreError::Exists { .. })
        ));
        store.add_operator_key(&key("alice", "SHA256:a"), 3).await.unwrap();
        device.name = "lt-2";
        device.key = Some(("SHA256:a", "ssh-ed25519 A"));
        assert!(matches!(store.add_device(&device, 4).await, Err(StoreError::Exists { .. })));
    }

    #[tokio::test]
    async fn nobody_and_the_revoked_take_no_keys() {
        let store = Store::in_memory().await.unwrap();
        assert!(matches!(
            store.add_operator_key(&key("nobody", "SHA256:a"), 1).await,
            Err(StoreError::Missing { .. })
        ));
        with_operator(&store, "bob").await;
        store.set_operator_state("bob", OperatorState::Revoked, 2).await.unwrap();
        assert!(matches!(
            store.add_operator_key(&key("bob", "SHA256:b"), 3).await,
            Err(StoreError::Final { .. })
        ));
    }
}
