//! Access bundles as they were applied: every version stays, the highest is the current one.
//! It never reads what is in them; a version is written whole or not at all.

use sqlx::FromRow;

use super::{Store, StoreError};

/// One applied version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBundle {
    /// 1, 2, 3, ...; never used again.
    pub version: u64,
    /// When it was applied, ms.
    pub applied: i64,
    /// By whom.
    pub applied_by: String,
    /// Its files, by name.
    pub files: Vec<BundleFile>,
}

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct BundleFile {
    /// Its name inside the folder.
    pub name: String,
    /// Its text.
    pub content: String,
}

impl Store {
    /// Makes these files the new current version, all or nothing. Gives its number.
    ///
    /// # Errors
    /// When the database fails, also for two files of one name; then the old version stays current.
    pub async fn apply_bundle(
        &self,
        files: &[BundleFile],
        applied_by: &str,
        now: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let versions: Vec<i64> =
            sqlx::query_scalar("INSERT INTO bundles (applied, applied_by) VALUES ($1, $2) RETURNING version")
                .bind(now)
                .bind(applied_by)
                .fetch_all(&mut *tx)
                .await?;
        let version = versions.first().copied().ok_or(StoreError::Sql(sqlx::Error::RowNotFound))?;
        for file in files {
            sqlx::query("INSERT INTO bundle_files (version, name, content) VALUES ($1, $2, $3)")
                .bind(version)
                .bind(&file.name)
                .bind(&file.content)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        number(version)
    }

    /// The current version, if any was ever applied.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn current_bundle(&self) -> Result<Option<StoredBundle>, StoreError> {
        // Two reads, but of rows that are never changed: a version applied in between is simply not seen yet.
        let row: Option<(i64, i64, String)> =
            sqlx::query_as("SELECT version, applied, applied_by FROM bundles ORDER BY version DESC LIMIT 1")
                .fetch_optional(&self.reads)
                .await?;
        let Some((version, applied, applied_by)) = row else { return Ok(None) };
        let files = sqlx::query_as("SELECT name, content FROM bundle_files WHERE version = $1 ORDER BY name")
            .bind(version)
            .fetch_all(&self.reads)
            .await?;
        Ok(Some(StoredBundle { version: number(version)?, applied, applied_by, files }))
    }
}

fn number(version: i64) -> Result<u64, StoreError> {
    u64::try_from(version).map_err(|_| StoreError::Unreadable {
        noun: "bundle",
        name: version.to_string(),
        why: "its version is below zero".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, content: &str) -> BundleFile {
        BundleFile { name: name.to_owned(), content: content.to_owned() }
    }

    #[tokio::test]
    async fn the_last_version_applied_is_current() {
        let store = Store::in_memory().await.unwrap();
        assert_eq!(store.current_bundle().await.unwrap(), None);
        assert_eq!(store.apply_bundle(&[file("a.toml", "1")], "root", 5).await.unwrap(), 1);
        let two = [file("b.cedar", "2"), file("a.toml", "3")];
        assert_eq!(store.apply_bundle(&two, "root", 6).await.unwrap(), 2);
        let current = store.current_bundle().await.unwrap().unwrap();
        assert_eq!((current.version, current.applied, current.applied_by.as_str()), (2, 6, "root"));
        assert_eq!(current.files, [file("a.toml", "3"), file("b.cedar", "2")]);
    }

    #[tokio::test]
    async fn a_version_that_fails_half_way_leaves_the_old_one() {
        let store = Store::in_memory().await.unwrap();
        store.apply_bundle(&[file("a.toml", "1")], "root", 5).await.unwrap();
        let twice = [file("a.toml", "2"), file("a.toml", "3")];
        assert!(store.apply_bundle(&twice, "root", 6).await.is_err());
        assert_eq!(store.current_bundle().await.unwrap().unwrap().version, 1);
    }
}
