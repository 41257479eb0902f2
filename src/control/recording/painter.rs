//! Cells painted on the reader's terminal.
//! No recorded byte reaches it: only visible characters, colours and positions that this file writes.

use std::fmt::Write as _;

use avt::{Cell, Color, Pen};

use super::screen::Screen;
use crate::control::clean;

/// Takes the reader's screen: another page, so that what was on it comes back.
pub const ENTER: &str = "\x1b[?1049h\x1b[?7l\x1b[2J";
/// Gives the reader's screen back, in the state a shell expects.
pub const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Which part of a screen that is larger than the reader's terminal is seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum View {
    /// The part around the cursor.
    #[default]
    Cursor,
    /// From this column and row on.
    From(usize, usize),
}

/// The part of a screen that a terminal of this size shows: its first column and row.
pub(super) fn corner(screen: &Screen, columns: u16, rows: u16, view: View) -> (usize, usize) {
    let room = (usize::from(columns.max(1)), usize::from(rows.max(2)) - 1);
    let (terminal, cursor) = (screen.terminal(), screen.terminal().cursor());
    let size = terminal.size();
    let most = (size.0.saturating_sub(room.0), size.1.saturating_sub(room.1));
    let (left, top) = match view {
        View::From(left, top) => (left, top),
        View::Cursor => ((cursor.col + 1).saturating_sub(room.0), (cursor.row + 1).saturating_sub(room.1)),
    };
    (left.min(most.0), top.min(most.1))
}

/// What the reader's terminal shows now; paints only the difference.
#[derive(Debug, Default)]
pub(super) struct Painter {
    shown: Vec<Vec<Cell>>,
    status: String,
    left: usize,
}

impl Painter {
    /// Forgets what is shown, after the reader's terminal changed its size.
    pub(super) fn forget(&mut self) -> &'static str {
        self.shown.clear();
        self.status.clear();
        "\x1b[0m\x1b[2J"
    }

    /// The sequences that turn what is shown into `screen`, within `columns` and `rows`; the last row is for `status`.
    pub(super) fn paint(
        &mut self,
        screen: &Screen,
        (columns, rows): (u16, u16),
        view: View,
        status: &str,
    ) -> String {
        let room = usize::from(rows.max(2)) - 1;
        let terminal = screen.terminal();
        let (left, top) = corner(screen, columns, rows, view);
        if std::mem::replace(&mut self.left, left) != left {
            self.shown.clear();
        }
        let mut out = String::from("\x1b[?25l");
        let mut drawn = 0;
        for (row, line) in terminal.screen().visible_lines().skip(top).take(room).enumerate() {
            drawn = row + 1;
            if self.shown.get(row).is_some_and(|shown| shown == line.cells()) {
                continue;
            }
            let _ = write!(out, "\x1b[{};1H", row + 1);
            draw(&mut out, line.cells(), left, usize::from(columns.max(1)));
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
        let seen = |&(column, row): &(usize, usize)| {
            (left..left + usize::from(columns)).contains(&column) && (top..top + room).contains(&row)
        };
        if let Some((column, row)) = terminal.cursor().position().filter(seen) {
            let _ = write!(out, "\x1b[{};{}H\x1b[?25h", row - top + 1, column - left + 1);
        }
        out
    }
}

fn draw(out: &mut String, cells: &[Cell], left: usize, columns: usize) {
    // Cleared first: after the last column the cursor stands on it, and clearing would take it away.
    out.push_str("\x1b[0m\x1b[K");
    let mut pen = Pen::default();
    let (mut at, mut used) = (0, 0);
    let blank = |cell: &&Cell| cell.char() == ' ' && cell.pen().is_default();
    let shown = cells.len() - cells.iter().rev().take_while(blank).count();
    for cell in cells.iter().take(shown) {
        let width = usize::from(cell.width());
        let begins = at;
        at += width;
        if width == 0 || at <= left {
            continue;
        }
        if used + width > columns {
            break;
        }
        if begins < left {
            // The second half of a wide character.
            out.push(' ');
            used += 1;
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
        Painter::default().paint(&screen, (20, 5), View::Cursor, "status")
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
    fn the_second_painting_says_only_what_changed() {
        let mut screen = Screen::new().expect("screen");
        screen.resize((20, 4));
        screen.show(b"one\r\ntwo");
        let mut painter = Painter::default();
        painter.paint(&screen, (20, 5), View::Cursor, "");
        screen.show(b"!");
        let out = painter.paint(&screen, (20, 5), View::Cursor, "");
        assert!(out.contains("two!") && !out.contains("one"));
    }

    #[test]
    fn a_screen_larger_than_the_terminal_is_seen_where_the_cursor_is_or_from_where_one_looks() {
        let mut screen = Screen::new().expect("screen");
        screen.resize((100, 40));
        screen.show("top left\x1b[40;91Hlow right\x1b[20;1H日本日本 wide".as_bytes());
        let painted = |view| Painter::default().paint(&screen, (20, 11), view, "");
        assert!(painted(View::Cursor).contains("日本日本 wide"));
        assert!(painted(View::From(0, 0)).contains("top left"));
        let low = painted(View::From(usize::MAX, usize::MAX));
        assert!(low.contains("low right") && !low.contains("wide"), "{low}");
        let half = painted(View::From(1, 12));
        assert!(half.contains(" 本日本 wide"), "a character cut in two leaves a blank: {half}");
        assert!(only_ours(&half));
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
