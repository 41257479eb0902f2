//! Makes text that a peer wrote fit for a terminal or a log line: what would command is shown instead.
//! It never drops a character, and it never lets one through that moves the cursor, hides text or turns it around.

use std::borrow::Cow;
use std::fmt::Write as _;

/// One line of foreign text: every character that is not plainly visible is written as an escape (`\x1b`, `\u{202e}`).
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Several lines of foreign text: as [`line`], with line ends and tabs left alone.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// JSON as text: characters that a terminal may obey and JSON lets stand are written as `\u009b`. The value is the same.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.chars().any(commands) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            // Only between values: inside a string JSON escapes it already.
            '\n' => out.push(c),
            c if commands(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Whether a terminal, or a reader's eye, may obey `c` instead of showing it.
pub fn commands(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'     // zero width, left and right marks
            | '\u{2028}'..='\u{202e}'     // line and paragraph ends, embeddings and overrides
            | '\u{2060}'..='\u{206f}'     // invisible operators, isolates
            | '\u{fe00}'..='\u{fe0f}'     // variation selectors carry hidden bytes
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e01ef}')
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let hidden = |c: char| commands(c) && !keep(c);
    if !text.chars().any(hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            c if !hidden(c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_sequence_is_shown_not_obeyed() {
        assert_eq!(line("\x1b]52;c;aGk=\x07"), "\\x1b]52;c;aGk=\\x07");
        assert_eq!(line("\u{9b}2J\u{7f}"), "\\x9b2J\\x7f");
        assert_eq!(line("a\r\nb"), "a\\r\\nb");
        assert_eq!(lines("a\r\n\tb"), "a\\r\n\tb");
    }

    #[test]
    fn text_cannot_be_turned_around_or_hidden() {
        assert_eq!(line("evil\u{202e}txt.exe"), "evil\\u{202e}txt.exe");
        assert_eq!(line("ad\u{200b}min\u{e0041}"), "ad\\u{200b}min\\u{e0041}");
    }

    #[test]
    fn plain_text_of_any_language_is_left_alone() {
        for text in ["ls -la", "日本語", "naïve", "😀", "שלום"] {
            assert!(matches!(line(text), Cow::Borrowed(t) if t == text));
        }
    }

    #[test]
    fn json_keeps_its_value_and_loses_its_commands() {
        let value = serde_json::json!({"command": "x\u{9b}2J\u{7f}\u{202e}\u{e0041}\x1b"});
        let text = value.to_string();
        let cleaned = json(&text);
        assert!(cleaned.is_ascii());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&cleaned).expect("json"), value);
    }

    proptest::proptest! {
        #[test]
        fn nothing_that_commands_comes_through(text in proptest::collection::vec(proptest::char::any(), 0..64)) {
            let text: String = text.into_iter().collect();
            proptest::prop_assert!(!line(&text).chars().any(commands));
            proptest::prop_assert!(!lines(&text).chars().any(|c| commands(c) && c != '\n' && c != '\t'));
        }

        #[test]
        fn cleaned_json_is_the_same_value(text in proptest::collection::vec(proptest::char::any(), 0..64)) {
            let value = serde_json::Value::String(text.into_iter().collect());
            let text = value.to_string();
            let cleaned = json(&text);
            proptest::prop_assert!(!cleaned.chars().any(commands));
            proptest::prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&cleaned).expect("json"), value);
        }
    }
}
