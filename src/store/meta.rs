//! Single facts about this bastion: its node name, the day it was made.
//! It never holds a secret and never a list.

use super::{Store, StoreError};

impl Store {
    /// The fact of this name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("SELECT value FROM meta WHERE key = $1")
            .bind(key)
            .fetch_optional(&self.reads)
            .await?)
    }

    /// Writes the fact of this name, over an earlier one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&self.writes)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fact_is_read_as_last_written() {
        let store = Store::in_memory().await.unwrap();
        assert_eq!(store.meta("node").await.unwrap(), None);
        store.set_meta("node", "a").await.unwrap();
        store.set_meta("node", "b").await.unwrap();
        assert_eq!(store.meta("node").await.unwrap().as_deref(), Some("b"));
    }
}
