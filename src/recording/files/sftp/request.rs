//! What is asked over sftp, as far as files are moved or changed by it.
//! It never holds more of a request than its names.

use serde_json::{Map, Value, json};

use super::super::name;
use super::super::packet::{Attributes, Fields};
use super::{OK, STATUS, fact};

/// The longest path that is taken down.
const PATH: usize = 8 << 10;
/// Extensions that neither move nor change anything.
const HARMLESS: [&[u8]; 8] = [
    b"statvfs@openssh.com",
    b"fstatvfs@openssh.com",
    b"fsync@openssh.com",
    b"limits@openssh.com",
    b"expand-path@openssh.com",
    b"home-directory",
    b"users-groups-by-id@openssh.com",
    b"vendor-id",
];

/// A request.
pub(super) struct Wanted {
    pub(super) id: u32,
    pub(super) asked: Asked,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Access {
    pub(super) read: bool,
    pub(super) write: bool,
    append: bool,
    truncate: bool,
}

/// What was asked and waits for its answer.
pub(super) enum Asked {
    /// The version that the operator's side speaks.
    Version(u32),
    Open {
        path: Vec<u8>,
        access: Access,
        mode: Option<u32>,
    },
    Close {
        handle: Vec<u8>,
    },
    Read {
        handle: Vec<u8>,
        offset: u64,
        length: u32,
    },
    Write {
        handle: Vec<u8>,
    },
    Look {
        handle: Option<Vec<u8>>,
        path: Option<Vec<u8>>,
    },
    Change {
        handle: Option<Vec<u8>>,
        path: Option<Vec<u8>>,
        attributes: Attributes,
    },
    Copy {
        from: Vec<u8>,
        to: Vec<u8>,
        paths: Option<(Vec<u8>, Vec<u8>)>,
    },
    /// Told once it is answered, as it is.
    Act(Map<String, Value>, usize),
    /// Nothing that is told.
    Other,
}

impl Access {
    /// For a fact.
    pub(super) fn words(self) -> Value {
        let words = [
            (self.read, "read"),
            (self.write, "write"),
            (self.append, "append"),
            (self.truncate, "truncate"),
        ];
        words.iter().filter_map(|(on, word)| on.then_some(*word)).collect::<Vec<_>>().into()
    }

    /// `pflags` of versions 3 and 4 (section 6.3).
    fn of_flags(flags: u32) -> Self {
        Self {
            read: flags & 1 != 0,
            write: flags & 2 != 0,
            append: flags & 4 != 0,
            truncate: flags & 0x10 != 0,
        }
    }

