//! Checkpoints: how large the log is and what its root is, signed, as C2SP `tlog-checkpoint` notes with an Ed25519 key.
//!
//! Never holds a private key: signing is a trait, its keeper is elsewhere.

use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use ring::signature::{ED25519, UnparsedPublicKey};

use crate::{Digest, plain};

/// The type byte of Ed25519 in C2SP `signed-note`.
const ED25519_TYPE: u8 = 1;
/// The longest note that is read; ours have three short lines and one signature, a witness may add some.
pub(super) const MAX_NOTE: usize = 16 * 1024;

/// Who signs the log.
pub trait Sign: Send + Sync {
    /// The name of the log and of its key: no spaces and no plus, such as `bastion.example/audit`.
    fn name(&self) -> &str;
    /// The Ed25519 public key.
    fn public(&self) -> [u8; 32];
    /// The Ed25519 signature over `message`.
    fn sign(&self, message: &[u8]) -> [u8; 64];
}

impl<S: Sign + ?Sized> Sign for std::sync::Arc<S> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn public(&self) -> [u8; 32] {
        (**self).public()
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        (**self).sign(message)
    }
}

/// Whose signatures count: a name and an Ed25519 public key. As text a C2SP `signed-note` verifier key:
/// `name+<key id, 8 hex digits>+<base64 of 0x01 and the key>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; 32],
}

/// A text that is not a verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The name breaks the rules of signed notes.
    #[error("the log's key name is empty or has a space, a plus or a control character in it")]
    Name,
    /// Not `name+id+key`.
    #[error("the text is not a log's public key of the form name+id+base64")]
    Form,
    /// The key id does not belong to the name and the key.
    #[error("the log's public key was damaged: its key id does not belong to its name and key")]
    Id,
}

/// A note that is not a checkpoint of the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a checkpoint's form.
    #[error("the text is not a checkpoint")]
    Form,
    /// Of another log.
    #[error("the checkpoint is of the log {0:?}")]
    Origin(String),
    /// No signature by our key.
    #[error("the checkpoint is not signed by the log's key {0}")]
    Unsigned(String),
    /// A signature by our key that is not one.
    #[error("the checkpoint's signature is wrong: the checkpoint was changed, or signed by another key")]
    Signature,
}

/// A signed size and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Digest,
}

impl VerifierKey {
    /// The key `public` under `name`.
    pub fn new(name: &str, public: [u8; 32]) -> Result<Self, KeyError> {
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(KeyError::Name);
        }
        Ok(Self { name: name.to_owned(), public })
    }

    /// The key of `signer`.
    pub fn of(signer: &dyn Sign) -> Result<Self, KeyError> {
        Self::new(signer.name(), signer.public())
    }

    /// The log's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ed25519 public key.
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// The first four bytes of `SHA-256(name || "\n" || 0x01 || key)`.
    fn id(&self) -> [u8; 4] {
        let digest = Digest::of(&[self.name.as_bytes(), b"\n", &[ED25519_TYPE], &self.public]);
        digest.bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [[ED25519_TYPE].as_slice(), &self.public].concat();
        write!(f, "{}+{}+{}", self.name, HEXLOWER.encode(&self.id()), BASE64.encode(&key))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.trim_end().split_once('+').ok_or(KeyError::Form)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Form)?;
        let key = BASE64.decode(key.as_bytes()).map_err(|_| KeyError::Form)?;
        let [ED25519_TYPE, public @ ..] = key.as_slice() else { return Err(KeyError::Form) };
        let key = Self::new(name, public.try_into().map_err(|_| KeyError::Form)?)?;
        if HEXLOWER.encode(&key.id()) != id {
            return Err(KeyError::Id);
        }
        Ok(key)
    }
}

impl Checkpoint {
    /// The note's text: what is signed.
    fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// The signed note. `None` when what `signer` makes does not verify under its own public key.
    pub fn sign(&self, signer: &dyn Sign) -> Option<String> {
        let key = VerifierKey::of(signer).ok()?;
        let body = self.body();
        let signature = [key.id().as_slice(), &signer.sign(body.as_bytes())].concat();
        let note = format!("{body}\n\u{2014} {} {}\n", key.name, BASE64.encode(&signature));
        Self::open(&note, &key).ok().map(|_| note)
    }

