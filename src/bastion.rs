//! The shared handles of a running bastion, assembled once.
//! Never behaves: what is done with them stands in the rooms they belong to.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use keys::Keys;
use ledger::log::{Event, Sign};

use crate::access::{Access, AccessError};
use crate::audit::{Audit, AuditError, Found};
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::ids::Ids;
use crate::live::Live;
use crate::recording::Recordings;
use crate::store::{Store, StoreError};
use crate::target::Places;

/// The store's note that a log was begun: a log that is gone later is not silently begun anew.
const LOG_BEGUN: &str = "log_begun";

/// The handles that all rooms share.
pub struct Bastion {
    /// The checked configuration.
    pub config: Config,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Names for what is new.
    pub ids: Ids,
    /// All secrets.
    pub keys: Arc<Keys>,
    /// What lasts and may change.
    pub store: Store,
    /// What lasts and may not.
    pub audit: Audit,
    /// The bundle in force.
    pub access: Access,
    /// The recordings being written.
    pub recordings: Recordings,
    /// The sessions open now.
    pub live: Live,
    /// Places for logins at targets.
    pub targets: Places,
}

/// A bastion that cannot be assembled.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] keys::OpenError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log cannot be used.
    #[error(transparent)]
    Log(#[from] ledger::log::OpenError),
    /// There was a log, and now there is none.
    #[error("{}: the audit log is gone; restore the folder from a backup, or begin anew in another directory", log.display())]
    LogGone {
        /// Where it was.
        log: PathBuf,
    },
    /// The audit log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The bundle in force cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A folder or thread cannot be made.
    #[error("{what}: {source}")]
    System {
        /// What was to be made.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Bastion {
    /// Opens everything in the directory of `config`. The caller holds the directory's lock.
    ///
    /// # Errors
    /// The first part that cannot be used, with what to do.
    pub async fn open(config: Config) -> Result<Arc<Self>, OpenError> {
        let clock: Arc<dyn Clock> = Arc::new(clock::System::start());
        let keys = Arc::new(Keys::open(&config.dir.join("keys"))?);
        let store = Store::open(&config.database()).await?;
        let recordings = config.dir.join("recordings");
        let log = config.dir.join("log");
        for folder in [&recordings, &log] {
            make_folder(folder)?;
        }
        let node = node_name();
        let signer = Box::new(Signer { name: format!("{node}/audit"), keys: keys.clone() });
        let (audit, found) =
            Audit::start(log.clone(), &node, signer, clock.clone(), config.audit.checkpoint)?;
        if found.new && store.meta(LOG_BEGUN).await?.is_some() {
            return Err(OpenError::LogGone { log });
        }
        store.set_meta(LOG_BEGUN, "yes").await?;
        for event in found_events(&audit, &found) {
            audit.note(event).await?;
        }
        let access = Access::load(&store).await?;
        let recordings = Recordings::start(recordings, config.recording.flush, audit.clone())
            .map_err(|source| OpenError::System { what: "the recorder's thread".into(), source })?;
        let (ids, live, targets) = (Ids::default(), Live::default(), Places::default());
        Ok(Arc::new(Self { config, clock, ids, keys, store, audit, access, recordings, live, targets }))
    }
}

fn make_folder(folder: &std::path::Path) -> Result<(), OpenError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        // The name of a new folder lasts by a sync of the one above it.
        .and_then(|()| fs::File::open(folder.parent().unwrap_or(folder))?.sync_all())
        .map_err(|source| OpenError::System { what: folder.display().to_string(), source })
}

/// This machine's name, as it stands in every entry of the log.
fn node_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let clean: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).collect();
    if clean.is_empty() { "bastion".into() } else { clean }
}

/// What the log itself says of how it was found.
fn found_events(audit: &Audit, found: &Found) -> Vec<Event> {
    let mut events = Vec::new();
    for torn in &found.torn {
        let mut event = audit.event("system.log_torn");
        event.outcome = Some("recovered".into());
        event.reason = Some("a line that was half-written when the server ended was set aside".into());
        event.detail.insert("file".into(), torn.file.display().to_string().into());
        event.detail.insert("bytes".into(), torn.bytes.into());
        events.push(event);
    }
    if found.unsigned > 0 {
        let mut event = audit.event("system.log_unsigned");
        event.reason = Some("these entries before this one had no checkpoint when the server started".into());
        event.detail.insert("entries".into(), found.unsigned.into());
        events.push(event);
    }
    events
}

/// Lends the log a signature without lending it the key.
struct Signer {
    name: String,
    keys: Arc<Keys>,
}

impl Sign for Signer {
    fn name(&self) -> &str {
        &self.name
    }

    fn public(&self) -> [u8; 32] {
        self.keys.log_public()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.keys.sign_log(message)
    }
}
