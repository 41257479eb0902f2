//! The key of one recording, split so that the past can be erased: HKDF-SHA256 over an audit half and a shred half.
//! It never keeps the key: the audit half travels wrapped in the recording's own envelope, the shred half lies in `keys/shred/`,
//! and without either the recording is noise.

use zeroize::Zeroizing;

use crate::folder::FolderError;
use crate::keys::Keys;
use crate::random::{self, RandomError};
use crate::root::{Realm, SealError, derive};

const AUDIT: &str = "recording audit half";
const SHRED: &str = "recording shred half";
const LABEL: &[u8] = b"bartizan recording key v1";

/// The 32 bytes a recording is encrypted under, wiped when dropped.
pub type RecordingKey = Zeroizing<[u8; 32]>;

/// Why a recording's key could not be made or found.
#[derive(Debug, thiserror::Error)]
pub enum RecordingKeyError {
    /// An id that could not be a file name.
    #[error("recording id {id:?}: not one; ids are letters, digits and `-`, at most 64")]
    Id {
        /// The id as given.
        id: String,
    },
    /// The shred half is gone: the recording was erased, or `keys/shred` was not restored with the rest.
    #[error(
        "recording {id}: its key was destroyed; if it was not erased on purpose, restore `keys/shred` from the backup"
    )]
    Destroyed {
        /// The recording.
        id: String,
    },
    /// The shred half cannot be written or read.
    #[error("recording {id}: {source}")]
    Folder {
        /// The recording.
        id: String,
        /// What is wrong with the file.
        source: FolderError,
    },
    /// A half does not open: altered, or of another recording.
    #[error("recording {id}: {source}")]
    Seal {
        /// The recording.
        id: String,
        /// Why.
        source: SealError,
    },
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
}

impl Keys {
    /// Makes the key of a new recording, and the envelope to store in the recording's header. When this returns, the shred half
    /// is durable in `keys/shred/<id>`; that costs two fsyncs, so call it from a thread that may block.
    ///
    /// # Errors
    /// The id is malformed or has a key already, the folder cannot be written, or there is no randomness.
    pub fn recording_key(&self, id: &str) -> Result<(RecordingKey, Vec<u8>), RecordingKeyError> {
        well_formed(id)?;
        let seal = |source| RecordingKeyError::Seal { id: id.to_owned(), source };
        let folder = |source| RecordingKeyError::Folder { id: id.to_owned(), source };
        let audit = random::bytes::<32>()?;
        let shred = random::bytes::<32>()?;
        let envelope = self.root.seal(Realm::Own, AUDIT, id.as_bytes(), audit.as_slice()).map_err(seal)?;
        let kept = self.root.seal(Realm::Own, SHRED, id.as_bytes(), shred.as_slice()).map_err(seal)?;
        let key = join(id, audit.as_slice(), shred.as_slice())?;
        self.shred.write_new(id, &kept).and_then(|()| self.shred.sync()).map_err(folder)?;
        Ok((key, envelope))
    }

    /// The key of a recording, from the envelope in its header and the shred half in `keys/shred/<id>`.
    ///
    /// # Errors
    /// [`RecordingKeyError::Destroyed`] where the shred half is gone; the envelope is of another recording or altered.
    pub fn open_recording_key(&self, id: &str, envelope: &[u8]) -> Result<RecordingKey, RecordingKeyError> {
        well_formed(id)?;
        let seal = |source| RecordingKeyError::Seal { id: id.to_owned(), source };
        let kept = self.shred.read(id).map_err(|error| match error {
            FolderError::Missing { .. } => RecordingKeyError::Destroyed { id: id.to_owned() },
            source => RecordingKeyError::Folder { id: id.to_owned(), source },
        })?;
        let audit = self.root.unseal(Realm::Own, AUDIT, id.as_bytes(), envelope).map_err(seal)?;
        let shred = self.root.unseal(Realm::Own, SHRED, id.as_bytes(), &kept).map_err(seal)?;
        join(id, &audit, &shred)
    }

