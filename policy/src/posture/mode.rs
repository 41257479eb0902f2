//! How much a check counts: it is only noted, it is told until a day comes, or it bars.
//! Never asks what time it is.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::span;

/// How much a check counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// That it fails is noted.
    Observe,
    /// That it fails is told until this instant; from then on it bars.
    Warn {
        /// The instant.
        until: Timestamp,
    },
    /// A device that fails it is not at the level.
    Block,
}

/// What a failed check does, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Noted,
    Told,
    Bars,
}

/// A text that is no mode.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{word:?} is none; write \"observe\", \"warn until 2027-01-01\" or \"block\"")]
pub(crate) struct ModeError {
    word: String,
}

impl Mode {
    /// Reads `observe`, `warn until DATE` or `block`. A date is the instant at which that day begins in UTC.
    pub(crate) fn parse(text: &str) -> Result<Self, ModeError> {
        match (text, text.strip_prefix("warn until ").map(span::until)) {
            ("observe", _) => Ok(Self::Observe),
            ("block", _) => Ok(Self::Block),
            (_, Some(Ok(until))) => Ok(Self::Warn { until }),
            _ => Err(ModeError { word: text.chars().take(64).collect() }),
        }
    }

    pub(crate) fn weight(self, now: Timestamp) -> Weight {
        match self {
            Self::Observe => Weight::Noted,
            Self::Warn { until } if now < until => Weight::Told,
            Self::Warn { .. } | Self::Block => Weight::Bars,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observe => f.write_str("observe"),
            Self::Warn { until } => {
                let text = until.to_string();
                write!(f, "warn until {}", text.strip_suffix("T00:00:00Z").unwrap_or(&text))
            }
            Self::Block => f.write_str("block"),
        }
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_written_as_it_is_read() {
        for text in ["observe", "warn until 2027-01-01", "warn until 2027-01-01T10:00:00Z", "block"] {
            assert_eq!(Mode::parse(text).unwrap().to_string(), text);
        }
        let wrong = [
            "",
            "Block",
            "warn",
            "warn until",
            "warn until ",
            "warn until soon",
            "block ",
            "warn until  2027-01-01",
        ];
        for text in wrong {
            assert!(Mode::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_warning_bars_from_its_day_on() {
        let mode = Mode::parse("warn until 2027-01-01").unwrap();
        assert_eq!(mode.weight("2026-12-31T23:59:59Z".parse().unwrap()), Weight::Told);
        assert_eq!(mode.weight("2027-01-01T00:00:00Z".parse().unwrap()), Weight::Bars);
    }
}