    /// The checkpoint in `note`, when `key` signed it. Other signatures and extension lines are passed over.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let body = signed_text(note, key);
        // Whose it is says more than that the signature is not ours.
        let checkpoint = Self::parse(note.rsplit_once("\n\n").ok_or(NoteError::Form)?.0)?;
        if checkpoint.origin != key.name {
            return Err(NoteError::Origin(checkpoint.origin));
        }
        body.map(|_| checkpoint)
    }

    fn parse(body: &str) -> Result<Self, NoteError> {
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(NoteError::Form);
        };
        let number: u64 = size.parse().map_err(|_| NoteError::Form)?;
        if origin.is_empty() || number.to_string() != size || lines.any(str::is_empty) {
            return Err(NoteError::Form);
        }
        let root = Digest::from_base64(root).ok_or(NoteError::Form)?;
        Ok(Self { origin: origin.to_owned(), size: number, root })
    }
}

/// The text of `note` without the line end before the blank line, when `key` signed it (C2SP `signed-note`).
fn signed_text<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Form)?;
    let mut failure = NoteError::Unsigned(key.to_string());
    for line in signatures.strip_suffix('\n').ok_or(NoteError::Form)?.split('\n') {
        let line = line.strip_prefix("\u{2014} ").and_then(|line| line.split_once(' '));
        let (name, blob) = line.ok_or(NoteError::Form)?;
        let blob = BASE64.decode(blob.as_bytes()).map_err(|_| NoteError::Form)?;
        let (id, signature) = blob.split_first_chunk::<4>().ok_or(NoteError::Form)?;
        if name != key.name || *id != key.id() {
            continue;
        }
        let signed = format!("{text}\n");
        match UnparsedPublicKey::new(&ED25519, key.public).verify(signed.as_bytes(), signature) {
            Ok(()) => return Ok(text),
            Err(_) => failure = NoteError::Signature,
        }
    }
    Err(failure)
}

/// The text of a file that is to be one note.
pub(super) fn read(path: &Path) -> io::Result<String> {
    // A note is UTF-8; what is not fails as a note, with a clearer word than that of the system.
    Ok(String::from_utf8_lossy(&plain::read(path, MAX_NOTE)?).into_owned())
}

/// What begins a signature line, after the line end before it.
const SIGNATURE: &[u8] = "\n\u{2014} ".as_bytes();

/// How many bytes of a run of notes are whole notes. In the history each has one signature line, its last.
pub(super) fn whole(notes: &[u8]) -> usize {
    let mut end = 0;
    let mut from = 0;
    while let Some(at) = find(notes, SIGNATURE, from) {
        match find(notes, b"\n", at + SIGNATURE.len()) {
            Some(line_end) => end = line_end + 1,
            None => break,
        }
        from = end - 1;
    }
    end
}

/// The last note of a run of whole notes that may begin in the middle of one.
pub(super) fn last(notes: &[u8]) -> Option<&str> {
    let text = notes.strip_suffix(b"\n")?;
    let begin = text.windows(SIGNATURE.len()).rposition(|w| w == SIGNATURE)?;
    let before = text.get(..begin)?.windows(SIGNATURE.len()).rposition(|w| w == SIGNATURE);
    let start = before.and_then(|at| find(notes, b"\n", at + SIGNATURE.len())).map_or(0, |end| end + 1);
    str::from_utf8(notes.get(start..)?).ok()
}

fn find(text: &[u8], what: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.windows(what.len()).position(|w| w == what).map(|at| at + from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Go package `golang.org/x/mod/sumdb/note`.
    const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        \u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    #[test]
    fn keys_and_signatures_of_other_implementations_are_understood() {
        let key: VerifierKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        assert!(signed_text(NOTE, &key).is_ok());
        assert_eq!(
            signed_text(&NOTE.replace("your problem is", "my problem is"), &key),
            Err(NoteError::Signature)
        );
        assert_eq!(Checkpoint::open(NOTE, &key), Err(NoteError::Form));
    }

    #[test]
    fn a_damaged_key_is_refused() {
        assert_eq!(KEY.replace("c74f", "c74e").parse::<VerifierKey>(), Err(KeyError::Id));
        assert_eq!(KEY.replace("Peter", "Pater").parse::<VerifierKey>(), Err(KeyError::Id));
        for text in ["", "a", "a+b", "a+b+c", "+c74f20a3+ARpc"] {
            assert!(text.parse::<VerifierKey>().is_err());
        }
        assert_eq!(VerifierKey::new("with space", [0; 32]), Err(KeyError::Name));
    }

    #[test]
    fn whole_notes_are_told_from_a_torn_one() {
        let run = format!("{NOTE}{}", NOTE.replace("problem is", "trouble is"));
        assert_eq!(whole(run.as_bytes()), run.len());
        assert!(last(run.as_bytes()).unwrap().contains("trouble"));
        for cut in NOTE.len()..run.len() {
            assert_eq!(whole(&run.as_bytes()[..cut]), NOTE.len());
        }
        assert_eq!(last(NOTE.as_bytes()), Some(NOTE));
        assert_eq!((whole(b""), last(b""), whole(b"x\ny")), (0, None, 0));
    }
}
