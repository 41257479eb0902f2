//! When in the week a grant holds: `Mon-Fri 08:30-17:30 Asia/Taipei`, in the zone's own wall time.
//! Never asks what time it is, and knows zones only from the table built into the program.

use std::fmt;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, ToSpan};
use thiserror::Error;

/// Days, a window of wall time and a zone. A window that ends at or before its start runs into the next day.
#[derive(Debug, Clone)]
pub struct Hours {
    written: Box<str>,
    /// Monday first.
    days: [bool; 7],
    start: Time,
    /// Minutes after midnight, up to 1440.
    end_minute: i16,
    start_minute: i16,
    zone: TimeZone,
}

/// Why a text is no [`Hours`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HoursError {
    /// Not three words.
    #[error("{0:?} is not DAYS FROM-TO ZONE; write one like \"Mon-Fri 08:30-17:30 Asia/Taipei\"")]
    Form(String),
    /// A day that is none.
    #[error("{0:?} are no days; write Mon, Mon-Fri, Sat,Sun or daily")]
    Days(String),
    /// A time that is none, or an empty window.
    #[error("{0:?} is no window; write one like 08:30-17:30, 22:00-06:00 or 00:00-24:00")]
    Window(String),
    /// A zone that the table does not know.
    #[error("{0:?} is no time zone; write a name like Europe/Berlin, Asia/Taipei or UTC")]
    Zone(String),
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Hours {
    /// Reads `DAYS FROM-TO ZONE`.
    ///
    /// # Errors
    /// When a part is missing or malformed, the window is empty, or the zone unknown.
    pub fn parse(text: &str) -> Result<Self, HoursError> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [days, window, zone] = *words.as_slice() else { return Err(HoursError::Form(cut(text))) };
        let wrong = || HoursError::Window(cut(window));
        let (from, to) = window.split_once('-').ok_or_else(wrong)?;
        let (start_minute, end_minute) = (minute(from).ok_or_else(wrong)?, minute(to).ok_or_else(wrong)?);
        if start_minute == end_minute || start_minute == 1440 {
            return Err(wrong());
        }
        Ok(Self {
            written: words.join(" ").into(),
            days: days_of(days).ok_or_else(|| HoursError::Days(cut(days)))?,
            start: time(start_minute).ok_or_else(wrong)?,
            end_minute,
            start_minute,
            zone: zone_of(zone).ok_or_else(|| HoursError::Zone(cut(zone)))?,
        })
    }

    /// Whether the grant holds at this instant.
    #[must_use]
    pub fn contains(&self, now: Timestamp) -> bool {
        self.window_end(now).is_some()
    }

    /// The instant at which the hours that now run end; none when they do not run, or run without a gap.
    #[must_use]
    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        let mut end = self.window_end(now)?;
        // Windows that touch are one: a grant for every day from 00:00 to 24:00 does not end at midnight.
        for _ in 0..8 {
            match self.window_end(end) {
                Some(later) if later > end => end = later,
                _ => return Some(end),
            }
        }
        None
    }

    /// The end of the latest-ending window that holds this instant. Only windows that began yesterday or today (in the
    /// zone) can: none is longer than a day.
    fn window_end(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned(self.zone.clone()).date();
        let yesterday = today.yesterday().ok();
        [yesterday, Some(today)]
            .into_iter()
            .flatten()
            .filter_map(|date| self.window(date))
            .filter(|(start, end)| *start <= now && now < *end)
            .map(|(_, end)| end)
            .max()
    }

    /// The window that begins on this date, as instants. A wall time that the clocks skip counts as the instant it
    /// would have been; one that comes twice counts the first time.
    fn window(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.day(date.weekday()) {
            return None;
        }
        let last = if self.end_minute <= self.start_minute { date.tomorrow().ok()? } else { date };
        let start = self.zone.to_timestamp(DateTime::from_parts(date, self.start)).ok()?;
        let midnight = DateTime::from_parts(last, Time::midnight());
        let end =
            self.zone.to_timestamp(midnight.checked_add(i64::from(self.end_minute).minutes()).ok()?).ok()?;
        Some((start, end))
    }

    fn day(&self, weekday: Weekday) -> bool {
        usize::try_from(weekday.to_monday_zero_offset()).ok().and_then(|day| self.days.get(day))
            == Some(&true)
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

/// Only the table in the program is asked, so that a decision never reads a file and never differs between machines.
fn zone_of(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

/// `HH:MM` as minutes after midnight; 24:00 is 1440.
fn minute(text: &str) -> Option<i16> {
    let [h1, h2, b':', m1, m2] = *text.as_bytes() else { return None };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i16::from(byte.wrapping_sub(b'0')));
    let (hour, minute) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 1440).then_some(total)
}

fn time(minute: i16) -> Option<Time> {
    let (hour, minute) = (i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?);
    Time::new(hour, minute, 0, 0).ok()
}

