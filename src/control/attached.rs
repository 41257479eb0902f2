//! A file named in a command: read where the command is typed, carried inside the request.
//! The side that does the work never opens a path that a request names.

use std::fmt;
use std::io::Read;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Longest file that travels: a key, a seed or one file of a bundle.
pub const FILE_MAX: u64 = 32 << 20;

/// A named file and, once read, its text. The text may be secret: it is wiped when dropped and never printed.
#[derive(Clone, Default)]
pub struct Attached {
    name: String,
    text: Option<Zeroizing<String>>,
}

/// Why a file did not come along.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// It could not be read.
    #[error("{name} cannot be read: {why}; name a file you may read, or - for standard input")]
    Unreadable {
        /// As given.
        name: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// It is too long.
    #[error("{0} is longer than 32 MiB; name the right file")]
    TooLong(String),
    /// It is no text.
    #[error("{0} is not UTF-8 text; name the right file")]
    NotText(String),
    /// It is a private key where a public one is wanted.
    #[error(
        "{0} is a private key and stays where it is; name the public one (usually the same name with .pub)"
    )]
    Private(String),
    /// The request named a file and did not bring it.
    #[error("{0} did not come with the request; run the command where the file is")]
    NotHere(String),
}

impl Attached {
    /// A file by name, not read yet; `-` is standard input.
    pub fn named(name: &str) -> Result<Self, std::convert::Infallible> {
        Ok(Self { name: name.to_owned(), text: None })
    }

    /// A file whose text is at hand.
    pub fn with_text(name: &str, text: String) -> Self {
        Self { name: name.to_owned(), text: Some(Zeroizing::new(text)) }
    }

    /// Whether it is standard input and not a file.
    pub fn is_input(&self) -> bool {
        self.name == "-"
    }

    /// Reads the file; `stdin` is what `-` means.
    pub fn read(&mut self, stdin: &mut dyn Read) -> Result<(), AttachError> {
        let unreadable = |why| AttachError::Unreadable { name: self.name.clone(), why };
        let mut bytes = Zeroizing::new(Vec::new());
        if self.is_input() {
            stdin.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        } else {
            let file = std::fs::File::open(&self.name).map_err(unreadable)?;
            file.take(FILE_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        }
        if bytes.len() as u64 > FILE_MAX {
            return Err(AttachError::TooLong(self.name.clone()));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| AttachError::NotText(self.name.clone()))?;
        self.text = Some(Zeroizing::new(text.to_owned()));
        Ok(())
    }

    /// As [`Self::read`], for a public key: a private one is refused before it goes anywhere.
    pub fn read_public(&mut self, stdin: &mut dyn Read) -> Result<(), AttachError> {
        self.read(stdin)?;
        if self.text.as_ref().is_some_and(|t| t.contains("PRIVATE KEY") || t.contains("PuTTY-User-Key-File"))
        {
            self.text = None;
            return Err(AttachError::Private(self.name.clone()));
        }
        Ok(())
    }

    /// The name as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text, once it came along.
    pub fn text(&self) -> Result<&str, AttachError> {
        self.text.as_ref().map(|t| t.as_str()).ok_or_else(|| AttachError::NotHere(self.name.clone()))
    }
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Attached({:?})", self.name)
    }
}

#[derive(Serialize)]
struct Out<'a> {
    name: &'a str,
    text: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct In {
    name: String,
    text: Option<String>,
}

impl Serialize for Attached {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Out { name: &self.name, text: self.text.as_ref().map(|t| t.as_str()) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Attached {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        In::deserialize(deserializer).map(|f| Self { name: f.name, text: f.text.map(Zeroizing::new) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_never_leaves_the_place_it_is_in() {
        let mut file = Attached::named("-").expect("name");
        let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n";
        assert!(matches!(file.read_public(&mut key.as_bytes()), Err(AttachError::Private(_))));
        assert!(file.text().is_err());
    }

    #[test]
    fn a_request_that_names_a_file_without_bringing_it_is_refused() {
        let file: Attached = serde_json::from_str(r#"{"name":"/etc/shadow","text":null}"#).expect("parse");
        assert!(matches!(file.text(), Err(AttachError::NotHere(name)) if name == "/etc/shadow"));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_and_a_missing_file_is_named() {
        let mut file = Attached::named("-").expect("name");
        assert!(matches!(file.read(&mut &b"\xff"[..]), Err(AttachError::NotText(_))));
        let mut file = Attached::named("/nowhere/at/all").expect("name");
        assert!(file.read(&mut &b""[..]).expect_err("missing").to_string().contains("/nowhere/at/all"));
    }

    #[test]
    fn the_text_is_in_the_request_and_not_in_debug() {
        let file = Attached::with_text("seed", "JBSWY3DP".to_owned());
        assert!(!format!("{file:?}").contains("JBSW"));
        let back: Attached =
            serde_json::from_str(&serde_json::to_string(&file).expect("json")).expect("back");
        assert_eq!(back.text().expect("text"), "JBSWY3DP");
    }
}
