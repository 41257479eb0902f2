//! Lengths of time and ends in time as the bundle writes them: `8h`, `15m`, `2027-01-01`.
//! Never asks what time it is.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use thiserror::Error;

/// The longest length of time that means anything here: 366 days.
pub(crate) const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Why a text is no length or end of time.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SpanError {
    #[error(
        "{0:?} is no length of time; write one like \"15m\", \"8h\" or \"1h30m\" (units s, m, h, d), at most 366d"
    )]
    Length(String),
    #[error("{0:?} is no date; write one like \"2027-01-01\" or \"2027-01-01T18:00:00+08:00\"")]
    Until(String),
}

/// Reads `90s`, `15m`, `8h`, `2d`, `1h30m`: numbers with units, larger units first, each at most once.
pub(crate) fn duration(text: &str) -> Result<Duration, SpanError> {
    let wrong = || SpanError::Length(text.chars().take(40).collect());
    let mut total = 0_u64;
    let mut number: Option<u64> = None;
    let mut smallest = u64::MAX;
    for found in text.chars() {
        if let Some(digit) = found.to_digit(10) {
            let grown = number.unwrap_or(0).checked_mul(10).and_then(|n| n.checked_add(digit.into()));
            number = Some(grown.ok_or_else(wrong)?);
            continue;
        }
        let unit = match found {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(wrong()),
        };
        let count = number.take().ok_or_else(wrong)?;
        if unit >= smallest {
            return Err(wrong());
        }
        smallest = unit;
        total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
    }
    let whole = Duration::from_secs(total);
    if text.is_empty() || number.is_some() || whole > LONGEST { Err(wrong()) } else { Ok(whole) }
}

/// Reads the instant at which a grant ends. A date ends it as that day begins in UTC; a time must carry its offset,
/// since a time without one would mean something else on every machine.
pub(crate) fn until(text: &str) -> Result<Timestamp, SpanError> {
    let wrong = || SpanError::Until(text.chars().take(40).collect());
    if text.len() == "2027-01-01".len() {
        let date: Date = text.parse().map_err(|_| wrong())?;
        let midnight: DateTime = date.into();
        return TimeZone::UTC.to_timestamp(midnight).map_err(|_| wrong());
    }
    text.parse().map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The form that [`duration`] reads.
    fn written(length: Duration) -> String {
        let mut left = length.as_secs();
        let mut text = String::new();
        for (unit, seconds) in [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)] {
            let count = left / seconds;
            left %= seconds;
            if count > 0 {
                text.push_str(&count.to_string());
                text.push(unit);
            }
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }

    #[test]
    fn lengths_are_read() {
        for (text, seconds) in
            [("0s", 0), ("15m", 900), ("8h", 28_800), ("1h30m", 5_400), ("366d", 31_622_400)]
        {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        let bad = [
            "",
            "8",
            "h",
            "8 h",
            "-8h",
            "1m1h",
            "1h1h",
            "367d",
            "8w",
            "1.5h",
            "99999999999999999999d",
            "8h ",
        ];
        for text in bad {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_date_ends_as_it_begins_in_utc() {
        assert_eq!(until("2027-01-01").unwrap(), "2027-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(until("2027-01-01T08:00:00+08:00").unwrap(), "2027-01-01T00:00:00Z".parse().unwrap());
        for bad in ["", "2027-13-01", "2027-02-30", "2027-01-01T08:00:00", "tomorrow", "20270101", "2027-1-1"]
        {
            assert!(until(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0_u64..=31_622_400) {
            let length = Duration::from_secs(seconds);
            prop_assert_eq!(duration(&written(length)).unwrap(), length);
        }

        #[test]
        fn hostile_text_never_panics(text in any::<String>()) {
            let _ = duration(&text);
            let _ = until(&text);
        }
    }
}
