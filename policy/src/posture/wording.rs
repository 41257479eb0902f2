//! The texts of a check, one with places for what a row says: `{name} is not encrypted`.
//! Never lets a device write on a screen: what it says is cut short and made plain.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::posture::table::{Column, Table};

/// The longest text, in characters.
const LONGEST: usize = 160;
/// No more of a device's word than this, in characters.
const LONGEST_WORD: usize = 64;

/// A text with places for columns.
#[derive(Debug)]
pub(crate) struct Wording {
    pieces: Vec<Piece>,
}

#[derive(Debug)]
enum Piece {
    Text(String),
    Column(&'static Column),
}

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum WordingError {
    #[error("it is empty, longer than {LONGEST} characters or not on one line; write one short sentence")]
    Form,
    #[error("{0:?} is no column of the check's table; write a column in braces, or no braces")]
    Column(String),
    #[error("it has braces, and no row fails by itself; leave them out")]
    NoRow,
}

/// Takes a text that a person is to read: one line, printable.
pub(crate) fn plain(text: &str) -> Result<String, WordingError> {
    let fits = !text.trim().is_empty() && text.chars().count() <= LONGEST && !text.chars().any(unseemly);
    if fits { Ok(text.to_owned()) } else { Err(WordingError::Form) }
}

impl Wording {
    /// Reads a text. Without a table it has no places.
    pub(crate) fn parse(text: &str, table: Option<&'static Table>) -> Result<Self, WordingError> {
        plain(text)?;
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let table = table.ok_or(WordingError::NoRow)?;
            let (name, after) =
                after.split_once('}').ok_or_else(|| WordingError::Column(after.to_owned()))?;
            let column = table.column(name).ok_or_else(|| WordingError::Column(name.to_owned()))?;
            pieces.extend([Piece::Text(before.to_owned()), Piece::Column(column)]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self { pieces })
    }

    /// The columns it shows.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &'static Column> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Column(column) => Some(*column),
            Piece::Text(_) => None,
        })
    }

    /// The text about this row.
    pub(crate) fn about(&self, row: &BTreeMap<String, String>) -> String {
        let say = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Column(column) => {
                row.get(column.told()).map_or_else(|| "?".to_owned(), |word| shown(word))
            }
        };
        self.pieces.iter().map(say).collect()
    }
}

fn unseemly(c: char) -> bool {
    c.is_control() || !(c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric())
}

fn shown(word: &str) -> String {
    word.chars().take(LONGEST_WORD).map(|c| if unseemly(c) { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn disks() -> Option<&'static Table> {
        Table::named("disk_encryption")
    }

    fn row(name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([("name".to_owned(), name.to_owned())])
    }

    #[test]
    fn a_place_is_filled_from_the_row() {
        let wording = Wording::parse("{name} is not encrypted", disks()).unwrap();
        assert_eq!(wording.about(&row("/dev/sda2")), "/dev/sda2 is not encrypted");
        assert_eq!(wording.about(&BTreeMap::new()), "? is not encrypted");
        assert_eq!(wording.columns().count(), 1);
    }

    #[test]
    fn a_text_with_a_place_for_nothing_is_refused() {
        for wrong in
            ["{nam} x", "{", "x {name", "{}", "{{name}}", "", "  ", "a\nb", "a\u{1b}[2J", "a\u{202e}b"]
        {
            assert!(Wording::parse(wrong, disks()).is_err(), "{wrong:?}");
        }
        assert_eq!(Wording::parse("{name}", None).unwrap_err(), WordingError::NoRow);
        assert!(Wording::parse(&"x".repeat(161), None).is_err());
    }

    proptest! {
        #[test]
        fn a_device_cannot_draw_on_the_screen(word in any::<String>()) {
            let said = Wording::parse("{name} {name}", disks()).unwrap().about(&row(&word));
            prop_assert!(said.chars().count() <= 2 * LONGEST_WORD + 1);
            prop_assert!(!said.chars().any(unseemly));
        }

        #[test]
        fn hostile_text_is_answered(text in any::<String>()) {
            let _ = Wording::parse(&text, disks());
        }
    }
}
