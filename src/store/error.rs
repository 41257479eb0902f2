//! Why the store refused or failed, in sentences for whoever runs the bastion.
//! It never repeats a value that was stored: names of things only.

use std::path::PathBuf;

/// A refusal or failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file could not be made or opened.
    #[error("cannot open {path}: {source}; check that the folder exists and is yours")]
    File {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite does not accept the file.
    #[error("cannot use {path} as the store: {source}; restore it from a backup or move it away")]
    Open {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: sqlx::Error,
    },
    /// A later version of this program has changed the schema.
    #[error(
        "the store has schema {found}, written by a newer version of bartizan; this one knows {ours}: \
         run the newer version, or restore the backup taken before the upgrade"
    )]
    Newer {
        /// The first schema version found that is not known here.
        found: i64,
        /// The last one known here.
        ours: i64,
    },
    /// Bringing the schema up to date failed; it stands where it stood before.
    #[error("cannot bring the store's schema up to date: {0}; the data is unchanged")]
    Migrate(sqlx::migrate::MigrateError),
    /// Something with this name or key is there already.
    #[error("{noun} {name} exists already{remedy}")]
    Exists {
        /// What kind of thing.
        noun: &'static str,
        /// Its name or fingerprint.
        name: String,
        /// What to do instead, starting with "; ", or empty.
        remedy: &'static str,
    },
    /// Nothing with this name is there.
    #[error("there is no {noun} {name}; see `bartizan {noun} list`")]
    Missing {
        /// What kind of thing.
        noun: &'static str,
        /// Its name.
        name: String,
    },
    /// The thing has reached a state that it never leaves.
    #[error("{noun} {name} is {state}, which is final; make a new one under another name")]
    Final {
        /// What kind of thing.
        noun: &'static str,
        /// Its name.
        name: String,
        /// The state.
        state: &'static str,
    },
    /// Not a step of a device's life.
    #[error("device {name} is {is} and cannot become {to}: {remedy}")]
    Step {
        /// Its name.
        name: String,
        /// The state it is in.
        is: posture::State,
        /// The state that was asked for.
        to: posture::State,
        /// What to do instead.
        remedy: &'static str,
    },
    /// Who registered a device approves it.
    #[error(
        "device {name} is approved by a second person, not by who registered it; ask another administrator"
    )]
    SecondPerson {
        /// Its name.
        name: String,
    },
    /// A row does not read as what this program writes.
    #[error("the store holds a {noun} that cannot be read ({name}): {why}; restore it from a backup")]
    Unreadable {
        /// What kind of thing.
        noun: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The database failed: full disk, lock held too long, damage.
    #[error("the store failed: {0}; check the disk, then `bartizan check`")]
    Sql(#[from] sqlx::Error),
}

impl StoreError {
    /// Turns a broken uniqueness into `Exists`; anything else stays what it is.
    pub(super) fn exists(error: sqlx::Error, noun: &'static str, name: &str, remedy: &'static str) -> Self {
        match &error {
            sqlx::Error::Database(inner) if inner.is_unique_violation() => {
                Self::Exists { noun, name: name.to_owned(), remedy }
            }
            _ => Self::Sql(error),
        }
    }

    pub(super) fn missing(noun: &'static str, name: &str) -> Self {
        Self::Missing { noun, name: name.to_owned() }
    }
}
