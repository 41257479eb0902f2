//! The levels of posture that a rule asks for by name, so that a rule about one that is gone is noticed.
//! Never follows how a rule is nested: it reads word by word, so that no text can exhaust the stack.

use std::collections::BTreeSet;

/// The texts within `levels.contains(..)`, `levels.containsAll(..)` and `levels.containsAny(..)`.
pub(super) fn levels_named(rule: &str) -> BTreeSet<&str> {
    let words = words(rule);
    let mut named = BTreeSet::new();
    for at in 0..words.len() {
        let [Word::Name("levels"), Word::Sign('.'), Word::Name(asked), Word::Sign('(')] =
            words.get(at..at.saturating_add(4)).unwrap_or_default()
        else {
            continue;
        };
        if !matches!(*asked, "contains" | "containsAll" | "containsAny") {
            continue;
        }
        let within = words.iter().skip(at.saturating_add(4)).take_while(|word| **word != Word::Sign(')'));
        named.extend(within.filter_map(|word| if let Word::Text(text) = word { Some(*text) } else { None }));
    }
    named
}

/// Whether this name stands in a rule, outside of quotes and comments.
pub(super) fn says(rule: &str, name: &str) -> bool {
    words(rule).contains(&Word::Name(name))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'a> {
    Name(&'a str),
    /// In quotes, as it stands there: no level has anything in its name that must be escaped.
    Text(&'a str),
    Sign(char),
}

fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (length, word) = if rest.starts_with("//") {
            (rest.find(['\n', '\r']).unwrap_or(rest.len()), None)
        } else if first == '"' {
            let inner = quoted(rest);
            (inner.len().saturating_add(2), Some(Word::Text(inner)))
        } else if in_name(first) {
            let name = rest.split(|c| !in_name(c)).next().unwrap_or(rest);
            (name.len(), Some(Word::Name(name)))
        } else {
            (first.len_utf8(), Some(Word::Sign(first)))
        };
        words.extend(word);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    words
}

/// What stands between this quote and the next that is not escaped.
fn quoted(text: &str) -> &str {
    let mut escaped = false;
    let inner = text.get(1..).unwrap_or_default();
    let end = inner.find(|c| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    inner.get(..end.unwrap_or(inner.len())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_are_found_where_they_are_asked_for_and_nowhere_else() {
        let rule = r#"// levels.contains("comment")
            forbid (principal == Operator::"levels.contains(\"a\")", action, resource)
            unless { context.device.levels.contains("one") || context.device . levels
              .containsAny(["two", "three"]) || context.factors.contains("code") };"#;
        assert_eq!(levels_named(rule), ["one", "three", "two"].into());
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in any::<String>(), piece in r#"[levs.contai()\[\]"\\/ \n]{0,60}"#) {
            levels_named(&text);
            levels_named(&format!("levels.contains({piece}{text}"));
        }
    }
}
