//! What can be asked on a connection to a target, and what of it a grant can allow.
//! Never looks at a command line: what is asked is known from the protocol message alone.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::destination::{Destination, DestinationError};
use crate::names::{NameError, SubsystemName};

/// One thing a grant can allow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Capability {
    /// An interactive shell.
    Shell,
    /// A command; `scp -O`, `rsync` and `git` run one.
    Exec,
    /// Files to the target, by sftp or today's scp.
    Upload,
    /// Files from the target, by sftp or today's scp.
    Download,
    /// `direct-tcpip` through the target.
    Forward,
    /// `tcpip-forward` on the target.
    ReverseForward,
    /// The operator's agent on the target.
    Agent,
    /// X11 from the target.
    X11,
    /// One named subsystem that is not sftp.
    Subsystem(SubsystemName),
}

/// Why a word is no capability or channel kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WordError {
    /// Not one of the words.
    #[error("{word:?} is not known; write one of {known}")]
    Unknown {
        /// What was written, cut to 64 characters.
        word: String,
        /// The words there are.
        known: &'static str,
    },
    /// The name after `subsystem:` is not one.
    #[error(transparent)]
    Subsystem(#[from] NameError),
    /// What stands after `forward:` is no place.
    #[error(transparent)]
    Destination(#[from] DestinationError),
}

const CAPABILITIES: &str =
    "shell, exec, upload, download, forward, reverse-forward, agent, x11, subsystem:NAME";
const KINDS: &str =
    "shell, exec, sftp, subsystem:NAME, forward:HOST:PORT, forward:unix:/PATH, reverse-forward, agent, x11";

fn unknown(word: &str, known: &'static str) -> WordError {
    WordError::Unknown { word: word.chars().take(64).collect(), known }
}

impl Capability {
    /// Reads a capability as a grant writes it: `shell`, `reverse-forward`, `subsystem:netconf`.
    ///
    /// # Errors
    /// When it is none of the words, or the subsystem's name is malformed or `sftp`.
    pub fn parse(word: &str) -> Result<Self, WordError> {
        Ok(match word {
            "shell" => Self::Shell,
            "exec" => Self::Exec,
            "upload" => Self::Upload,
            "download" => Self::Download,
            "forward" => Self::Forward,
            "reverse-forward" => Self::ReverseForward,
            "agent" => Self::Agent,
            "x11" => Self::X11,
            other => match other.strip_prefix("subsystem:") {
                Some(name) => Self::Subsystem(SubsystemName::parse(name)?),
                None => return Err(unknown(word, CAPABILITIES)),
            },
        })
    }

    /// The action that a rule sees: the word without a subsystem's name.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec => "exec",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Forward => "forward",
            Self::ReverseForward => "reverse-forward",
            Self::Agent => "agent",
            Self::X11 => "x11",
            Self::Subsystem(_) => "subsystem",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subsystem(name) => write!(f, "subsystem:{name}"),
            other => f.pad(other.action()),
        }
    }
}

/// What one channel asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ChannelKind {
    /// RFC 4254 section 6.5, `shell`.
    Shell,
    /// RFC 4254 section 6.5, `exec`.
    Exec,
    /// RFC 4254 section 6.5, `subsystem` with the name `sftp`.
    Sftp,
    /// RFC 4254 section 6.5, `subsystem` with any other name.
    Subsystem(SubsystemName),
    /// RFC 4254 section 7.2, `direct-tcpip`, and OpenSSH's `direct-streamlocal`: a stream to there, as seen from the target.
    Forward(Destination),
    /// RFC 4254 section 7.1, `tcpip-forward`, and OpenSSH's `streamlocal-forward`: the target listens, and what comes there
    /// is carried to the operator's side.
    ReverseForward,
    /// OpenSSH's `auth-agent-req`: the operator's agent on the target, and each use of it.
    Agent,
    /// RFC 4254 section 6.3, `x11-req`, and each window.
    X11,
}

