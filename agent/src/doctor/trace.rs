//! Which line of which file decides an `ssh_config` option, from what `ssh -vvv -G` says of its reading.
//! It never matches patterns itself: which blocks apply is OpenSSH's own word, so that it cannot be otherwise than there.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::files;

/// OpenSSH includes no deeper (`READCONF_MAX_DEPTH`).
const DEEPEST: u8 = 16;
const LARGEST_FILE: u64 = 1024 * 1024;

/// A line of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) file: PathBuf,
    pub(crate) number: usize,
    pub(crate) text: String,
}

/// What OpenSSH said of its reading, in its order.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The files it began with.
    files: Vec<PathBuf>,
    /// `Host` lines that apply.
    hosts: BTreeSet<(PathBuf, usize)>,
    /// `Include` lines and the files they brought.
    includes: Vec<(PathBuf, usize, PathBuf)>,
    /// What came of each `Match` line.
    matches: VecDeque<bool>,
}

impl Trace {
    /// Reads the debug messages of one `ssh -vvv -G`.
    pub(crate) fn parse(said: &str) -> Self {
        let mut trace = Self::default();
        let mut included = None;
        for line in said.lines() {
            let line = line.trim_end_matches('\r');
            let Some((_, told)) = line.split_once(": ").filter(|(level, _)| level.starts_with("debug"))
            else {
                continue;
            };
            if let Some(file) = told.strip_prefix("Reading configuration data ") {
                let file = PathBuf::from(file);
                if included.take() != Some(file.clone()) && !trace.files.contains(&file) {
                    trace.files.push(file);
                }
            } else if told == "match found" || told == "match not found" {
                trace.matches.push_back(told == "match found");
            } else if let Some((place, _)) = told.split_once(": Applying options for ") {
                trace.hosts.extend(position(place));
            } else if let Some((place, rest)) = told.split_once(": Including file ")
                && let Some((file, number)) = position(place)
                && let Some((brought, _)) = rest.rsplit_once(" depth ")
            {
                included = Some(PathBuf::from(brought));
                trace.includes.push((file, number, PathBuf::from(brought)));
            }
        }
        // A second reading (for `Match final`) repeats them.
        trace.includes.dedup();
        trace
    }

    /// The first line that sets one of these options (in lower case): the one that counts.
    pub(crate) fn winner(mut self, options: &[&str]) -> Option<Line> {
        let files = std::mem::take(&mut self.files);
        files.iter().find_map(|file| self.read(file, options, true, 0))
    }

    fn read(&mut self, path: &Path, options: &[&str], applies: bool, depth: u8) -> Option<Line> {
        let text = files::read_text(path, LARGEST_FILE).ok().filter(|_| depth <= DEEPEST)?;
        let mut active = applies;
        for (number, text) in (1..).zip(text.lines()) {
            let Some(option) = option(text) else { continue };
            match option.as_str() {
                "host" => active = applies && self.hosts.contains(&(path.to_owned(), number)),
                "match" => active = self.matches.pop_front().unwrap_or(false) && applies,
                "include" => {
                    let brought = |(file, at, brought): &(PathBuf, usize, PathBuf)| {
                        (file == path && *at == number).then(|| brought.clone())
                    };
                    let mut seen = BTreeSet::new();
                    let brought: Vec<PathBuf> = self.includes.iter().filter_map(brought).collect();
                    for file in brought.into_iter().filter(|file| seen.insert(file.clone())) {
                        if let Some(line) = self.read(&file, options, active, depth + 1) {
                            return Some(line);
                        }
                    }
                }
                option if active && options.contains(&option) => {
                    return Some(Line { file: path.to_owned(), number, text: text.trim().to_owned() });
                }
                _ => {}
            }
        }
        None
    }
}

/// `FILE line N`.
fn position(place: &str) -> Option<(PathBuf, usize)> {
    let (file, number) = place.rsplit_once(" line ")?;
    Some((PathBuf::from(file), number.parse().ok()?))
}

/// The option that a line sets, in lower case (ssh_config(5): blanks or one `=` after it).
fn option(line: &str) -> Option<String> {
    let line = line.trim_start();
    let end = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let option = line.get(..end).filter(|option| !option.is_empty() && !option.starts_with('#'))?;
    Some(option.trim_matches('"').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_option_is_read_in_each_of_its_forms() {
        for line in [
            "IdentityAgent x",
            "\tidentityagent=x",
            " IDENTITYAGENT = x",
            "\"IdentityAgent\" x",
            "IdentityAgent\tx",
        ] {
            assert_eq!(option(line).as_deref(), Some("identityagent"), "{line}");
        }
        assert_eq!(option("# IdentityAgent x"), None);
        assert_eq!(option("   "), None);
    }

    proptest! {
        #[test]
        fn no_words_make_it_fall_over(said in any::<String>(), line in any::<String>()) {
            let _ = Trace::parse(&said);
            let _ = Trace::parse(&format!("debug1: {said}: Applying options for {line}\ndebug3: {said}: Including file {line} depth 0"));
            let _ = option(&line);
        }
    }
}
