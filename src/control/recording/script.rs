//! A recording as plain text: the lines of a terminal as they leave the screen, or the bytes of a program without one.
//! It never holds more than a screen and a piece, however long a line or a recording is, and runs on a thread that may block.

use std::path::Path;

use avt::parser::Function;
use avt::{Line, Observation, Observer, Operation, Terminal};
use keys::RecordingKey;
use ledger::recording::{ReadError, Reader, Stream};
use tokio::sync::mpsc::Sender;

use super::export::Which;
use super::reel::size_of;
use super::screen::{Screen, Utf8, piecemeal};
use crate::control::clean;

/// A piece of text, or why there is no more.
pub(super) type Piece = Result<String, ReadError>;

/// Reads the recording at `path` and gives its text piece by piece, until it ends or nobody takes more.
pub(super) fn write(path: &Path, key: &RecordingKey, which: Which, give: &Sender<Piece>) {
    if let Err(Stop::Read(error)) = read(path, key, which, give) {
        let _ = give.blocking_send(Err(error));
    }
}

enum Stop {
    /// The recording does not read on.
    Read(ReadError),
    /// Nobody takes more.
    Gone,
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

fn read(path: &Path, key: &RecordingKey, which: Which, give: &Sender<Piece>) -> Result<(), Stop> {
    let Some(mut screen) = Screen::new() else { return Ok(()) };
    let mut lines = Lines::default();
    let (mut plain, mut errors) = (Utf8::default(), Utf8::default());
    let (mut terminal, mut open_line) = (false, false);
    for frame in Reader::open(path, Some(key))? {
        let frame = frame?;
        if let Some(size) = size_of(&frame) {
            terminal = true;
            screen.resize_with(size, &mut lines);
            lines.give(give)?;
            continue;
        }
        let decoder = match frame.stream {
            stream if !which.has(stream) => continue,
            Stream::Output => &mut plain,
            Stream::Stderr => &mut errors,
            _ => continue,
        };
        let text = decoder.text(&frame.payload);
        if terminal {
            for piece in piecemeal(&text) {
                screen.terminal_mut().feed_with(piece, &mut lines);
                lines.give(give)?;
            }
        } else if !text.is_empty() {
            open_line = !text.ends_with('\n');
            let text = clean::lines(&text.replace("\r\n", "\n")).into_owned();
            give.blocking_send(Ok(text)).map_err(|_| Stop::Gone)?;
        }
    }
    if terminal {
        lines.finish(screen.terminal());
    } else if open_line {
        lines.text.push('\n');
    }
    lines.give(give)
}

/// Watches a terminal and takes down each line that leaves its screen for good.
#[derive(Debug, Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn push(&mut self, line: &Line) {
        // A line that goes on in the next row has no end of its own, and no padding.
        if line.is_wrapped() {
            self.text.push_str(&clean::line(&line.text()));
        } else {
            self.text.push_str(&clean::line(line.text().trim_end()));
            self.text.push('\n');
        }
    }

    /// What still stands on the main screen, without what stands empty below.
    fn finish(&mut self, terminal: &Terminal) {
        let screen = terminal.primary_screen();
        let used = screen.all_lines().enumerate().filter(|(_, line)| !line.text().trim_end().is_empty());
        let used = used.last().map_or(0, |(row, _)| row + 1);
        for line in screen.all_lines().take(used) {
            self.push(line);
        }
    }

    fn give(&mut self, give: &Sender<Piece>) -> Result<(), Stop> {
        if self.text.is_empty() {
            return Ok(());
        }
        give.blocking_send(Ok(std::mem::take(&mut self.text))).map_err(|_| Stop::Gone)
    }
}

impl Observer for Lines {
    type Output = ();

    fn before(&mut self, context: &mut Observation<'_>, operation: &Operation) {
        // A hard reset clears what was never scrolled away.
        if matches!(operation, Operation::Function(Function::Ris)) {
            self.finish(context.terminal());
        }
    }

    fn evicted(&mut self, _: &mut Observation<'_>, line: &Line) {
        self.push(line);
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(size: (usize, usize), fed: &str) -> String {
        let mut screen = Screen::new().expect("screen");
        let mut lines = Lines::default();
        screen.resize_with(size, &mut lines);
        for piece in piecemeal(fed) {
            screen.terminal_mut().feed_with(piece, &mut lines);
        }
        lines.finish(screen.terminal());
        lines.text
    }

    #[test]
    fn lines_are_joined_where_they_wrapped_and_nothing_is_lost() {
        let long = "x".repeat(95);
        assert_eq!(text((10, 3), &format!("one\r\n{long}\r\nlast")), format!("one\n{long}\nlast\n"));
        assert_eq!(text((10, 3), "a\r\n\r\nb\r\n\r\n"), "a\n\nb\n");
        assert_eq!(text((10, 3), "gone\x1bcnew"), "gone\nnew\n");
    }

    #[test]
    fn a_repeat_that_swells_is_bounded_by_the_piece() {
        let bomb = "x\x1b[65535b".repeat(400);
        let widest = piecemeal(&bomb).map(str::len).max().expect("pieces");
        assert!(widest <= 256, "{widest}");
        assert_eq!(piecemeal(&bomb).collect::<String>(), bomb);
    }

    #[test]
    fn no_sequence_survives_in_the_text() {
        let out = text((40, 5), "\x1b]0;t\x07a\x1b[31mb\u{202e}c\x1b]52;c;aGk=\x07\r\n");
        assert!(out.starts_with("ab\\u{202e}c") || out == "abc\n", "{out}");
    }
}
