//! A recorded terminal, replayed into cells and painted from them.
//! No recorded byte reaches the reader's terminal: only visible characters, colours and positions that this file writes.

use std::fmt::Write as _;

use avt::{Cell, Color, Observer, Pen, Terminal};

use crate::control::clean;

/// Takes the reader's screen: another page, so that what was on it comes back.
pub(super) const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[2J";
/// Gives the reader's screen back, in the state a shell expects.
pub const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// The size of a terminal that never said one.
pub(super) const USUAL: (usize, usize) = (80, 24);
/// The largest terminal that is replayed; a recorded size beyond it is cut down.
const LARGEST: (usize, usize) = (1000, 500);

/// Text out of bytes that may end in the middle of a character.
#[derive(Debug, Default)]
pub(super) struct Utf8 {
    kept: Vec<u8>,
}

impl Utf8 {
    /// The text that is whole so far; what is no UTF-8 becomes U+FFFD.
    pub(super) fn text(&mut self, bytes: &[u8]) -> String {
        self.kept.extend_from_slice(bytes);
        let mut out = String::with_capacity(self.kept.len());
        let mut rest = self.kept.as_slice();
        loop {
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    rest = &[];
                    break;
                }
                Err(error) => error,
            };
            let (good, after) = rest.split_at(error.valid_up_to());
            out.push_str(&String::from_utf8_lossy(good));
            let Some(bad) = error.error_len() else {
                rest = after;
                break;
            };
            out.push(char::REPLACEMENT_CHARACTER);
            rest = after.get(bad..).unwrap_or_default();
        }
        self.kept = rest.to_vec();
        out
    }
}

/// Text in pieces so small that what one of them can swell to (a few bytes repeat a character 65,535 times) stays small.
pub(super) fn piecemeal(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (piece, after) = rest.split_at_checked(rest.floor_char_boundary(256))?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The replayed terminal.
pub(super) struct Screen {
    terminal: Terminal,
    decoder: Utf8,
    /// A program without a terminal ends its lines with LF alone.
    bare: bool,
}

impl Screen {
    /// A blank one.
    pub(super) fn new() -> Option<Self> {
        let terminal = Terminal::new(USUAL.0, USUAL.1).ok()?;
        Some(Self { terminal, decoder: Utf8::default(), bare: true })
    }

    /// The program's output.
    pub(super) fn show(&mut self, bytes: &[u8]) {
        let mut text = self.decoder.text(bytes);
        if self.bare {
            text = text.replace('\n', "\r\n");
        }
        self.terminal.feed(text.as_str());
    }

    /// A size the operator's terminal had.
    pub(super) fn resize(&mut self, (columns, rows): (usize, usize)) {
        self.bare = false;
        self.terminal.resize(columns.clamp(1, LARGEST.0), rows.clamp(1, LARGEST.1));
    }

    /// As [`Self::resize`], watched.
    pub(super) fn resize_with<O: Observer>(
        &mut self,
        (columns, rows): (usize, usize),
        watch: O,
    ) -> O::Output {
        self.terminal.resize_with(columns.clamp(1, LARGEST.0), rows.clamp(1, LARGEST.1), watch)
    }

    /// What stands on it, without what stands empty below.
    pub(super) fn text(&self) -> Vec<String> {
        let mut lines: Vec<String> =
            self.terminal.screen().visible_lines().map(|line| plain(&line.text())).collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    pub(super) fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    pub(super) fn terminal_mut(&mut self) -> &mut Terminal {
        &mut self.terminal
    }
}

fn plain(line: &str) -> String {
    clean::line(line.trim_end()).into_owned()
}

/// What the reader's terminal shows now; paints only the difference.
#[derive(Debug, Default)]
pub(super) struct Painter {
    shown: Vec<Vec<Cell>>,
    status: String,
}

impl Painter {
    /// Forgets what is shown, after the reader's terminal changed its size.
    pub(super) fn forget(&mut self) -> &'static str {
        self.shown.clear();
        self.status.clear();
        "\x1b[0m\x1b[2J"
    }

    /// The sequences that turn what is shown into `screen`, within `columns` and `rows`; the last row is for `status`.
    pub(super) fn paint(&mut self, screen: &Screen, columns: u16, rows: u16, status: &str) -> String {
        let room = usize::from(rows.max(2)) - 1;
        let terminal = screen.terminal();
        let mut out = String::from("\x1b[?25l");
        // A terminal taller than the reader's is shown from where its cursor is.
        let skip = (terminal.cursor().row + 1).saturating_sub(room);
        let mut drawn = 0;
        for (row, line) in terminal.screen().visible_lines().skip(skip).take(room).enumerate() {
            drawn = row + 1;
            if self.shown.get(row).is_some_and(|shown| shown == line.cells()) {
                continue;
            }
            let _ = write!(out, "\x1b[{};1H", row + 1);
            draw(&mut out, line.cells(), usize::from(columns.max(1)));
            match self.shown.get_mut(row) {
                Some(shown) => *shown = line.cells().to_vec(),
                None => self.shown.push(line.cells().to_vec()),
            }
        }
        if drawn < self.shown.len() {
            self.shown.truncate(drawn);
            for row in drawn..room {
                let _ = write!(out, "\x1b[{};1H\x1b[0m\x1b[K", row + 1);
            }
        }
        if self.status != status {
            let shown: String = clean::line(status).chars().take(usize::from(columns)).collect();
            let _ = write!(out, "\x1b[{};1H\x1b[0m\x1b[K\x1b[7m{shown}\x1b[0m", room + 1);
            status.clone_into(&mut self.status);
        }
        let cursor = terminal.cursor();
        if let Some((column, row)) =
            cursor.position().filter(|(c, r)| *c < usize::from(columns) && *r >= skip)
        {
            let _ = write!(out, "\x1b[{};{}H\x1b[?25h", row - skip + 1, column + 1);
        }
        out
    }
}

fn draw(out: &mut String, cells: &[Cell], columns: usize) {
    // Cleared first: after the last column the cursor stands on it, and clearing would take it away.
    out.push_str("\x1b[0m\x1b[K");
    let mut pen = Pen::default();
    let mut used = 0;
    let blank = |cell: &&Cell| cell.char() == ' ' && cell.pen().is_default();
    let shown = cells.len() - cells.iter().rev().take_while(blank).count();
    for cell in cells.iter().take(shown) {
        let width = usize::from(cell.width());
        if used + width > columns {
            break;
        }
        if width == 0 {
            continue;
        }
        if *cell.pen() != pen {
            pen = *cell.pen();
            dress(out, &pen);
        }
        used += width;
        match cell.char() {
            // As wide as the cell it stands in, whatever it was.
            c if clean::commands(c) => out.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, width)),
            c => out.push(c),
        }
    }
    out.push_str("\x1b[0m");
}

