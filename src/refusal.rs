//! A refusal: its code and full cause for the log, and one calm line with a reference for the operator.
//! It never puts the cause into the line, nor a character that a terminal would obey into either.
//!
//! The codes stand in `docs/refusals.md`; each is given where the refusal happens.

use ledger::log::Event;

use crate::ids::Reference;

/// The longest text of either kind, in characters.
const LONGEST: usize = 1000;

/// One refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: &'static str,
    shown: &'static str,
    told: String,
    cause: String,
    text: Option<String>,
    reference: Reference,
}

impl Refusal {
    /// A refusal with this code, what the operator is told (no code, no full stop, at best with what to do), the full cause
    /// for the log, and what ties the two together.
    pub fn new(
        code: &'static str,
        told: impl AsRef<str>,
        cause: impl AsRef<str>,
        reference: Reference,
    ) -> Self {
        let (told, cause) = (clean(told.as_ref()), clean(cause.as_ref()));
        Self { code, shown: code, told, cause, text: None, reference }
    }

    /// Shows the operator another code than the log's, where the true one would tell what exists.
    #[must_use]
    pub fn shown_as(mut self, code: &'static str) -> Self {
        self.shown = code;
        self
    }

    /// Tells the operator these lines where there is room for more than one. They are harmless already.
    #[must_use]
    pub fn with_text(mut self, text: Option<String>) -> Self {
        self.text = text;
        self
    }

    /// What the operator sees on a channel: the line, or the lines there are in place of it; without the last line end.
    pub fn text(&self) -> String {
        self.text.as_deref().map_or_else(|| self.line(), |text| text.trim_end().to_owned())
    }

    /// The line that the operator sees, without a line end: `bartizan: <what> [CODE] ref <id>`.
    pub fn line(&self) -> String {
        format!("bartizan: {} [{}] ref {}", self.told, self.shown, self.reference)
    }

    /// The code in the log.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Why, in full. For the log alone.
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// What the service desk finds the log's entry by.
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Writes outcome, code, reason and reference into an event.
    pub fn describe(&self, event: &mut Event) {
        event.outcome = Some("refused".to_owned());
        event.code = Some(self.code.to_owned());
        event.reason = Some(self.cause.clone());
        event.detail.insert("ref".to_owned(), self.reference.as_str().into());
    }
}

/// What is written by others may be in here (a login name, a target's words): control and direction characters are escaped.
fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars().take(LONGEST) {
        if c.is_control() || is_format(c) {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Characters that turn the direction of text or cannot be seen.
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Ids;

    fn reference() -> Reference {
        Ids::default().reference(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn the_operator_sees_one_line_with_code_and_reference_and_never_the_cause() {
        let refusal = Refusal::new("LOGIN-004", "the code was not accepted", "step 7 of bob", reference());
        let line = refusal.line();
        assert_eq!(
            line,
            format!("bartizan: the code was not accepted [LOGIN-004] ref {}", refusal.reference())
        );
    }

    #[test]
    fn a_code_that_would_tell_too_much_is_shown_as_another_and_logged_as_it_is() {
        let refusal = Refusal::new("ACCESS-001", "no", "no target web-9", reference()).shown_as("ACCESS-000");
        assert!(refusal.line().contains("[ACCESS-000]"));
        assert_eq!((refusal.code(), refusal.cause()), ("ACCESS-001", "no target web-9"));
    }

    proptest! {
        #[test]
        fn whatever_is_in_it_the_line_is_one_and_harmless(told in any::<String>(), cause in any::<String>()) {
            let refusal = Refusal::new("LOGIN-007", told, cause, reference());
            for text in [refusal.line().as_str(), refusal.cause()] {
                prop_assert!(!text.chars().any(|c| c.is_control() || is_format(c)), "{text:?}");
                prop_assert!(text.chars().count() < 12 * LONGEST);
            }
        }
    }
}