    /// Destroys the shred half of a recording's key: from now on no copy of the recording can be read, unless somebody kept a
    /// copy of `keys/shred`. `false` if it was gone already. Durable when this returns.
    ///
    /// # Errors
    /// The id is malformed or the folder cannot be written.
    pub fn shred_recording_key(&self, id: &str) -> Result<bool, RecordingKeyError> {
        well_formed(id)?;
        let folder = |source| RecordingKeyError::Folder { id: id.to_owned(), source };
        let removed = self.shred.destroy(id).map_err(folder)?;
        self.shred.sync().map_err(folder)?;
        Ok(removed)
    }
}

/// `HKDF(K_audit || K_shred)`, bound to the recording's id.
fn join(id: &str, audit: &[u8], shred: &[u8]) -> Result<RecordingKey, RecordingKeyError> {
    let mut both = Zeroizing::new([0; 64]);
    let whole = audit.len() == 32 && shred.len() == 32;
    for (byte, from) in both.iter_mut().zip(audit.iter().chain(shred)) {
        *byte = *from;
    }
    whole.then(|| derive(&[], both.as_slice(), &[LABEL, id.as_bytes()])).flatten().ok_or_else(|| {
        let source = SealError::Form { purpose: AUDIT.to_owned() };
        RecordingKeyError::Seal { id: id.to_owned(), source }
    })
}

/// The id becomes a file name: nothing that could leave the folder or be read as an option.
fn well_formed(id: &str) -> Result<(), RecordingKeyError> {
    let first = id.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if first && plain && id.len() <= 64 { Ok(()) } else { Err(RecordingKeyError::Id { id: id.to_owned() }) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "r-01JD37F2KXW6S3TH9V0G8QZ4MN";

    fn keys() -> (tempfile::TempDir, Keys) {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::create(&dir.path().join("keys")).unwrap();
        (dir, keys)
    }

    #[test]
    fn the_envelope_and_the_shred_half_give_the_key_back_also_after_a_restart() {
        let (dir, keys) = keys();
        let (key, envelope) = keys.recording_key(ID).unwrap();
        assert_eq!(*keys.open_recording_key(ID, &envelope).unwrap(), *key);
        drop(keys);
        let again = Keys::open(&dir.path().join("keys")).unwrap();
        assert_eq!(*again.open_recording_key(ID, &envelope).unwrap(), *key);
    }

    #[test]
    fn an_id_has_one_key_for_ever() {
        let (_dir, keys) = keys();
        let (key, envelope) = keys.recording_key(ID).unwrap();
        let Err(RecordingKeyError::Folder { source: FolderError::Exists { .. }, .. }) =
            keys.recording_key(ID)
        else {
            panic!("a second key was made")
        };
        assert_eq!(*keys.open_recording_key(ID, &envelope).unwrap(), *key);
    }

    #[test]
    fn a_shredded_key_is_gone_whatever_copy_of_the_recording_exists() {
        let (_dir, keys) = keys();
        let (_, envelope) = keys.recording_key(ID).unwrap();
        assert!(keys.shred_recording_key(ID).unwrap());
        assert!(!keys.shred_recording_key(ID).unwrap());
        assert!(matches!(keys.open_recording_key(ID, &envelope), Err(RecordingKeyError::Destroyed { .. })));
    }

    #[test]
    fn halves_of_two_recordings_do_not_mix() {
        let (dir, keys) = keys();
        let other = "r-01JD37F2KXW6S3TH9V0G8QZ4MP";
        let (_, envelope) = keys.recording_key(ID).unwrap();
        let (_, foreign) = keys.recording_key(other).unwrap();
        assert!(matches!(keys.open_recording_key(ID, &foreign), Err(RecordingKeyError::Seal { .. })));
        let shred = dir.path().join("keys/shred");
        fs::copy(shred.join(other), shred.join(ID)).unwrap();
        assert!(matches!(keys.open_recording_key(ID, &envelope), Err(RecordingKeyError::Seal { .. })));
    }

    #[test]
    fn an_id_that_is_no_file_name_is_refused() {
        let (_dir, keys) = keys();
        for id in ["", ".", "..", "../root.key", "a/b", "-x", "a.b", "a\0b", "é", &"a".repeat(65)] {
            assert!(matches!(keys.recording_key(id), Err(RecordingKeyError::Id { .. })), "{id:?}");
            assert!(matches!(keys.open_recording_key(id, &[]), Err(RecordingKeyError::Id { .. })));
            assert!(matches!(keys.shred_recording_key(id), Err(RecordingKeyError::Id { .. })));
        }
    }
}
