//! Reads and writes the primitives of RFC 4251 section 5.
//! It never reads beyond the bytes it was given, and never trusts a length.

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the message is malformed")]
pub struct Malformed;

/// What is left to read of a message.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'m>(&'m [u8]);

impl<'m> Fields<'m> {
    /// All of a message.
    pub fn of(message: &'m [u8]) -> Self {
        Self(message)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    /// Any byte but 0 is true (RFC 4251 section 5).
    pub fn boolean(&mut self) -> Result<bool, Malformed> {
        Ok(self.byte()? != 0)
    }

    /// A `uint32`.
    pub fn number(&mut self) -> Result<u32, Malformed> {
        let (first, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*first))
    }

    /// A length, and so many bytes.
    pub fn string(&mut self) -> Result<&'m [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(string)
    }

    /// That nothing is left.
    pub fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }

    /// Whether nothing is left.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// Appends a string with its length before it.
pub fn put_string(message: &mut Vec<u8>, string: &[u8]) {
    // Nothing longer than a frame is ever put: the length fits by far.
    let length = u32::try_from(string.len()).unwrap_or(u32::MAX);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Fields::of(&[0, 0, 0, 2, 1]).string(), Err(Malformed));
        assert_eq!(Fields::of(&[255, 255, 255, 255]).string(), Err(Malformed));
        assert_eq!(Fields::of(&[0, 0, 0]).number(), Err(Malformed));
        assert_eq!(Fields::of(&[0]).end(), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_is_put_is_read(strings in proptest::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut message = Vec::new();
            strings.iter().for_each(|string| put_string(&mut message, string));
            let mut fields = Fields::of(&message);
            for string in &strings {
                prop_assert_eq!(fields.string(), Ok(string.as_slice()));
            }
            prop_assert!(fields.end().is_ok());
        }
    }
}
