//! What the documents claim, held against the source: a claim that names a test has that test.
//! It reads text only, and never judges whether a test shows what is claimed.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_test_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut source = String::new();
    for folder in ["src", "policy", "keys", "posture", "ledger", "agent", "integration-tests"] {
        read_into(&root.join(folder), &mut source);
    }
    for (name, at_least) in [("docs/threat-model.md", 110), ("docs/compatibility.md", 25)] {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        let named: BTreeSet<&str> =
            text.split('`').skip(1).step_by(2).filter(|code| is_a_test(code)).collect();
        assert!(named.len() >= at_least, "{name}: {named:?}");
        let missing: Vec<&&str> =
            named.iter().filter(|test| !source.contains(&format!("fn {test}("))).collect();
        assert!(missing.is_empty(), "{name} names tests that are not there: {missing:#?}");
    }
}

#[test]
fn every_row_of_the_threat_model_names_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let model = std::fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let tables = model.split_once("## Transport").unwrap().1;
    for row in tables.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| try |")) {
        let shown = row.rsplit('|').nth(1).unwrap();
        assert!(shown.split('`').skip(1).step_by(2).any(is_a_test), "nothing shows: {row}");
    }
}

/// Whether a piece of code in the text is the name of a test: words and underscores.
fn is_a_test(code: &str) -> bool {
    code.matches('_').count() >= 3
        && code.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn read_into(folder: &Path, source: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_into(&path, source);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            source.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}