impl ChannelKind {
    /// The kind of a `subsystem` request for this name.
    ///
    /// # Errors
    /// When the name is malformed.
    pub fn subsystem(name: &str) -> Result<Self, NameError> {
        if name == "sftp" { Ok(Self::Sftp) } else { SubsystemName::parse(name).map(Self::Subsystem) }
    }

    /// Reads a kind as `--do` takes it: `shell`, `exec`, `sftp`, `subsystem:NAME`, `forward:HOST:PORT`, `agent`.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(word: &str) -> Result<Self, WordError> {
        match word {
            "shell" => Ok(Self::Shell),
            "exec" => Ok(Self::Exec),
            "sftp" => Ok(Self::Sftp),
            "reverse-forward" => Ok(Self::ReverseForward),
            "agent" => Ok(Self::Agent),
            "x11" => Ok(Self::X11),
            other => match other.split_once(':') {
                Some(("subsystem", name)) => Ok(Self::subsystem(name)?),
                Some(("forward", place)) => Ok(Self::Forward(Destination::parse(place)?)),
                _ => Err(unknown(word, KINDS)),
            },
        }
    }

    /// The word under which it is recorded and logged: without where a forward leads, which is told beside it.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Forward(_) => "forward".to_owned(),
            other => other.to_string(),
        }
    }

    /// Where a forward leads.
    #[must_use]
    pub fn destination(&self) -> Option<&Destination> {
        match self {
            Self::Forward(destination) => Some(destination),
            _ => None,
        }
    }

    /// Everything that one grant must allow for this channel. Sftp moves files both ways and nobody has read it yet
    /// when it is decided, so it needs both.
    #[must_use]
    pub fn needs(&self) -> Vec<Capability> {
        match self {
            Self::Shell => vec![Capability::Shell],
            Self::Exec => vec![Capability::Exec],
            Self::Sftp => vec![Capability::Upload, Capability::Download],
            Self::Subsystem(name) => vec![Capability::Subsystem(name.clone())],
            Self::Forward(_) => vec![Capability::Forward],
            Self::ReverseForward => vec![Capability::ReverseForward],
            Self::Agent => vec![Capability::Agent],
            Self::X11 => vec![Capability::X11],
        }
    }
}

impl fmt::Display for ChannelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shell => f.pad("shell"),
            Self::Exec => f.pad("exec"),
            Self::Sftp => f.pad("sftp"),
            Self::Subsystem(name) => write!(f, "subsystem:{name}"),
            Self::Forward(destination) => write!(f, "forward:{destination}"),
            Self::ReverseForward => f.pad("reverse-forward"),
            Self::Agent => f.pad("agent"),
            Self::X11 => f.pad("x11"),
        }
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = WordError;

            fn try_from(word: String) -> Result<Self, WordError> {
                Self::parse(&word)
            }
        }

        impl std::str::FromStr for $name {
            type Err = WordError;

            fn from_str(word: &str) -> Result<Self, WordError> {
                Self::parse(word)
            }
        }

        impl From<$name> for String {
            fn from(word: $name) -> String {
                word.to_string()
            }
        }
    };
}

as_text!(Capability);
as_text!(ChannelKind);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_read_as_it_is_written() {
        for word in CAPABILITIES.replace("NAME", "netconf").split(", ") {
            assert_eq!(Capability::parse(word).unwrap().to_string(), word);
        }
        let kinds = KINDS.replace("NAME", "netconf").replace("HOST:PORT", "db.example:5432");
        for word in kinds.split(", ") {
            assert_eq!(ChannelKind::parse(word).unwrap().to_string(), word);
        }
        for bad in ["", "Shell", "subsystem", "subsystem:", "subsystem:sftp", "tun", "sftp", "scp"] {
            assert!(Capability::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sftp_by_any_road_needs_upload_and_download() {
        let both = vec![Capability::Upload, Capability::Download];
        assert_eq!(ChannelKind::subsystem("sftp").unwrap().needs(), both);
        assert_eq!(ChannelKind::parse("subsystem:sftp").unwrap().needs(), both);
        assert!(ChannelKind::subsystem("SFTP").is_err());
    }
}
