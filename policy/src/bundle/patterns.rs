//! Target patterns, each compiled once however many grants write it.
//! Never outlives the reading of a bundle.

use std::collections::HashMap;

use crate::pattern::{PatternError, TargetPattern};

/// The most different globs a bundle may hold: each costs a compiled automaton.
pub(super) const MOST_GLOBS: usize = 10_000;

/// The globs seen so far.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    globs: HashMap<String, TargetPattern>,
}

impl Patterns {
    /// Reads a pattern, or hands back the one already compiled.
    pub(super) fn read(&mut self, text: &str) -> Result<TargetPattern, PatternError> {
        if let Some(known) = self.globs.get(text) {
            return Ok(known.clone());
        }
        let pattern = TargetPattern::parse(text)?;
        if matches!(pattern, TargetPattern::Glob(_)) {
            self.globs.insert(text.to_owned(), pattern.clone());
        }
        Ok(pattern)
    }

    /// Whether there are more different globs than a bundle may hold.
    pub(super) fn too_many(&self) -> bool {
        self.globs.len() > MOST_GLOBS
    }
}