fn dress(out: &mut String, pen: &Pen) {
    out.push_str("\x1b[0");
    for (on, code) in [
        (pen.is_bold(), ";1"),
        (pen.is_faint(), ";2"),
        (pen.is_italic(), ";3"),
        (pen.is_underline(), ";4"),
        (pen.is_inverse(), ";7"),
        (pen.is_strikethrough(), ";9"),
    ] {
        if on {
            out.push_str(code);
        }
    }
    for (ground, color) in [(38, pen.foreground()), (48, pen.background())] {
        match color {
            Some(Color::Indexed(n)) => {
                let _ = write!(out, ";{ground};5;{n}");
            }
            Some(Color::RGB(c)) => {
                let _ = write!(out, ";{ground};2;{};{};{}", c.r, c.g, c.b);
            }
            None => {}
        }
    }
    out.push('m');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted(bytes: &[u8]) -> String {
        let mut screen = Screen::new().expect("screen");
        screen.resize((20, 4));
        screen.show(bytes);
        Painter::default().paint(&screen, 20, 5, "status")
    }

    /// Every escape sequence in `out` is one that this file writes.
    fn only_ours(out: &str) -> bool {
        let mut rest = out;
        while let Some(at) = rest.find(clean::commands) {
            let Some(after) = rest[at..].strip_prefix("\x1b[") else { return false };
            let end = after.find(|c: char| !matches!(c, '0'..='9' | ';' | '?')).unwrap_or(after.len());
            let (parameters, command) = after.split_at(end);
            let private = matches!(parameters, "?25" | "?7" | "?1049") && command.starts_with(['h', 'l']);
            if !private && (parameters.contains('?') || !command.starts_with(['m', 'H', 'K', 'J'])) {
                return false;
            }
            rest = command;
        }
        true
    }

    #[test]
    fn what_was_on_the_screen_is_painted() {
        let out = painted(b"\x1b[31mred\x1b[0m and \x1b[1;4mbold\x1b[0m\r\nnext");
        assert!(out.contains("\x1b[0;38;5;1mred") && out.contains("\x1b[0;1;4mbold") && out.contains("next"));
        assert!(only_ours(&out));
    }

    #[test]
    fn no_title_clipboard_mode_or_link_comes_through() {
        for hostile in [
            "\x1b]0;title\x07",
            "\x1b]52;c;aGk=\x07",
            "\x1b]8;;http://x\x07y\x1b]8;;\x07",
            "\x1bP$qm\x1b\\",
            "\x1b[?2004h",
            "\x1b[?1000h",
            "\u{9b}2J",
            "\u{9d}0;t\u{9c}",
            "\x1b[21t",
            "\x1bc",
            "\x1b[5n",
            "\x1b^pm\x1b\\",
            "\x1b_apc\x1b\\",
            "a\u{202e}b",
            "\x0e\x0f\x05\x07",
        ] {
            let out = painted(hostile.as_bytes());
            assert!(only_ours(&out), "{hostile:?} -> {out:?}");
        }
    }

    #[test]
    fn a_character_cut_in_two_by_a_frame_is_whole_again() {
        let mut decoder = Utf8::default();
        assert_eq!(decoder.text(b"a\xe6\x97"), "a");
        assert_eq!(decoder.text(b"\xa5\xff!"), "日\u{fffd}!");
    }

    #[test]
    fn the_second_painting_says_only_what_changed() {
        let mut screen = Screen::new().expect("screen");
        screen.resize((20, 4));
        screen.show(b"one\r\ntwo");
        let mut painter = Painter::default();
        painter.paint(&screen, 20, 5, "");
        screen.show(b"!");
        let out = painter.paint(&screen, 20, 5, "");
        assert!(out.contains("two!") && !out.contains("one"));
    }

    #[test]
    fn an_absurd_size_is_cut_down() {
        let mut screen = Screen::new().expect("screen");
        screen.resize((usize::MAX, usize::MAX));
        assert_eq!(screen.terminal().size(), LARGEST);
        screen.resize((0, 0));
        assert_eq!(screen.terminal().size(), (1, 1));
    }

    proptest::proptest! {
        #[test]
        fn no_recorded_bytes_reach_the_terminal(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            proptest::prop_assert!(only_ours(&painted(&bytes)));
        }

        #[test]
        fn escape_rich_bytes_do_not_either(bytes in "(\\x1b[\\[\\]P_^X()#c78=>N-O]|[0-9;?:$ -/]|[@-~]|\u{9b}|\u{9d}|\u{90}|\u{9c}|\\x07|[\u{200b}-\u{206f}]){0,80}") {
            proptest::prop_assert!(only_ours(&painted(bytes.as_bytes())));
        }
    }
}
