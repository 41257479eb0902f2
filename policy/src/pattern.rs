//! How a grant names targets: exact names, globs over names, and labels.
//! Never matches anything but a target's name and labels: no address, no owner, no substring.

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};
use thiserror::Error;

use crate::names::{NameError, TargetName};

/// One entry of a grant's `targets`.
#[derive(Debug, Clone)]
pub enum TargetPattern {
    /// This target.
    Exact(TargetName),
    /// Every target whose whole name fits.
    Glob(Glob),
}

/// A glob over target names: `*`, `?`, `[a-c]`, `{web,db}`.
#[derive(Debug, Clone)]
pub struct Glob {
    written: Box<str>,
    matcher: GlobMatcher,
}

/// Why a text names no targets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PatternError {
    /// No glob, and no name either.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A glob that is too long or has characters no target name has.
    #[error(
        "{0:?} can match no target name; write a name or a glob like \"web-*\" of a-z, 0-9, '.', '_', '-' and * ? [ ] {{ }}"
    )]
    Glob(String),
}

const SPECIAL: &[u8] = b"*?[]{}";

impl TargetPattern {
    /// Reads a name, or a glob when it holds one of `* ? [ ] { }`.
    ///
    /// # Errors
    /// When it is neither.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if !text.bytes().any(|byte| SPECIAL.contains(&byte)) {
            return Ok(Self::Exact(TargetName::parse(text)?));
        }
        let wrong = || PatternError::Glob(text.chars().take(64).collect());
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || b"._-,!".contains(&byte)
                || SPECIAL.contains(&byte)
        };
        if text.len() > 128 || !text.bytes().all(allowed) {
            return Err(wrong());
        }
        let glob = GlobBuilder::new(text)
            .literal_separator(true)
            .backslash_escape(false)
            .build()
            .map_err(|_| wrong())?;
        Ok(Self::Glob(Glob { written: text.into(), matcher: glob.compile_matcher() }))
    }

    /// Whether this target is named.
    #[must_use]
    pub fn matches(&self, target: &TargetName) -> bool {
        match self {
            Self::Exact(name) => name == target,
            Self::Glob(glob) => glob.matcher.is_match(target.as_str()),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Exact(name) => name.as_str(),
            Self::Glob(glob) => &glob.written,
        }
    }
}

impl Glob {
    /// What every match begins with: the text before the first special character.
    pub(crate) fn prefix(&self) -> &str {
        let end = self.written.find(|found: char| found.is_ascii() && SPECIAL.contains(&(found as u8)));
        self.written.get(..end.unwrap_or(self.written.len())).unwrap_or_default()
    }
}

/// Labels, on a target or asked for by a grant: at most 32, keys and values of 1 to 64 of `A-Za-z0-9._/-`.
pub type Labels = BTreeMap<String, String>;

/// Whether a text may be a label's key or value, or a target's owner.
pub(crate) fn is_label(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, target: &str) -> bool {
        TargetPattern::parse(pattern).unwrap().matches(&TargetName::parse(target).unwrap())
    }

    #[test]
    fn a_glob_matches_the_whole_name() {
        assert!(matches("web-*", "web-1") && matches("web-?", "web-1") && matches("{web,db}-1", "db-1"));
        assert!(matches("web-[1-3]", "web-2") && matches("*", "anything.at_all"));
        for (pattern, target) in
            [("web-*", "myweb-1"), ("web-?", "web-12"), ("web-1", "web-12"), ("*-db", "x-db2")]
        {
            assert!(!matches(pattern, target), "{pattern} {target}");
        }
    }

    #[test]
    fn a_dot_is_a_dot() {
        assert!(!matches("web.1*", "webx1") && matches("web.1*", "web.12"));
    }

    #[test]
    fn what_can_match_nothing_is_refused() {
        for bad in ["", "WEB-*", "web *", "web-[", "{a", "a/*", "\\*", "wéb*", &"*".repeat(129), "Web"] {
            assert!(TargetPattern::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_match_begins_with_the_prefix(pattern in "[a-c*?{},\\[\\]!-]{1,12}", target in "[a-c][a-c-]{0,8}") {
            if let Ok(TargetPattern::Glob(glob)) = TargetPattern::parse(&pattern)
                && glob.matcher.is_match(&target)
            {
                prop_assert!(target.starts_with(glob.prefix()), "{} {}", pattern, target);
            }
        }

        #[test]
        fn hostile_patterns_never_panic(pattern in any::<String>()) {
            let _ = TargetPattern::parse(&pattern);
        }
    }
}
