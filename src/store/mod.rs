//! What lasts: one SQLite file behind a concrete `Store`, one file a noun, and the only place that names sqlx.
//! It decides nothing, knows no secret in the clear and no clock: every time is milliseconds since 1970 UTC from its caller.

mod authenticators;
mod bundles;
mod devices;
mod enrolments;
mod error;
mod invitations;
mod memory;
mod meta;
mod operator_keys;
mod operators;
mod pages;
mod proofs;
mod recordings;
mod recovery;
mod sessions;
mod throttle;
mod vault;

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};

pub use authenticators::{NewTotp, Replace, Totp};
pub use bundles::{BundleFile, StoredBundle};
pub use devices::{Device, DeviceKind, DeviceState, NewDevice};
pub use enrolments::{Enrolling, Enrolment, NewEnrolment};
pub use error::StoreError;
pub use invitations::{Invitation, NewInvitation};
pub use memory::{MINUTE_USES_MAX, Memory, Remembered, USES_MAX};
pub use operator_keys::{NewKey, OperatorKey};
pub use operators::{NewOperator, Operator, OperatorState};
pub use pages::{ByTime, Filter, Rows};
pub use proofs::{LastReport, NewProof, TakenSerials};
pub use recordings::{NewRecording, Recording, RecordingEnd, RecordingState};
pub use sessions::{NewSession, Session, SessionEnd};
pub use throttle::{DISABLED_AT, FREE_TRIES, StepTaken, Try};
pub use vault::{NewVaulted, Vaulted};

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// Connections that read. What is read is in the system's cache: more would wait for a core.
const READERS: u32 = 3;

/// The database of one bastion. Cheap to clone: all clones share the connections.
///
/// SQLite lets one write at a time, and who finds it taken sleeps and tries again. So one connection writes, for which writers wait in
/// turn, and readers never wait for it.
#[derive(Debug, Clone)]
pub struct Store {
    writes: SqlitePool,
    reads: SqlitePool,
}

impl Store {
    /// Opens the file, makes it (mode 0600) where there is none, and brings its schema up to this version's.
    ///
    /// # Errors
    /// [`StoreError::Newer`] when a later version has been here; [`StoreError::Open`] when the file cannot be used.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        make_private(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .disable_statement_logging()
            // A server reaches no folder for temporary files; long lists come sorted out of an index.
            .pragma("temp_store", "memory")
            // In KiB, of each connection for as long as it lives; what one of them writes the others read anew, from the system's cache.
            .pragma("cache_size", "-256")
            .busy_timeout(Duration::from_secs(5));
        let pool = |connections: u32, options: SqliteConnectOptions| async move {
            let open = SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(10))
                // A file does not hang up: asking it first whether it is there costs two switches of threads for each statement.
                .test_before_acquire(false)
                // SQLite ends a transaction by itself when the disk fails it; sqlx then takes it to be open for ever.
                .before_acquire(|connection, _| Box::pin(async { Ok(!connection.is_in_transaction()) }))
                .connect_with(options);
            open.await.map_err(|source| StoreError::Open { path: path.to_owned(), source })
        };
        let writes = migrated(pool(1, options.clone()).await?).await?;
        let reads = pool(READERS, options.pragma("query_only", "on")).await?;
        Ok(Self { writes, reads })
    }

    /// A database that lives as long as this value, with the same schema and the same code.
    ///
    /// # Errors
    /// When memory or the schema fail.
    pub async fn in_memory() -> Result<Self, StoreError> {
        // Every SQLite connection to memory is a database of its own: exactly one, kept for ever.
        let pool = SqlitePoolOptions::new()
            .min_connections(1)
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(SqliteConnectOptions::new().in_memory(true).foreign_keys(true))
            .await?;
        let pool = migrated(pool).await?;
        Ok(Self { writes: pool.clone(), reads: pool })
    }

    /// Reads every page and checks it. The answer is `None` when all is well, else SQLite's first complaint.
    ///
    /// # Errors
    /// When the database cannot be read at all.
    pub async fn complaint(&self) -> Result<Option<String>, StoreError> {
        let answer: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.reads).await?;
        Ok((answer != "ok").then_some(answer))
    }

    /// Writes what is in the write-ahead file into the database and closes. Later calls fail.
    pub async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }

    /// A transaction that holds the write lock from its first moment, so that it never fails half-way for having read
    /// before another wrote.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writes.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Brings the schema up to this version's.