/// `daily`, or days and ranges of days with commas between; `Sat-Mon` runs over the week's end.
fn days_of(text: &str) -> Option<[bool; 7]> {
    if text.eq_ignore_ascii_case("daily") {
        return Some([true; 7]);
    }
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (day_of(first)?, day_of(last)?);
        loop {
            *days.get_mut(day)? = true;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Some(days)
}

fn day_of(text: &str) -> Option<usize> {
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun"].iter().position(|day| day.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn hours(text: &str) -> Hours {
        Hours::parse(text).unwrap()
    }

    #[test]
    fn the_window_is_in_the_zones_own_time() {
        let office = hours("Mon-Fri 08:30-17:30 Asia/Taipei");
        assert!(office.contains(at("2026-11-23T00:30:00Z")), "Monday 08:30 in Taipei");
        assert!(!office.contains(at("2026-11-23T00:29:59Z")));
        assert!(office.contains(at("2026-11-23T09:29:59Z")));
        assert!(!office.contains(at("2026-11-23T09:30:00Z")), "the end is not in it");
        assert!(!office.contains(at("2026-11-22T02:00:00Z")), "Sunday");
        assert_eq!(office.ends(at("2026-11-23T01:00:00Z")), Some(at("2026-11-23T09:30:00Z")));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_it_began() {
        let night = hours("Fri 22:00-06:00 UTC");
        assert!(night.contains(at("2026-11-27T22:00:00Z")));
        assert!(night.contains(at("2026-11-28T05:59:59Z")), "Saturday morning");
        assert!(!night.contains(at("2026-11-28T06:00:00Z")));
        assert!(!night.contains(at("2026-11-28T22:30:00Z")), "Saturday night");
        assert!(!night.contains(at("2026-11-27T05:00:00Z")), "Friday morning belongs to Thursday");
    }

    #[test]
    fn the_hours_follow_summer_time() {
        let berlin = hours("daily 09:00-17:00 Europe/Berlin");
        assert!(berlin.contains(at("2026-07-01T07:00:00Z")) && !berlin.contains(at("2026-07-01T06:59:59Z")));
        assert!(berlin.contains(at("2026-12-01T08:00:00Z")) && !berlin.contains(at("2026-12-01T07:59:59Z")));
        // 2026-03-29: 02:00 becomes 03:00. A window that begins in the gap begins when its time would have been.
        let gap = hours("Sun 02:30-05:00 Europe/Berlin");
        assert!(!gap.contains(at("2026-03-29T01:29:59Z")) && gap.contains(at("2026-03-29T01:30:00Z")));
        assert_eq!(gap.ends(at("2026-03-29T02:00:00Z")), Some(at("2026-03-29T03:00:00Z")));
        // 2026-10-25: 03:00 becomes 02:00, so 02:30 comes twice; the window ends the first time.
        let fold = hours("Sun 01:00-02:30 Europe/Berlin");
        assert!(fold.contains(at("2026-10-25T00:29:59Z")) && !fold.contains(at("2026-10-25T00:30:00Z")));
        assert!(!fold.contains(at("2026-10-25T01:15:00Z")), "02:15 the second time");
        // Over midnight across the change: seven hours by the wall, eight by the clock.
        let across = hours("Sat 23:00-06:00 Europe/Berlin");
        assert!(across.contains(at("2026-10-24T21:00:00Z")) && across.contains(at("2026-10-25T04:59:59Z")));
        assert!(!across.contains(at("2026-10-25T05:00:00Z")));
    }

    #[test]
    fn hours_without_a_gap_do_not_end() {
        assert_eq!(hours("daily 00:00-24:00 UTC").ends(at("2026-11-23T12:00:00Z")), None);
        assert_eq!(
            hours("Mon-Fri 00:00-24:00 UTC").ends(at("2026-11-23T12:00:00Z")),
            Some(at("2026-11-28T00:00:00Z"))
        );
        assert_eq!(hours("Mon 00:00-24:00 UTC").ends(at("2026-11-24T12:00:00Z")), None, "not running");
    }

    #[test]
    fn days_are_read_as_people_write_them() {
        let days = |text| hours(&format!("{text} 00:00-24:00 UTC")).days.map(u8::from);
        assert_eq!(days("mon,WED-Fri"), [1, 0, 1, 1, 1, 0, 0]);
        assert_eq!(days("Sat-Mon"), [1, 0, 0, 0, 0, 1, 1]);
        assert_eq!(days("daily"), [1; 7]);
    }

    #[test]
    fn what_is_not_hours_is_refused() {
        let bad = [
            "",
            "Mon-Fri 08:30-17:30",
            "Mon-Fri 08:30-17:30 Mars/Olympus",
            "Mon-Fry 08:30-17:30 UTC",
            "Mon-Fri 8:30-17:30 UTC",
            "Mon-Fri 08:30-08:30 UTC",
            "Mon-Fri 24:00-08:30 UTC",
            "Mon-Fri 08:60-17:30 UTC",
            "Mon-Fri 08:30-24:01 UTC",
            "Mon,,Fri 08:30-17:30 UTC",
            "Mon-Fri 08:30-17:30 UTC x",
            "Mon-Fri 08:30-17:30 ../../etc/localtime",
        ];
        for text in bad {
            assert!(Hours::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in any::<String>()) {
            let _ = Hours::parse(&text);
        }

        #[test]
        fn an_end_is_always_later_and_outside(second in 0_i64..4_102_444_800, days in "(Mon|Sat-Mon|daily)",
            from in 0_u8..24, to in 0_u8..24, zone in "(Europe/Berlin|America/New_York|Australia/Lord_Howe|UTC)") {
            prop_assume!(from != to);
            let hours = hours(&format!("{days} {from:02}:00-{to:02}:30 {zone}"));
            let now = Timestamp::from_second(second).unwrap();
            match hours.ends(now) {
                Some(end) => prop_assert!(hours.contains(now) && end > now && !hours.contains(end)),
                None => prop_assert!(!hours.contains(now) || hours.days == [true; 7]),
            }
        }
    }
}
