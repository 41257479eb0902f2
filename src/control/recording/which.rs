//! Which recordings, and which moment of one: as people write it.
//! It never reads a recording.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::play;
use crate::control::clean;
use crate::control::reply::Trouble;
use crate::store::Filter;

/// Which recordings are wanted.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
pub struct Wanted {
    /// Of this operator.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<String>,
    /// To this target.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// Of this session.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Begun at this time or later, such as 2026-03-01T09:00:00Z.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// Begun before this time.
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

impl Wanted {
    /// As the store is asked.
    pub(super) fn filter(&self, newest: Option<u32>) -> Filter<'_> {
        Filter {
            operator: self.operator.as_deref(),
            target: self.target.as_deref(),
            session: self.session.as_deref(),
            since: self.since.map(Timestamp::as_millisecond),
            until: self.until.map(Timestamp::as_millisecond),
            newest,
        }
    }
}

/// A moment of a recording: `90s`, `12:30` or `1:12:30`.
pub(super) fn moment(text: &str) -> Result<Duration, String> {
    if let Some(span) = crate::config::duration(text) {
        return Ok(span);
    }
    let wrong = || "write 90s, 12:30 or 1:12:30".to_owned();
    let parts: Vec<&str> = text.split(':').collect();
    if !(2..=3).contains(&parts.len()) {
        return Err(wrong());
    }
    parts
        .iter()
        .enumerate()
        .try_fold(0_u64, |whole, (place, part)| {
            let digits =
                !part.is_empty() && part.len() <= 6 && part.bytes().all(|byte| byte.is_ascii_digit());
            let number: u64 = part.parse().ok().filter(|_| digits)?;
            (place == 0 || number < 60).then_some(whole * 60 + number)
        })
        .map(Duration::from_secs)
        .ok_or_else(wrong)
}

/// What is looked for: something, short, and on one line.
pub(super) fn text(text: &str) -> Result<String, String> {
    let fits =
        !text.is_empty() && text.chars().count() <= play::LONGEST && !text.chars().any(clean::commands);
    fits.then(|| text.to_owned()).ok_or_else(|| "write 1 to 200 visible characters".to_owned())
}

/// Whether a channel of this kind shows anything.
///
/// # Errors
/// What to look at instead.
pub(super) fn has_a_screen(kind: &str) -> Result<(), Trouble> {
    match kind {
        "sftp" => {
            Err(Trouble::said("this is an sftp channel: nothing was shown; see `bartizan recording files`"))
        }
        "forward" | "reverse-forward" | "agent" | "x11" => Err(Trouble::said(format!(
            "this is a stream ({kind}): its ends, lengths and digests are kept; see `bartizan recording export --format jsonl`"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_on_a_clock_or_as_a_span() {
        for (text, seconds) in [("90s", 90), ("12:30", 750), ("1:12:30", 4350), ("90:00", 5400), ("0:00", 0)]
        {
            assert_eq!(moment(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "90", ":", "1:", "1:60", "1:2:3:4", "-1:00", "+1:00", "1:2x", "9999999:00"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_looked_for_is_short_and_visible() {
        assert!(text("a b").is_ok() && text("日本").is_ok());
        for wrong in ["", "a\n", "\x1b[2J", &"x".repeat(201)] {
            assert!(text(wrong).is_err());
        }
    }
}
