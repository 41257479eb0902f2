//! The tables of facts that a check may ask about, by osquery's names, and the types of their columns.
//! Never guesses: a text that is not of its column's type is no value.

use std::collections::BTreeMap;

use cedar_policy::RestrictedExpression as Expression;

/// The table of running programs: a device says of these only what it is asked by name.
pub(crate) const PROGRAMS: &str = "processes";

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [Column],
}

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

/// What the texts of a column mean. A report has texts alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// `"0"` or `"1"`.
    Flag,
    /// A whole number in its shortest form.
    Number,
    /// The number at this place of the column `version`, from 0; there is none when it begins with no number.
    OfVersion(usize),
}

/// Every table there is.
pub(crate) const TABLES: &[Table] = &[
    Table {
        name: "os_version",
        columns: &[
            Column { name: "platform", kind: Kind::Text },
            Column { name: "version", kind: Kind::Text },
            Column { name: "major", kind: Kind::OfVersion(0) },
            Column { name: "minor", kind: Kind::OfVersion(1) },
        ],
    },
    Table {
        name: "disk_encryption",
        columns: &[Column { name: "name", kind: Kind::Text }, Column { name: "encrypted", kind: Kind::Flag }],
    },
    Table { name: "secureboot", columns: &[Column { name: "secure_boot", kind: Kind::Flag }] },
    Table {
        name: "screenlock",
        columns: &[
            Column { name: "enabled", kind: Kind::Flag },
            Column { name: "grace_period", kind: Kind::Number },
        ],
    },
    Table { name: "firewall", columns: &[Column { name: "enabled", kind: Kind::Flag }] },
    Table {
        name: "patches",
        columns: &[
            Column { name: "pending_security", kind: Kind::Number },
            Column { name: "checked_at", kind: Kind::Number },
        ],
    },
    Table { name: PROGRAMS, columns: &[Column { name: "name", kind: Kind::Text }] },
    Table {
        name: "policies",
        columns: &[
            Column { name: "id", kind: Kind::Number },
            Column { name: "name", kind: Kind::Text },
            Column { name: "response", kind: Kind::Text },
            Column { name: "critical", kind: Kind::Flag },
        ],
    },
];

impl Table {
    /// The table of this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        TABLES.iter().find(|table| table.name == name)
    }

    /// The column of this name.
    pub(crate) fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Column {
    /// The column of a report that it is read from.
    pub(crate) fn told(&self) -> &'static str {
        match self.kind {
            Kind::OfVersion(_) => "version",
            _ => self.name,
        }
    }

    /// Its declaration in Cedar's schema.
    pub(crate) fn declared(&self) -> String {
        let (optional, kind) = match self.kind {
            Kind::Text => ("", "String"),
            Kind::Flag => ("", "Bool"),
            Kind::Number => ("", "Long"),
            Kind::OfVersion(_) => ("?", "Long"),
        };
        format!("\"{}\"{optional}: {kind}", self.name)
    }

    /// Its value in a row as the rules see it; none where an optional one is not there.
    ///
    /// # Errors
    /// When a value is missing, or not of the column's type.
    pub(crate) fn value(&self, row: &BTreeMap<String, String>) -> Result<Option<Expression>, Unreadable> {
        let text = row.get(self.told()).ok_or(Unreadable)?;
        let value = match self.kind {
            Kind::Text => Some(Expression::new_string(text.clone())),
            Kind::Flag => Some(Expression::new_bool(flag(text).ok_or(Unreadable)?)),
            Kind::Number => Some(Expression::new_long(number(text).ok_or(Unreadable)?)),
            Kind::OfVersion(place) => part(text, place).map(Expression::new_long),
        };
        Ok(value)
    }
}

/// A value is missing or not of its column's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

fn flag(text: &str) -> Option<bool> {
    match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    }
}

fn number(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    // One number has one form: no plus sign, no leading zero.
    (number.to_string() == text).then_some(number)
}

/// `12.5` is 12 and 5, `12` is 12 and 0, `24.04` is 24 and 4; `rolling` is none.
fn part(version: &str, place: usize) -> Option<i64> {
    let digits = |part: &str| -> Option<i64> {
        let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if plain { part.parse().ok() } else { None }
    };
    let mut parts = version.split('.').map(digits);
    let first = parts.next()??;
    match place.checked_sub(1) {
        None => Some(first),
        Some(further) => parts.nth(further).unwrap_or(Some(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_numbers_where_it_is_some() {
        for (version, major, minor) in [
            ("12", Some(12), Some(0)),
            ("24.04", Some(24), Some(4)),
            ("14.5.1", Some(14), Some(5)),
            ("14.x", Some(14), None),
            ("rolling", None, None),
            ("", None, None),
            ("-1.0", None, None),
            ("99999999999999999999", None, None),
        ] {
            assert_eq!((part(version, 0), part(version, 1)), (major, minor), "{version:?}");
        }
    }

    #[test]
    fn a_text_that_is_not_of_its_type_is_no_value() {
        for wrong in ["", "01", "+1", " 1", "1 ", "true", "1.0", "9223372036854775808"] {
            assert_eq!(flag(wrong), None, "{wrong:?}");
            assert_eq!(number(wrong), None, "{wrong:?}");
        }
        assert_eq!((flag("1"), number("-1")), (Some(true), Some(-1)));
    }

    #[test]
    fn a_missing_column_is_no_value() {
        let table = Table::named("disk_encryption").unwrap();
        let row = BTreeMap::from([("name".to_owned(), "/dev/sda2".to_owned())]);
        assert!(table.column("name").unwrap().value(&row).is_ok());
        assert!(table.column("encrypted").unwrap().value(&row).is_err());
    }
}
