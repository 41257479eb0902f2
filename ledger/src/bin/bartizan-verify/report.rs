//! What the verifier found, as lines for people and as one JSON object for scripts.
//!
//! Never passes on a control character: names and texts may come from who tampered.

use std::fmt::Write as _;

use serde::Serialize;

/// Everything that was found.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    pub(crate) path: String,
    /// The log, if there was one to look at.
    pub(crate) log: Option<LogFound>,
    pub(crate) recordings: Vec<RecordingFound>,
    /// What the reader must know to judge the rest.
    pub(crate) notes: Vec<String>,
}

/// The log's counts, or its first broken position.
#[derive(Default, Serialize)]
pub(crate) struct LogFound {
    pub(crate) ok: bool,
    pub(crate) entries: u64,
    pub(crate) signed: u64,
    pub(crate) checkpoints: u64,
    /// Bytes of a line that is being written.
    pub(crate) torn: u64,
    /// The public key that was trusted, and whether it was `given` or read from the `folder` itself.
    pub(crate) key: Option<String>,
    pub(crate) key_from: Option<&'static str>,
    /// The broken position.
    pub(crate) file: Option<String>,
    pub(crate) entry: Option<u64>,
    pub(crate) byte: Option<u64>,
    pub(crate) error: Option<String>,
}

/// One recording's state, or its first broken position.
#[derive(Default, Serialize)]
pub(crate) struct RecordingFound {
    pub(crate) recording: String,
    pub(crate) ok: bool,
    /// `sealed`, `recovered`, `ended` or `unfinished`.
    pub(crate) state: Option<&'static str>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: Option<String>,
    /// Bytes after the last good frame of a recording that a crash ended or that is being written.
    pub(crate) ignored: u64,
    /// How many frames the log vouches for.
    pub(crate) proven: u64,
    /// The broken position; frame 0 is the header.
    pub(crate) frame: Option<u64>,
    pub(crate) byte: Option<u64>,
    pub(crate) error: Option<String>,
}

impl Report {
    /// Whether nothing was broken.
    pub(crate) fn ok(&self) -> bool {
        self.log.as_ref().is_none_or(|log| log.ok) && self.recordings.iter().all(|recording| recording.ok)
    }

    pub(crate) fn to_json(&self) -> String {
        let settled = Settled { ok: self.ok(), report: self };
        let mut text =
            serde_json::to_string(&settled).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        text.push('\n');
        text
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        if let Some(log) = &self.log {
            line(&mut text, log.ok, &log.to_text());
        }
        for recording in &self.recordings {
            line(&mut text, recording.ok, &recording.to_text());
        }
        for note in &self.notes {
            // Writing to a string does not fail.
            let _ = writeln!(text, "note    {note}");
        }
        let broken = self.recordings.iter().filter(|recording| !recording.ok).count()
            + usize::from(self.log.as_ref().is_some_and(|log| !log.ok));
        let log = if self.log.is_some() { "the log and " } else { "" };
        let recordings = counted(self.recordings.len() as u64, "recording");
        let _ = match broken {
            0 => writeln!(text, "ok: {log}{recordings}"),
            broken => writeln!(text, "broken: {broken} of {log}{recordings}"),
        };
        text
    }
}

/// The report with its verdict first.
#[derive(Serialize)]
struct Settled<'a> {
    ok: bool,
    #[serde(flatten)]
    report: &'a Report,
}

impl LogFound {
    fn to_text(&self) -> String {
        if let Some(error) = &self.error {
            return format!("log: {error}");
        }
        let torn = if self.torn > 0 {
            format!(", {} bytes of a line being written", self.torn)
        } else {
            String::new()
        };
        let entries = match self.entries {
            1 => "1 entry".to_owned(),
            many => format!("{many} entries"),
        };
        format!("log: {entries}, {} signed, {}{torn}", self.signed, counted(self.checkpoints, "checkpoint"))
    }
}

impl RecordingFound {
    fn to_text(&self) -> String {
        let id = &self.recording;
        if let Some(error) = &self.error {
            return format!("{id}: {error}");
        }
        let size = format!("{}, {} bytes", counted(self.frames, "frame"), self.bytes);
        match self.state.unwrap_or_default() {
            "recovered" => format!("{id}: recovered after a crash: {size}, {} bytes ignored", self.ignored),
            "unfinished" => format!(
                "{id}: unfinished: {size}, {} bytes follow; the log vouches for {}",
                self.ignored,
                counted(self.proven, "frame")
            ),
            "ended" => format!(
                "{id}: ended, but no log says that it was sealed: {size}; the log vouches for {}",
                counted(self.proven, "frame")
            ),
            state => format!("{id}: {state}: {size}"),
        }
    }
}

fn line(text: &mut String, ok: bool, what: &str) {
    let _ = writeln!(text, "{:<8}{what}", if ok { "ok" } else { "BROKEN" });
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// `text` with every control character written out, so that a planted name or text cannot steer a terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut clean, c| {
        // Bidirectional controls reorder what is shown; they are no control characters to Unicode.
        let steers = c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if steers {
            clean.extend(c.escape_unicode())
        } else {
            clean.push(c)
        }
        clean
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_passes() {
        assert_eq!(clean("a\u{1b}[2J\u{9b}b\u{202e}\n\u{e4}"), "a\\u{1b}[2J\\u{9b}b\\u{202e}\\u{a}\u{e4}");
    }
}
