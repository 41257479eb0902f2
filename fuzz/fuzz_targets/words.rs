//! Control words: as an operator types them, as they travel over `control.sock`, and foreign text on its way to a terminal.
//! Holds: what is read travels and is read the same; no line is held beyond its bound; nothing that is answered, and no text
//! that was made fit, has a character that a terminal obeys.
#![no_main]

use bartizan::control::wire::{self, WireError, hear};
use bartizan::control::{self, Word, clean, read};
use bartizan_fuzz::{Input, at_once, sow, within};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokio::io::BufReader;

fn travels(word: &Word) {
    let json = serde_json::to_value(word).expect("it is written");
    let again: Word = serde_json::from_value(json.clone()).expect("it is read");
    assert_eq!(serde_json::to_value(&again).expect("and written"), json);
    assert_eq!(
        (again.event(), again.names_output(), again.reads()),
        (word.event(), word.names_output(), word.reads())
    );
    let _ = (word.need(), word.listens());
}

fn typed(line: &[u8]) {
    match read("ssh bastion", line) {
        Ok(word) => travels(&word),
        Err(unread) => {
            let text = unread.text.replace(['\n', '\t'], "");
            assert!(!text.contains(clean::commands), "{text:?}");
        }
    }
}

/// Any bytes as what comes over the socket; the first says how long a line may be.
fn heard(max: usize, bytes: &[u8]) {
    let mut from = BufReader::with_capacity(64, bytes);
    // A line grows by doubling and is never copied without being wiped, so two of them are held at a time.
    let request =
        within((64 << 10) + 4 * max + 64 * bytes.len(), || at_once(hear::<wire::Request, _>(&mut from, max)));
    let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match request {
        Ok(request) => travels(&request.word),
        Err(WireError::TooLong(bound)) => assert!(bound == max && first.len() > max),
        Err(WireError::Gone) => assert!(!bytes.contains(&b'\n') && first.len() <= max),
        Err(WireError::NotUnderstood(_)) => assert!(first.len() <= max),
        Err(WireError::Io(why)) => panic!("{why}"),
    }
    for _ in 0..8 {
        let _ = at_once(hear::<wire::Added, _>(&mut from, max));
    }
}

fn cleaned(text: &str) {
    assert!(!clean::line(text).contains(clean::commands));
    assert!(!clean::lines(text).replace(['\n', '\t'], "").contains(clean::commands));
    let json = Value::String(text.into()).to_string();
    let cleaned = clean::json(&json);
    assert!(!cleaned.contains(clean::commands));
    assert_eq!(serde_json::from_str::<Value>(&cleaned).expect("JSON"), Value::String(text.into()));
    assert_eq!(wire::pieces(text).collect::<String>(), text);
}

fn seeds() -> Vec<Vec<u8>> {
    let typed = [
        "operator key add alice 'a key'",
        "device register lt-0421 --operator alice",
        "session list --live --json",
        "whoami",
        "recording export r-00000000000000000000000000 --format jsonl",
        "audit list --type auth.* --since 2026-01-01",
        "access explain alice web-1 --do exec",
        "targets --json",
        "mfa enroll totp",
        "help",
        "recording play x --speed 2",
    ];
    let word = control::parse(["session", "list", "--live"]).expect("a word");
    let request = wire::Request { v: wire::VERSION, shape: wire::Shape::default(), word };
    let line = serde_json::to_string(&request).expect("JSON");
    let heard = format!("\x01\x7f{line}\n{{\"keys\":\"q\"}}\n{{\"size\":[80,24]}}\n");
    let typed = typed.iter().map(|text| format!("\0{text}").into_bytes());
    typed.chain([heard.into_bytes(), "\x02\x1b[2J\u{202e}x\u{9b}".into()]).collect()
}

fuzz_target!(init: sow("words", seeds()), |bytes: &[u8]| {
    let mut input = Input(bytes);
    match input.byte() % 3 {
        0 => typed(input.0),
        1 => heard(usize::from(input.byte()) * 16, input.0),
        _ => cleaned(&String::from_utf8_lossy(input.0)),
    }
});