async fn migrated(pool: SqlitePool) -> Result<SqlitePool, StoreError> {
    MIGRATIONS.run(&pool).await.map_err(|source| match source {
        MigrateError::VersionMissing(found) => StoreError::Newer { found, ours: newest() },
        other => StoreError::Migrate(other),
    })?;
    Ok(pool)
}

fn newest() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// SQLite would make the file as open as the umask allows, and gives its mode to the files beside it.
fn make_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_new_file_is_private_and_keeps_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bartizan.db");
        let store = Store::open(&path).await.unwrap();
        store.set_meta("node", "n-1").await.unwrap();
        for name in ["bartizan.db", "bartizan.db-wal"] {
            let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        store.close().await;
        let again = Store::open(&path).await.unwrap();
        assert_eq!(again.meta("node").await.unwrap().as_deref(), Some("n-1"));
        assert_eq!(again.complaint().await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_file_is_opened_for_durability() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bartizan.db")).await.unwrap();
        let (reads, writes) = (&store.reads, &store.writes);
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(writes).await.unwrap();
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(writes).await.unwrap();
        let foreign: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(writes).await.unwrap();
        assert_eq!((journal.as_str(), synchronous, foreign), ("wal", 2, 1));
        let written =
            sqlx::query("INSERT INTO meta (key, value) VALUES ('by', 'a reader')").execute(reads).await;
        assert!(written.is_err());
    }

    #[tokio::test]
    async fn a_transaction_that_sqlite_ended_by_itself_is_not_in_the_way_of_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("bartizan.db")).await.unwrap();
        let mut failing = store.begin().await.unwrap();
        // What SQLite does when the disk is full or broken.
        sqlx::query("ROLLBACK").execute(&mut *failing).await.unwrap();
        assert!(failing.commit().await.is_err());
        store.begin().await.unwrap().commit().await.unwrap();
        store.set_meta("node", "n-1").await.unwrap();
        assert_eq!(store.meta("node").await.unwrap().as_deref(), Some("n-1"));
    }

    #[tokio::test]
    async fn a_schema_of_a_later_version_is_refused_with_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bartizan.db");
        let store = Store::open(&path).await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'from later', TRUE, x'00', 0)",
        )
        .execute(&store.writes)
        .await
        .unwrap();
        store.close().await;
        let refused = Store::open(&path).await.unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found: 9999, .. }), "{refused}");
        assert!(refused.to_string().contains("newer version of bartizan"), "{refused}");
    }

    #[tokio::test]
    async fn an_upgrade_that_stops_half_way_leaves_the_version_before_and_goes_on_later() {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations");
        let mut names: Vec<_> =
            std::fs::read_dir(&ours).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        for done in 1..names.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("bartizan.db");
            let steps = dir.path().join("steps");
            std::fs::create_dir(&steps).unwrap();
            for name in &names[..done] {
                std::fs::copy(ours.join(name), steps.join(name)).unwrap();
            }
            let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
            let pool = SqlitePool::connect_with(options).await.unwrap();
            Migrator::new(steps.as_path()).await.unwrap().run(&pool).await.unwrap();
            sqlx::query("INSERT INTO meta (key, value) VALUES ('kept', 'yes')").execute(&pool).await.unwrap();
            // The next step does all it does, and then the ground gives way.
            let next = std::fs::read_to_string(ours.join(&names[done])).unwrap();
            std::fs::write(steps.join(&names[done]), format!("{next}\n;INSERT INTO nowhere VALUES (1);"))
                .unwrap();
            assert!(
                Migrator::new(steps.as_path()).await.unwrap().run(&pool).await.is_err(),
                "{:?}",
                names[done]
            );
            pool.close().await;
            let store = Store::open(&path).await.unwrap();
            assert_eq!(store.meta("kept").await.unwrap().as_deref(), Some("yes"), "{:?}", names[done]);
            assert_eq!(store.complaint().await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_database_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bartizan.db");
        let text = "this is a letter to my aunt, not a database\n".repeat(200);
        std::fs::write(&path, &text).unwrap();
        assert!(Store::open(&path).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}
