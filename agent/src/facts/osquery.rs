//! Facts from osquery, where it is installed: the tables that it has on this system, by its own names and columns.
//! It never asks for a column that is not sent, and takes its answer as strictly as any other bytes.
//!
//! Not `os_version`: its `version` is prose on some systems (`12 (bookworm)`), where os-release(5) has the bare number.

use std::collections::BTreeSet;
use std::time::Duration;

use posture::report::{Facts, Table};
use serde::de::DeserializeOwned;

use super::command::output;

const PATIENCE: Duration = Duration::from_secs(10);

/// What osquery knows of the tables that are wanted; `None` where it is not installed or knows none of them.
pub(super) async fn collect(wanted: &BTreeSet<Table>, processes: &[String]) -> Option<Facts> {
    let mut facts = Facts::default();
    if wanted.contains(&Table::DiskEncryption) {
        facts.disk_encryption = ask(DISKS).await;
    }
    if wanted.contains(&Table::Secureboot) {
        facts.secureboot = ask("SELECT secure_boot FROM secureboot").await;
    }
    if wanted.contains(&Table::Processes) && !processes.is_empty() {
        facts.processes = ask(&running(processes)).await;
    }
    (facts != Facts::default()).then_some(facts)
}

/// Of the devices that osquery lists, those that hold mounted files.
const DISKS: &str = "SELECT DISTINCT e.name, e.encrypted FROM disk_encryption e JOIN mounts m ON m.device = e.name \
     WHERE m.path NOT LIKE '/boot%'";

fn running(processes: &[String]) -> String {
    let names: Vec<String> = processes.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    format!("SELECT DISTINCT name FROM processes WHERE name IN ({}) ORDER BY name", names.join(","))
}

async fn ask<T: DeserializeOwned>(query: &str) -> Option<Vec<T>> {
    let printed = output("osqueryi", &["--json", query], PATIENCE).await?;
    if printed.succeeded { rows(&printed.text) } else { None }
}

/// Rows, or nothing: an empty answer may as well mean that osquery was not allowed to look.
fn rows<T: DeserializeOwned>(text: &str) -> Option<Vec<T>> {
    let rows: Vec<T> = serde_json::from_str(text).ok()?;
    let fits = (1..=posture::report::MOST_ROWS).contains(&rows.len());
    fits.then_some(rows)
}

#[cfg(test)]
mod tests {
    use posture::report::{DiskEncryption, SecureBoot};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rows_as_osquery_prints_them_are_read() {
        let text = "[\n  {\"encrypted\":\"1\",\"name\":\"/dev/dm-0\"},\n  {\"encrypted\":\"0\",\"name\":\"/dev/vda2\"}\n]\n";
        assert_eq!(rows::<DiskEncryption>(text).unwrap().len(), 2);
        assert!(rows::<SecureBoot>("[\n\n]\n").is_none());
        assert!(rows::<SecureBoot>("[{\"secure_boot\":\"\"}]").is_none());
    }

    #[test]
    fn a_programs_name_stays_inside_its_quotes() {
        assert_eq!(
            running(&["a'b".to_owned(), "c".to_owned()]),
            "SELECT DISTINCT name FROM processes WHERE name IN ('a''b','c') ORDER BY name"
        );
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_fall_over(text in any::<String>()) {
            let _ = rows::<DiskEncryption>(&text);
        }
    }
}
