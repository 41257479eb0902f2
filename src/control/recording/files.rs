//! `recording files`: what sftp and scp moved or changed, as it was taken down while it happened.
//! It never holds more than the files that were open at once.

use std::collections::BTreeMap;

use ledger::recording::Stream;
use serde_json::{Value, json};

use super::Material;
use crate::control::reply::{Reply, Trouble};
use crate::control::report::{Form, List};
use crate::store::Recording;

/// Lists the files.
pub(super) async fn files<R: Reply>(
    row: &Recording,
    material: &Material,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let columns = &["at", "what", "direction", "bytes", "outcome", "mode", "sha256", "path"];
    let mut rows = List::new(Form::of(json), columns);
    // Opened, and not told of again: a crash, or still open.
    let mut open = BTreeMap::new();
    let (mut told, mut reel) = (0_u64, material.reel());
    while let Some(next) = reel.next().await {
        let (_, frame) = next?;
        if frame.stream != Stream::File {
            continue;
        }
        let mut fact: Value = serde_json::from_slice(&frame.payload)?;
        let time = jiff::Timestamp::from_nanosecond(i128::from(frame.stamp.wall_ns)).ok();
        if let Some(members) = fact.as_object_mut() {
            members.insert("time".to_owned(), json!(time));
        }
        told += 1;
        let number = fact.get("file").and_then(Value::as_u64);
        match (word(&fact, "what"), number) {
            ("opened", Some(number)) => {
                open.insert(number, fact);
                continue;
            }
            ("moved", Some(number)) => drop(open.remove(&number)),
            _ => {}
        }
        rows.row(out, &fact, || cells(&fact)).await?;
    }
    let running = row.ended.is_none();
    for mut fact in open.into_values() {
        if let Some(members) = fact.as_object_mut() {
            members.insert("what".to_owned(), "moved".into());
            members.insert("outcome".to_owned(), if running { "open" } else { "unfinished" }.into());
            for unknown in ["direction", "bytes", "sha256", "mode"] {
                members.insert(unknown.to_owned(), Value::Null);
            }
        }
        rows.row(out, &fact, || cells(&fact)).await?;
    }
    rows.end(out, "no files were moved by sftp or scp").await?;
    if told == 0 && row.command.as_deref().is_some_and(|command| command.starts_with("rsync ")) {
        let why = "rsync moves files in a protocol of its own, which is opaque here: what passed is in the audit log by length and SHA-256";
        out.err(&format!("bartizan: {why}\n")).await?;
    }
    Ok(())
}

fn word<'a>(fact: &'a Value, key: &str) -> &'a str {
    fact.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn cells(fact: &Value) -> Vec<String> {
    let or_dash = |key: &str| match fact.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let time = fact.get("time").and_then(Value::as_str).and_then(|time| time.parse().ok());
    let at = time.map_or_else(|| "-".to_owned(), crate::control::report::moment);
    let mut path = or_dash("path");
    if let Some(Value::String(to)) = fact.get("to") {
        path = format!("{path} -> {to}");
    }
    let mut outcome = or_dash("outcome");
    let why = word(fact, "why");
    if !why.is_empty() {
        outcome = format!("{outcome} ({why})");
    }
    vec![
        at,
        or_dash("what"),
        or_dash("direction"),
        or_dash("bytes"),
        outcome,
        or_dash("mode"),
        or_dash("sha256"),
        path,
    ]
}
