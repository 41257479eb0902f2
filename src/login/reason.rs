//! Why somebody goes to a target, in their own words: one line, kept with the session.
//! It never holds what a terminal or a log would obey, and nobody is believed because of it: the policy reads it.

use super::No;

/// The longest reason, in bytes.
const LONGEST: usize = 400;
/// What is told of a reason that is not taken.
const WHAT_REASON: &str = "the reason was not accepted; write one line";

/// A reason: 1 to 400 bytes of plainly visible text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What was typed, with one blank for whatever is not plainly visible.
    pub(super) fn read(typed: &[u8]) -> Result<Self, No> {
        let no = |cause: String| Err(No { code: "LOGIN-014", told: WHAT_REASON, cause });
        if typed.len() > LONGEST {
            return no(format!("a reason of {} bytes or more; {LONGEST} are taken", typed.len()));
        }
        let Ok(text) = std::str::from_utf8(typed) else { return no("a reason that is not UTF-8".to_owned()) };
        let text: String = text.chars().map(|c| if unseen(c) { ' ' } else { c }).collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            return no("an empty reason".to_owned());
        }
        Ok(Self(text))
    }
}

/// Commands of a terminal, and what turns the direction of text or cannot be seen.
fn unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reason_is_one_line_of_what_can_be_seen() {
        for (typed, kept) in [
            ("INC-42: disk full", "INC-42: disk full"),
            ("  two\r\nlines\t ", "two lines"),
            ("\u{1b}]0;x\u{7}y\u{202e}z", "]0;x y z"),
            ("磁碟滿了", "磁碟滿了"),
        ] {
            assert_eq!(Reason::read(typed.as_bytes()).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn nothing_and_too_much_and_what_is_no_text_are_no_reason() {
        for typed in [&b""[..], b" \r\n", "\u{200b}".as_bytes(), &[0xff], &[b'a'; 401], &[b' '; 1_000_000]] {
            assert_eq!(Reason::read(typed).unwrap_err().code, "LOGIN-014");
        }
        assert!(Reason::read(&[b'a'; 400]).is_ok());
    }

    proptest! {
        #[test]
        fn whatever_is_typed_nothing_unseen_is_kept(typed in proptest::collection::vec(any::<u8>(), 0..500), text in any::<String>()) {
            for typed in [&typed[..], text.as_bytes()] {
                if let Ok(reason) = Reason::read(typed) {
                    prop_assert!(!reason.as_str().chars().any(unseen));
                    prop_assert!((1..=LONGEST).contains(&reason.as_str().len()));
                }
            }
        }
    }
}
