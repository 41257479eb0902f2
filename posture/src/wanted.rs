//! Which facts a bastion's policy asks for, as it tells them to a device that has proven itself.
//! It never makes a device tell more than it knows how to: a table that it has never heard of is named, and left out.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::report::Table;
use crate::token::is_program;

/// What stands in the place of a token's id when an enrolled device logs in alone to ask for the list: `enroll+facts`.
pub const FACTS_LOGIN: &str = "facts";
/// The longest text, in bytes.
const LONGEST: usize = 8 * 1024;
/// The most tables.
const MOST_TABLES: usize = 64;
/// The most programs: `processes` has no more rows.
const MOST_PROGRAMS: usize = crate::report::MOST_ROWS;

/// The facts that are asked for. Its text form is one line of JSON: `{"facts":["processes"],"processes":["falcon-sensor"]}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactsWanted {
    /// The tables.
    pub facts: BTreeSet<Table>,
    /// The programs whose running is asked after.
    pub processes: Vec<String>,
    /// Tables that this version does not know.
    pub unknown: Vec<String>,
}

/// What came is no list of facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not a list of facts")]
pub struct FactsWantedError;

/// As it is written. What a later version adds is passed over.
#[derive(Deserialize)]
struct Written {
    facts: Vec<String>,
    #[serde(default)]
    processes: Vec<String>,
}

impl FactsWanted {
    /// Reads the text form.
    ///
    /// # Errors
    /// When it is none, or longer than any list of facts is.
    pub fn parse(text: &str) -> Result<Self, FactsWantedError> {
        if text.len() > LONGEST {
            return Err(FactsWantedError);
        }
        let Written { facts, processes } = serde_json::from_str(text).map_err(|_| FactsWantedError)?;
        let fits = facts.len() <= MOST_TABLES
            && processes.len() <= MOST_PROGRAMS
            && facts.iter().all(|name| is_table(name))
            && processes.iter().all(|name| is_program(name));
        if !fits {
            return Err(FactsWantedError);
        }
        let (known, unknown): (Vec<_>, Vec<_>) = facts.into_iter().partition(|name| table(name).is_some());
        Ok(Self { facts: known.iter().filter_map(|name| table(name)).collect(), processes, unknown })
    }

    /// The text form, without a line end.
    #[must_use]
    pub fn to_text(&self) -> String {
        let facts = self.facts.iter().map(|table| table.as_str());
        let facts: Vec<&str> = facts.chain(self.unknown.iter().map(String::as_str)).collect();
        serde_json::json!({ "facts": facts, "processes": self.processes }).to_string()
    }
}

fn table(name: &str) -> Option<Table> {
    name.parse().ok()
}

fn is_table(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_written_and_what_is_new_in_it_is_named() {
        let list = FactsWanted {
            facts: [Table::Processes, Table::Firewall].into(),
            processes: vec!["falcon-sensor".to_owned()],
            unknown: Vec::new(),
        };
        assert_eq!(FactsWanted::parse(&list.to_text()), Ok(list));
        let later = FactsWanted::parse(r#"{"facts":["firewall","users"],"since":1}"#).unwrap();
        assert_eq!((later.facts.len(), later.unknown.as_slice()), (1, &["users".to_owned()][..]));
    }

    #[test]
    fn what_is_no_list_or_would_be_read_as_more_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"facts":"firewall"}"#,
            r#"{"facts":["a\nb"]}"#,
            r#"{"facts":["firewall"],"processes":["a b"]}"#,
            r#"{"facts":["firewall"],"processes":[""]}"#,
        ] {
            assert_eq!(FactsWanted::parse(text), Err(FactsWantedError), "{text}");
        }
        let many = format!(r#"{{"facts":[],"processes":["a"{}]}}"#, ",\"a\"".repeat(MOST_PROGRAMS));
        assert_eq!(FactsWanted::parse(&many), Err(FactsWantedError));
        assert_eq!(FactsWanted::parse(&" ".repeat(LONGEST + 1)), Err(FactsWantedError));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall_over(text in any::<String>()) {
            let _ = FactsWanted::parse(&text);
        }
    }
}
