//! The small values of a report, each read strictly: bounded text, yes or no, a number, bytes in hexadecimal.
//! It never lets through a value longer than its bound or with a control character in it.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

/// The longest text of a report, in bytes.
pub const LONGEST_TEXT: usize = 255;
/// The longest bytes of a report, before they are hexadecimal: a SHA-512.
const LONGEST_BYTES: usize = 64;

/// Why a value was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordError {
    /// Empty, too long or not printable.
    #[error("a text of a report has 1 to {LONGEST_TEXT} bytes and no control characters")]
    Text,
    /// Neither `"0"` nor `"1"`.
    #[error("a flag of a report is \"0\" or \"1\"")]
    Flag,
    /// Not a decimal number, or not in its one form.
    #[error("a number of a report is a whole number in its shortest form, as text")]
    Number,
    /// Not lower-case hexadecimal, or too long.
    #[error("bytes of a report are 1 to {LONGEST_BYTES}, in lower-case hexadecimal")]
    Bytes,
}

/// 1 to [`LONGEST_TEXT`] bytes of UTF-8 without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(String);

impl Text {
    /// Takes a text as it is.
    ///
    /// # Errors
    /// When it is empty, too long, or holds a control character.
    pub fn parse(text: &str) -> Result<Self, WordError> {
        let fits = (1..=LONGEST_TEXT).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits { Ok(Self(text.to_owned())) } else { Err(WordError::Text) }
    }

    /// What is left of a text without control characters and blanks around it, cut to size; `None` when nothing is.
    #[must_use]
    pub fn fitted(text: &str) -> Option<Self> {
        let mut plain: String = text.trim().chars().filter(|c| !c.is_control()).collect();
        let mut end = plain.len().min(LONGEST_TEXT);
        while !plain.is_char_boundary(end) {
            end -= 1;
        }
        plain.truncate(end);
        Self::parse(&plain).ok()
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        Self::parse(&text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

/// Yes or no, as osquery writes it: `"1"` or `"0"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Flag(pub bool);

impl TryFrom<String> for Flag {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        match text.as_str() {
            "0" => Ok(Self(false)),
            "1" => Ok(Self(true)),
            _ => Err(WordError::Flag),
        }
    }
}

impl From<Flag> for String {
    fn from(Flag(yes): Flag) -> Self {
        if yes { "1" } else { "0" }.to_owned()
    }
}

/// A whole number, as osquery writes it: decimal text. `-1` is osquery's "does not apply".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number(pub i64);

impl TryFrom<String> for Number {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        let number = text.parse::<i64>().map_err(|_| WordError::Number)?;
        // One number has one form: no plus sign, no leading zero.
        if number.to_string() == text { Ok(Self(number)) } else { Err(WordError::Number) }
    }
}

impl From<Number> for String {
    fn from(Number(number): Number) -> Self {
        number.to_string()
    }
}

/// 1 to 64 bytes, written in lower-case hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hex(Vec<u8>);

impl Hex {
    /// Takes bytes as they are.
    ///
    /// # Errors
    /// When there are none or more than 64.
    pub fn new(bytes: &[u8]) -> Result<Self, WordError> {
        if (1..=LONGEST_BYTES).contains(&bytes.len()) {
            Ok(Self(bytes.to_vec()))
        } else {
            Err(WordError::Bytes)
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for Hex {
    type Error = WordError;

    fn try_from(text: String) -> Result<Self, WordError> {
        if text.len() > 2 * LONGEST_BYTES {
            return Err(WordError::Bytes);
        }
        Self::new(&HEXLOWER.decode(text.as_bytes()).map_err(|_| WordError::Bytes)?)
    }
}

impl From<Hex> for String {
    fn from(Hex(bytes): Hex) -> Self {
        HEXLOWER.encode(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_has_one_form() {
        for wrong in ["", "2", "true", "01", " 1", "+1"] {
            assert!(Flag::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        for wrong in ["", "01", "+1", "-0", "1.0", "9223372036854775808"] {
            assert!(Number::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        for wrong in ["", "0", "AB", "zz", &"00".repeat(65)] {
            assert!(Hex::try_from(wrong.to_owned()).is_err(), "{wrong:?}");
        }
        assert_eq!(Number::try_from("-1".to_owned()), Ok(Number(-1)));
    }

    #[test]
    fn a_text_is_bounded_and_printable() {
        assert!(Text::parse("").is_err() && Text::parse("a\u{1b}[2J").is_err());
        assert!(Text::parse(&"x".repeat(255)).is_ok() && Text::parse(&"x".repeat(256)).is_err());
        assert_eq!(Text::fitted(" lt-0421\n").unwrap().as_str(), "lt-0421");
        assert_eq!(Text::fitted("\n\u{7}"), None);
    }

    proptest! {
        #[test]
        fn what_is_fitted_is_a_text(text in any::<String>(), times in 1_usize..50) {
            if let Some(fitted) = Text::fitted(&text.repeat(times)) {
                prop_assert_eq!(Text::parse(fitted.as_str()), Ok(fitted));
            }
        }

        #[test]
        fn what_is_read_is_written_the_same(text in ".{0,140}") {
            if let Ok(hex) = Hex::try_from(text.clone()) {
                prop_assert_eq!(String::from(hex), text.clone());
            }
            if let Ok(number) = Number::try_from(text.clone()) {
                prop_assert_eq!(String::from(number), text);
            }
        }
    }
}