    /// The mask and flags of versions 5 and 6.
    fn of_mask(mask: u32, flags: u32) -> Self {
        Self {
            read: mask & 1 != 0,
            write: mask & 2 != 0,
            append: mask & 4 != 0,
            truncate: matches!(flags & 7, 1 | 4),
        }
    }
}

/// Reads a request; `None` for one that is not well-formed.
pub(super) fn read(kind: u8, body: &[u8], whole: bool, version: u32) -> Option<Wanted> {
    let mut fields = Fields(body);
    let id = fields.u32()?;
    if kind == 1 {
        return Some(Wanted { id, asked: Asked::Version(id) });
    }
    let asked = match kind {
        3 => open(&mut fields, version)?,
        4 => Asked::Close { handle: handle(&mut fields)? },
        5 => Asked::Read { handle: handle(&mut fields)?, offset: fields.u64()?, length: fields.u32()? },
        8 => Asked::Look { handle: Some(handle(&mut fields)?), path: None },
        7 | 17 => Asked::Look { handle: None, path: Some(path(&mut fields)?.to_vec()) },
        9 | 10 => change(kind == 10, &mut fields, version)?,
        13 => act("removed", &[("path", path(&mut fields)?)]),
        14 => act("made", &[("path", path(&mut fields)?)]),
        15 => act("unmade", &[("path", path(&mut fields)?)]),
        18 => act("renamed", &[("path", path(&mut fields)?), ("to", path(&mut fields)?)]),
        // The target first, as OpenSSH has it.
        20 => act("linked", &[("to", path(&mut fields)?), ("path", path(&mut fields)?)]),
        21 => act("linked", &[("path", path(&mut fields)?), ("to", path(&mut fields)?)]),
        200 => extended(&mut fields, version)?,
        // A write whose front is none, or one that is cut off.
        6 => return None,
        _ => Asked::Other,
    };
    (whole || matches!(asked, Asked::Other)).then_some(Wanted { id, asked })
}

fn open(fields: &mut Fields<'_>, version: u32) -> Option<Asked> {
    let path = path(fields)?.to_vec();
    let first = fields.u32()?;
    let access = if version < 5 { Access::of_flags(first) } else { Access::of_mask(first, fields.u32()?) };
    let mode = Attributes::read(fields, version).and_then(|attributes| attributes.mode);
    Some(Asked::Open { path, access, mode })
}

fn change(by_handle: bool, fields: &mut Fields<'_>, version: u32) -> Option<Asked> {
    let (handle, path) = match by_handle {
        true => (Some(handle(fields)?), None),
        false => (None, Some(path(fields)?.to_vec())),
    };
    let attributes = Attributes::read(fields, version).unwrap_or_default();
    Some(Asked::Change { handle, path, attributes })
}

fn extended(fields: &mut Fields<'_>, version: u32) -> Option<Asked> {
    let word = fields.text()?;
    Some(match word {
        b"posix-rename@openssh.com" => act("renamed", &[("path", path(fields)?), ("to", path(fields)?)]),
        b"hardlink@openssh.com" => act("linked", &[("to", path(fields)?), ("path", path(fields)?)]),
        b"lsetstat@openssh.com" => change(false, fields, version)?,
        b"copy-data" => {
            let from = handle(fields)?;
            // Where it begins, and how much of it.
            fields.u64()?;
            fields.u64()?;
            Asked::Copy { from, to: handle(fields)?, paths: None }
        }
        word if HARMLESS.contains(&word) => Asked::Other,
        // It may do anything: that it was asked is told.
        word => act("extended", &[("extension", word.get(..word.len().min(256)).unwrap_or_default())]),
    })
}

fn handle(fields: &mut Fields<'_>) -> Option<Vec<u8>> {
    fields.text().filter(|handle| handle.len() <= super::HANDLE).map(<[u8]>::to_vec)
}

fn path<'a>(fields: &mut Fields<'a>) -> Option<&'a [u8]> {
    fields.text().filter(|path| path.len() <= PATH)
}

fn act(what: &str, names: &[(&str, &[u8])]) -> Asked {
    let mut fact = Map::new();
    fact.insert("what".into(), what.into());
    for (key, bytes) in names {
        name(&mut fact, key, bytes);
    }
    Asked::Act(fact, names.iter().map(|(_, bytes)| bytes.len() * 4).sum())
}

impl Asked {
    /// The room it is counted as.
    pub(super) fn size(&self) -> usize {
        let names = match self {
            Self::Open { path, .. } => path.len(),
            Self::Close { handle } | Self::Read { handle, .. } | Self::Write { handle } => handle.len(),
            Self::Look { handle, path } | Self::Change { handle, path, .. } => {
                handle.as_ref().map_or(0, Vec::len) + path.as_ref().map_or(0, Vec::len)
            }
            Self::Copy { from, to, paths } => {
                from.len() + to.len() + paths.as_ref().map_or(0, |(from, to)| from.len() + to.len())
            }
            Self::Act(_, size) => *size,
            Self::Version(_) | Self::Other => 0,
        };
        names + super::EACH / 2
    }

    /// What is told of it, now that it is answered.
    pub(super) fn done(self, kind: u8, fields: &mut Fields<'_>) -> Option<Value> {
        let mut fact = match self {
            Self::Act(fact, _) => fact,
            Self::Change { path: Some(path), attributes, .. } => {
                let mut fact = fact("changed", &path);
                fact.insert("to".into(), attributes.told());
                fact
            }
            Self::Copy { paths: Some((from, to)), .. } => {
                let mut fact = fact("copied", &from);
                name(&mut fact, "to", &to);
                fact
            }
            _ => return None,
        };
        let status = if kind == STATUS { fields.u32() } else { Some(OK) };
        let (outcome, refused) = match status {
            Some(OK) => ("ok", None),
            status => ("refused", status),
        };
        fact.insert("outcome".into(), outcome.into());
        if let Some(status) = refused {
            fact.insert("status".into(), json!(status));
        }
        Some(fact.into())
    }
}
