//! The vault: secrets of targets as `keys` sealed them, by tenant and name.
//! It never sees one in the clear, and never gives a tenant what is another's.

use keys::VaultKind;
use serde::Serialize;
use sqlx::FromRow;

use super::{Store, StoreError};

/// How many secrets there may be.
const MOST: u32 = 10_000;

/// What `vault add` writes.
#[derive(Debug, Clone, Copy)]
pub struct NewVaulted<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// Its name there.
    pub name: &'a str,
    /// What it is.
    pub kind: VaultKind,
    /// Of a key, as `algorithm base64`.
    pub public_key: Option<&'a str>,
    /// The secret, sealed for tenant, name and kind.
    pub sealed: &'a [u8],
    /// Who added it.
    pub by: &'a str,
}

/// A vaulted secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct Vaulted {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// `key` or `password`.
    pub kind: String,
    /// Of a key, as `algorithm base64`.
    pub public_key: Option<String>,
    /// The secret, sealed.
    #[serde(skip)]
    pub sealed: Vec<u8>,
    /// When this secret was added, ms.
    pub added: i64,
    /// By whom.
    pub added_by: String,
}

impl Store {
    /// Puts a secret into the vault.
    ///
    /// # Errors
    /// [`StoreError::Exists`] when there is one of this name, or when the vault is full or the database fails.
    pub async fn add_vaulted(&self, new: &NewVaulted<'_>, now: i64) -> Result<(), StoreError> {
        let done = sqlx::query(
            "INSERT INTO vault (tenant, name, kind, public_key, sealed, added, added_by)
             SELECT $1, $2, $3, $4, $5, $6, $7 WHERE (SELECT COUNT(*) FROM vault) < $8",
        )
        .bind(new.tenant)
        .bind(new.name)
        .bind(new.kind.as_str())
        .bind(new.public_key)
        .bind(new.sealed)
        .bind(now)
        .bind(new.by)
        .bind(i64::from(MOST))
        .execute(&self.writes)
        .await
        .map_err(|error| {
            StoreError::exists(error, "vaulted secret", new.name, "; replace it with --replace")
        })?;
        if done.rows_affected() == 0 {
            let (noun, name) = ("as many vaulted secrets as there may be", MOST.to_string());
            return Err(StoreError::Exists { noun, name, remedy: "; remove some" });
        }
        Ok(())
    }

    /// Puts a secret in the place of the one of this name and kind. `false` when there is none.
    ///
    /// # Errors
    /// When the database fails; then the old one stays.
    pub async fn replace_vaulted(&self, new: &NewVaulted<'_>, now: i64) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE vault SET public_key = $4, sealed = $5, added = $6, added_by = $7
             WHERE tenant = $1 AND name = $2 AND kind = $3",
        )
        .bind(new.tenant)
        .bind(new.name)
        .bind(new.kind.as_str())
        .bind(new.public_key)
        .bind(new.sealed)
        .bind(now)
        .bind(new.by)
        .execute(&self.writes)
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// The secret of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn vaulted(&self, tenant: &str, name: &str) -> Result<Option<Vaulted>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT name, tenant, kind, public_key, sealed, added, added_by FROM vault
             WHERE tenant = $1 AND name = $2",
        )
        .bind(tenant)
        .bind(name)
        .fetch_optional(&self.reads)
        .await?)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn all_vaulted(&self) -> Result<Vec<Vaulted>, StoreError> {
        Ok(sqlx::query_as(
            "SELECT name, tenant, kind, public_key, sealed, added, added_by FROM vault
             ORDER BY name, tenant LIMIT $1",
        )
        .bind(i64::from(MOST))
        .fetch_all(&self.reads)
        .await?)
    }

    /// Takes the secret of this name away. `false` when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove_vaulted(&self, tenant: &str, name: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM vault WHERE tenant = $1 AND name = $2")
            .bind(tenant)
            .bind(name)
            .execute(&self.writes)
            .await?;
        Ok(done.rows_affected() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password<'a>(tenant: &'a str, sealed: &'a [u8]) -> NewVaulted<'a> {
        NewVaulted { tenant, name: "db", kind: VaultKind::Password, public_key: None, sealed, by: "root" }
    }

    #[tokio::test]
    async fn a_name_belongs_to_its_tenant_and_is_replaced_only_on_purpose_and_by_its_kind() {
        let store = Store::in_memory().await.unwrap();
        store.add_vaulted(&password("acme", b"one"), 1).await.unwrap();
        assert!(matches!(
            store.add_vaulted(&password("acme", b"two"), 2).await,
            Err(StoreError::Exists { .. })
        ));
        store.add_vaulted(&password("other", b"theirs"), 3).await.unwrap();
        assert!(store.replace_vaulted(&password("acme", b"two"), 4).await.unwrap());
        let key = NewVaulted { kind: VaultKind::Key, ..password("acme", b"three") };
        assert!(!store.replace_vaulted(&key, 5).await.unwrap(), "a key is no password");
        assert!(!store.replace_vaulted(&password("nobody", b"x"), 5).await.unwrap());
        let found = store.vaulted("acme", "db").await.unwrap().unwrap();
        assert_eq!((found.sealed.as_slice(), found.added), (&b"two"[..], 4));
        assert!(store.remove_vaulted("acme", "db").await.unwrap());
        assert!(!store.remove_vaulted("acme", "db").await.unwrap());
        assert_eq!(store.all_vaulted().await.unwrap().len(), 1);
        assert_eq!(store.vaulted("other", "db").await.unwrap().unwrap().sealed, b"theirs");
    }
}
