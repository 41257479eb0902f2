//! The files that sftp and scp move, read out of the bytes that pass: path, direction, length, SHA-256 and how it ended.
//! It never holds a file, changes nothing, and stops nobody: what it cannot follow it calls opaque, and says why.

mod framer;
mod packet;
mod scp;
mod sftp;
mod sum;

#[cfg(test)]
mod tests;

use std::ops::Range;

use data_encoding::BASE64;
use serde_json::{Map, Value, json};

use crate::channel::{Asked, Start};

use scp::Scp;
use sftp::Sftp;

/// Everything that one channel's reader may hold of paths, handles and pieces that came too early, in bytes.
const ROOM: usize = 4 << 20;

/// Who follows a channel's files.
pub enum Files {
    /// The sftp subsystem.
    Sftp(Box<Sftp>),
    /// `scp` as of old, run as a command.
    Scp(Box<Scp>),
}

/// What came of some bytes.
#[derive(Debug, Default)]
pub struct Facts {
    /// To be written, in order.
    pub told: Vec<Value>,
    /// Which of the bytes were the content of a file.
    pub content: Vec<Range<usize>>,
}

impl Files {
    /// For a channel that moves files; `None` for any other.
    pub fn of(kind: &policy::ChannelKind, asked: &Asked) -> Option<Self> {
        match (kind, &asked.start) {
            (policy::ChannelKind::Sftp, _) => Some(Self::Sftp(Box::default())),
            (_, Start::Exec(command)) if asked.terminal.is_none() => {
                Scp::of(command).map(|scp| Self::Scp(Box::new(scp)))
            }
            _ => None,
        }
    }

    /// Bytes on their way to the target.
    pub fn sent(&mut self, bytes: &[u8]) -> Facts {
        let mut facts = Facts::default();
        match self {
            Self::Sftp(sftp) => sftp.sent(bytes, &mut facts),
            Self::Scp(scp) => scp.sent(bytes, &mut facts),
        }
        facts
    }

    /// Bytes on their way to the operator.
    pub fn shown(&mut self, bytes: &[u8]) -> Facts {
        let mut facts = Facts::default();
        match self {
            Self::Sftp(sftp) => sftp.shown(bytes, &mut facts),
            Self::Scp(scp) => scp.shown(bytes, &mut facts),
        }
        facts
    }

    /// The channel is over: what was not ended is told as cut.
    pub fn over(&mut self) -> Facts {
        let mut facts = Facts::default();
        match self {
            Self::Sftp(sftp) => sftp.over(&mut facts),
            Self::Scp(scp) => scp.over(&mut facts),
        }
        facts
    }
}

/// Which way a file went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Upload,
    Download,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// Says a name under `key`; one that is no UTF-8 also byte for byte.
fn name(fact: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    fact.insert(key.to_owned(), String::from_utf8_lossy(bytes).into());
    if std::str::from_utf8(bytes).is_err() {
        fact.insert(format!("{key}_base64"), BASE64.encode(bytes).into());
    }
}

/// The bytes are no longer understood, or there is too much to follow.
fn opaque(why: &str) -> Value {
    json!({"what": "opaque", "why": why})
}

/// Permission bits as people write them.
fn octal(mode: u32) -> Value {
    format!("{:04o}", mode & 0o7777).into()
}
