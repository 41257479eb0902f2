//! The bytes of a message (RFC 4251 section 5): written one field after the other, and read so.
//! It never judges what is written: a count or a length may be any lie.

/// A message being written.
#[derive(Debug, Clone)]
pub struct Message(Vec<u8>);

impl Message {
    /// A message of this number.
    pub fn new(kind: u8) -> Self {
        Self(vec![kind])
    }

    /// Four bytes.
    pub fn number(self, number: u32) -> Self {
        self.raw(&number.to_be_bytes())
    }

    /// One byte, zero or one.
    pub fn flag(self, flag: bool) -> Self {
        self.raw(&[flag.into()])
    }

    /// Length and bytes.
    pub fn string(self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.number(u32::try_from(bytes.len()).unwrap()).raw(bytes)
    }

    /// Bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The fields of a message that came, in order.
///
/// # Panics
/// When a field is not there: honest software sent it.
#[derive(Debug, Clone)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// What follows the message's number.
    pub fn of(message: &'a [u8]) -> Self {
        Self(&message[1..])
    }

    /// Four bytes.
    pub fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.raw(4).try_into().unwrap())
    }

    /// One byte, not zero.
    pub fn flag(&mut self) -> bool {
        self.raw(1)[0] != 0
    }

    /// Length and bytes.
    pub fn string(&mut self) -> &'a [u8] {
        let length = self.number();
        self.raw(usize::try_from(length).unwrap())
    }

    /// The same, as text.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.string()).into_owned()
    }

    /// So many bytes as they are.
    pub fn raw(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }
}
