//! The fields of an SFTP packet (draft-ietf-secsh-filexfer-02; of later versions what is the same).
//! It never reads past the packet, and never believes a length before it has held it against what is there.

use serde_json::{Map, Value, json};

use super::octal;

/// What is left of a packet.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*number))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }
}

/// What is known of a file, or to be changed of it (section 5).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) mode: Option<u32>,
    /// Access and modification, in seconds since 1970.
    pub(super) times: Option<(u32, u32)>,
}

impl Attributes {
    /// As version 3 writes them; later versions write them otherwise.
    pub(super) fn read(fields: &mut Fields<'_>, version: u32) -> Option<Self> {
        if version > 3 {
            return None;
        }
        let flags = fields.u32()?;
        let mut read = Self::default();
        if flags & 1 != 0 {
            read.size = Some(fields.u64()?);
        }
        if flags & 2 != 0 {
            read.owner = Some((fields.u32()?, fields.u32()?));
        }
        if flags & 4 != 0 {
            read.mode = Some(fields.u32()?);
        }
        if flags & 8 != 0 {
            read.times = Some((fields.u32()?, fields.u32()?));
        }
        Some(read)
    }

    /// For a fact.
    pub(super) fn told(&self) -> Value {
        let mut told = Map::new();
        if let Some(size) = self.size {
            told.insert("size".into(), size.into());
        }
        if let Some((uid, gid)) = self.owner {
            told.insert("uid".into(), uid.into());
            told.insert("gid".into(), gid.into());
        }
        if let Some(mode) = self.mode {
            told.insert("mode".into(), octal(mode));
        }
        if let Some((accessed, modified)) = self.times {
            told.insert("times".into(), json!([accessed, modified]));
        }
        told.into()
    }
}
