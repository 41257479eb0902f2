//! What was derived from a recording so that it can be replayed from anywhere: a file of its own, under the recording's key.
//!
//! Never proves anything and never needs to be there: it is made again from the recording, and a damaged one is as none.

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::file_name;
use super::scan::Scan;
use crate::plain;

/// The first bytes of an index; another form of it gets another number.
const MAGIC: &[u8; 8] = b"BTZRIDX1";
/// What separates this use of the recording's key from any other.
const PURPOSE: &[u8] = b"bartizan recording v1 index";
/// The largest index, packed and unpacked.
const LARGEST: usize = 64 << 20;
const NONCE: usize = 12;

/// An index that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The system does not let us.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is too large.
    #[error("the index would be larger than {LARGEST} bytes")]
    TooLarge,
    /// It cannot be encrypted, or the recording's header cannot be read.
    #[error("the index cannot be encrypted")]
    Key,
}

/// Keeps `content` in `dir` as the index of the recording at `path`: packed, encrypted, whole or not at all.
///
/// # Errors
/// It cannot be kept; then an earlier one stands.
pub fn write_index(dir: &Path, path: &Path, key: &[u8; 32], content: &[u8]) -> Result<(), IndexError> {
    let scan = Scan::open(path).map_err(|_| IndexError::Key)?;
    if content.len() > LARGEST {
        return Err(IndexError::TooLarge);
    }
    let cipher = cipher(&scan, key).ok_or(IndexError::Key)?;
    let mut nonce = [0; NONCE];
    SystemRandom::new().fill(&mut nonce).map_err(|_| IndexError::Key)?;
    let mut sealed = zstd::bulk::compress(content, 1).map_err(|_| IndexError::Key)?;
    let aad = Aad::from(*scan.start().bytes());
    cipher
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut sealed)
        .map_err(|_| IndexError::Key)?;
    let target = place(dir, &scan);
    // Two may be at it at once.
    let partial = target.with_extension(format!("{}.partial", HEXLOWER.encode(&nonce)));
    let io = |source| IndexError::Io { path: target.clone(), source };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(io)?;
    let written = file
        .write_all(MAGIC)
        .and_then(|()| file.write_all(&nonce))
        .and_then(|()| file.write_all(&sealed))
        .and_then(|()| fs::rename(&partial, &target));
    written.map_err(|source| {
        let _ = fs::remove_file(&partial);
        io(source)
    })
}

/// The index of the recording at `path` that is kept in `dir`; `None` when there is none, or one that the key does not vouch for.
pub fn read_index(dir: &Path, path: &Path, key: &[u8; 32]) -> Option<Vec<u8>> {
    let scan = Scan::open(path).ok()?;
    let mut bytes = Vec::new();
    plain::open(&place(dir, &scan)).ok()?.take(LARGEST as u64).read_to_end(&mut bytes).ok()?;
    let rest = bytes.strip_prefix(MAGIC)?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>()?;
    let (nonce, mut sealed) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
    drop(bytes);
    let opened =
        cipher(&scan, key)?.open_in_place(nonce, Aad::from(*scan.start().bytes()), &mut sealed).ok()?;
    let mut content = Vec::new();
    // Read to a bound: what a few packed bytes swell to is not known before.
    zstd::stream::Decoder::new(&*opened).ok()?.take(LARGEST as u64).read_to_end(&mut content).ok()?;
    Some(content)
}

fn place(dir: &Path, scan: &Scan) -> PathBuf {
    dir.join(file_name(&scan.header().recording)).with_extension("idx")
}

fn cipher(scan: &Scan, key: &[u8; 32]) -> Option<LessSafeKey> {
    let extracted = Salt::new(HKDF_SHA256, scan.start().bytes()).extract(key);
    let key = UnboundKey::from(extracted.expand(&[PURPOSE], &AES_256_GCM).ok()?);
    Some(LessSafeKey::new(key))
}

#[cfg(test)]
mod tests {
    use super::super::tests::header;
    use super::super::{Stamp, Stream, Writer};
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    #[test]
    fn an_index_comes_back_under_its_own_recording_and_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ['A', 'B'].map(|id| {
            let mut writer = Writer::create(dir.path(), &header(id), &KEY).unwrap();
            writer.append(Stream::Output, Stamp::default(), b"x").unwrap();
            let path = writer.path().to_owned();
            writer.seal().unwrap();
            path
        });
        assert_eq!(read_index(dir.path(), &one, &KEY), None);
        let content = b"where things are ".repeat(1000);
        write_index(dir.path(), &one, &KEY, b"older").unwrap();
        write_index(dir.path(), &one, &KEY, &content).unwrap();
        assert_eq!(read_index(dir.path(), &one, &KEY).unwrap(), content);
        assert_eq!(read_index(dir.path(), &one, &[8; 32]), None);
        let index = one.with_extension("idx");
        let kept = fs::read(&index).unwrap();
        assert!(!kept.windows(5).any(|five| five == b"where"), "it is encrypted");
        fs::write(other.with_extension("idx"), &kept).unwrap();
        assert_eq!(read_index(dir.path(), &other, &KEY), None, "moved under another recording");
        for at in 0..kept.len() {
            let mut damaged = kept.clone();
            damaged[at] ^= 1;
            fs::write(&index, &damaged).unwrap();
            assert_eq!(read_index(dir.path(), &one, &KEY), None, "byte {at}");
        }
    }
}
