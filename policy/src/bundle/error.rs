//! What a bundle's author is told: the file, the line, the thing, what is wrong with it and what to do.
//! Never tells more than one thing at a time, and never a text that a terminal would obey.

use std::fmt;
use std::ops::Range;

use serde::Serialize;
use thiserror::Error;

/// One file of the bundle: its name as people know it (relative to the bundle's folder) and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// `web.toml`, `rules/night.cedar`.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// Why a bundle is refused. Displayed as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize)]
pub struct BundleError {
    /// The file; none when the bundle as a whole is meant.
    pub file: Option<String>,
    /// The line, counted from 1, where the file tells it.
    pub line: Option<usize>,
    /// What it is about: `grant "sre-web"`.
    pub thing: String,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}")?;
            if let Some(line) = self.line {
                write!(f, " line {line}")?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{} {}; {}", self.thing, self.problem, self.remedy)
    }
}

/// A place to complain about: a file, a spot in it, and the thing being read.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) file: &'a SourceFile,
    pub(crate) thing: &'a dyn fmt::Display,
}

impl Place<'_> {
    /// A complaint in this place.
    pub(crate) fn wrong(
        &self,
        at: Option<Range<usize>>,
        problem: impl fmt::Display,
        remedy: impl fmt::Display,
    ) -> BundleError {
        BundleError {
            file: Some(shown(&self.file.name)),
            line: at.map(|span| line_of(&self.file.text, span.start)),
            thing: shown(&self.thing.to_string()),
            problem: shown(&problem.to_string()),
            remedy: shown(&remedy.to_string()),
        }
    }

    /// A complaint whose error already says problem and remedy, as `problem; remedy`.
    pub(crate) fn told(&self, at: Range<usize>, key: &str, error: &dyn fmt::Display) -> BundleError {
        let text = error.to_string();
        let (problem, remedy) = text.split_once("; ").unwrap_or((&text, "correct it"));
        self.wrong(Some(at), format_args!("has a wrong {key}: {problem}"), remedy)
    }
}

/// A complaint about the bundle as a whole.
pub(crate) fn whole(problem: impl fmt::Display, remedy: impl fmt::Display) -> BundleError {
    BundleError {
        file: None,
        line: None,
        thing: "the access bundle".to_owned(),
        problem: problem.to_string(),
        remedy: remedy.to_string(),
    }
}

/// The line of a byte offset, counted from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count().saturating_add(1)
}

/// Cut to a readable length, with control characters written out.
fn shown(text: &str) -> String {
    let unsafe_to_show =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::new();
    for found in text.chars().take(400) {
        if unsafe_to_show(found) {
            out.extend(found.escape_default());
        } else {
            out.push(found);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_one_line_that_names_file_line_thing_problem_and_remedy() {
        let file = SourceFile { name: "web.toml".into(), text: "a\nb\nc".into() };
        let place = Place { file: &file, thing: &"grant \"x\"" };
        let told = place.wrong(Some(4..5), "has \u{1b}[31m\nno accounts", "name one").to_string();
        assert_eq!(told, "web.toml line 3: grant \"x\" has \\u{1b}[31m\\nno accounts; name one");
    }
}
