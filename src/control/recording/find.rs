//! Text looked for in what a terminal showed: on its screen, and in lines that have left it.
//! It never sees what was shown for less than the blink that a replay would not paint either.

use std::time::Duration;

use avt::{Line, Observation, Observer};

use super::screen::Screen;

/// What is shown for a shorter time is not looked at by itself.
const BLINK: Duration = Duration::from_millis(33);
/// The longest line that is joined from wrapped rows, in bytes.
const LONGEST: usize = 64 << 10;

/// What is looked for, and what of it has been seen.
#[derive(Debug)]
pub(super) struct Finder {
    text: String,
    /// Written without capitals, it stands for both.
    any_case: bool,
    /// How often it was on the screen when that was last looked at.
    before: usize,
    /// How often it has left the screen since.
    gone: usize,
    wrapped: String,
    /// When to look next.
    next: Option<Duration>,
    /// The line it was last seen in.
    line: String,
}

impl Finder {
    /// Looks for `text`, which is not empty.
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            any_case: !text.chars().any(char::is_uppercase),
            before: 0,
            gone: 0,
            wrapped: String::new(),
            next: None,
            line: String::new(),
        }
    }

    /// From here on: what is on this screen already is not found again.
    pub(super) fn begin(&mut self, screen: &Screen) {
        (self.before, self.gone, self.next) = (self.on(screen), 0, None);
        self.wrapped.clear();
    }

    /// The line it was found in.
    pub(super) fn line(&self) -> &str {
        &self.line
    }

    /// Whether a frame at `due` is of another blink.
    pub(super) fn is_time(&self, due: Duration) -> bool {
        self.next.is_some_and(|next| due >= next)
    }

    /// A frame of `due` comes on the screen.
    pub(super) fn waits_from(&mut self, due: Duration) {
        self.next.get_or_insert(due + BLINK);
    }

    /// Looks at the screen; whether there was more of the text since the last look than there had been.
    pub(super) fn looks(&mut self, screen: &Screen) -> bool {
        let on = self.on(screen);
        let more = on + self.gone > self.before;
        (self.before, self.gone, self.next) = (on, 0, None);
        more
    }

    fn on(&mut self, screen: &Screen) -> usize {
        let (mut count, mut line) = (0, String::new());
        for row in screen.terminal().screen().visible_lines() {
            line.extend(row.chars());
            if !row.is_wrapped() || line.len() > LONGEST {
                count += self.in_line(&line);
                line.clear();
            }
        }
        count + self.in_line(&line)
    }

    fn in_line(&mut self, line: &str) -> usize {
        let count = if self.any_case {
            line.to_lowercase().matches(self.text.as_str()).count()
        } else {
            line.matches(self.text.as_str()).count()
        };
        if count > 0 {
            line.trim_end().clone_into(&mut self.line);
        }
        count
    }
}

impl Observer for Finder {
    type Output = ();

    fn evicted(&mut self, _: &mut Observation<'_>, line: &Line) {
        self.wrapped.extend(line.chars());
        if !line.is_wrapped() || self.wrapped.len() > LONGEST {
            let whole = std::mem::take(&mut self.wrapped);
            self.gone += self.in_line(&whole);
        }
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::recording::Stream;

    fn shows(screen: &mut Screen, finder: &mut Finder, text: &str) -> bool {
        screen.take(Stream::Output, text.as_bytes());
        assert!(screen.work(&mut u64::MAX.clone(), finder));
        finder.looks(screen)
    }

    #[test]
    fn text_is_found_once_for_each_time_it_was_shown() {
        let mut screen = Screen::new().expect("screen");
        screen.resize((20, 4));
        let mut finder = Finder::new("needle");
        finder.begin(&screen);
        assert!(!shows(&mut screen, &mut finder, "hay\r\nnee"));
        assert!(shows(&mut screen, &mut finder, "dle here"), "in two parts");
        assert_eq!(finder.line(), "needle here");
        assert!(!shows(&mut screen, &mut finder, "x\r\n"), "the line grows");
        assert!(!shows(&mut screen, &mut finder, "\r\n\r\n\r\n\r\n"), "it leaves the screen");
        assert!(
            shows(&mut screen, &mut finder, "NEEDLE\r\n1\r\n2\r\n3\r\n4\r\n5\r\n"),
            "shown and gone at once"
        );
        assert!(shows(&mut screen, &mut finder, "............a nee\x1b[1mdl\x1b[0me"), "wrapped and dressed");
        assert!(!shows(&mut screen, &mut finder, "\x1b[2J\x1b[H"));
        assert!(shows(&mut screen, &mut finder, "\x1b[?1049h\x1b[2;3Hneedle"));
    }

    #[test]
    fn capitals_count_where_they_are_asked_for() {
        let mut screen = Screen::new().expect("screen");
        let mut finder = Finder::new("Needle");
        finder.begin(&screen);
        assert!(!shows(&mut screen, &mut finder, "needle NEEDLE"));
        assert!(shows(&mut screen, &mut finder, " Needle"));
    }
}
