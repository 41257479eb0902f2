//! The list that an operator picks a target from: what is shown on their terminal, and what their keys do.
//! Never knows the channel or the policy, and shows nothing but names of the bundle and what was typed as plain letters.

use std::fmt::Write as _;

use policy::{AccountName, TargetName};

use crate::access::Reach;

/// Longest filter, in characters.
const FILTER: usize = 64;
const KEYS: &str = "Up, Down: choose   Enter: connect   Ctrl-C: leave";

/// One line of the list.
struct Line {
    target: TargetName,
    account: AccountName,
    name: String,
    needs: String,
}

/// The list, what of it is shown, and which line is chosen.
pub(super) struct Picker {
    title: String,
    lines: Vec<Line>,
    filter: String,
    /// Lines that fit the filter.
    found: Vec<usize>,
    /// The chosen one of them.
    chosen: usize,
    /// The first that is shown.
    top: usize,
    columns: usize,
    rows: usize,
    /// What was typed after the pick, for who comes next.
    ahead: String,
}

/// What keys came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The list goes on.
    Nothing,
    /// To this account of this target.
    Picked(TargetName, AccountName),
    /// The operator has had enough.
    Left,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Enter,
    Erase,
    Clear,
    Escape,
    Leave,
    Letter(char),
}

impl Picker {
    /// A list of what may be reached, on a terminal of this size.
    pub(super) fn new(title: String, all: &[Reach], (columns, rows): (u16, u16)) -> Self {
        let lines = all.iter().map(|one| {
            let needs: Vec<String> = one.missing.iter().map(ToString::to_string).collect();
            let name = format!("{}@{}", one.account, one.target);
            Line { target: one.target.clone(), account: one.account.clone(), name, needs: needs.join(", ") }
        });
        let lines: Vec<Line> = lines.collect();
        let found = (0..lines.len()).collect();
        let mut own = Self {
            title,
            lines,
            filter: String::new(),
            found,
            chosen: 0,
            top: 0,
            columns: 0,
            rows: 0,
            ahead: String::new(),
        };
        own.resize(columns, rows);
        own
    }

    /// The terminal has another size; one that tells none is taken for 80 by 24.
    pub(super) fn resize(&mut self, columns: u16, rows: u16) {
        (self.columns, self.rows) = (
            usize::from(if columns == 0 { 80 } else { columns }),
            usize::from(if rows == 0 { 24 } else { rows }),
        );
    }

    /// Takes what was typed.
    pub(super) fn typed(&mut self, mut typed: &str) -> Came {
        while let Some((key, rest)) = first(typed) {
            typed = rest;
            let Some(key) = key else { continue };
            let last = self.found.len().saturating_sub(1);
            match key {
                Key::Up => self.chosen = self.chosen.saturating_sub(1),
                Key::Down => self.chosen = (self.chosen + 1).min(last),
                Key::PageUp => self.chosen = self.chosen.saturating_sub(self.room()),
                Key::PageDown => self.chosen = (self.chosen + self.room()).min(last),
                Key::First => self.chosen = 0,
                Key::Last => self.chosen = last,
                Key::Enter => {
                    if let Some(line) = self.found.get(self.chosen).and_then(|at| self.lines.get(*at)) {
                        self.ahead = rest.to_owned();
                        return Came::Picked(line.target.clone(), line.account.clone());
                    }
                }
                Key::Leave => return Came::Left,
                Key::Escape if self.filter.is_empty() => return Came::Left,
                Key::Escape | Key::Clear => self.filtered(String::new()),
                Key::Erase => {
                    let mut filter = std::mem::take(&mut self.filter);
                    filter.pop();
                    self.filtered(filter);
                }
                Key::Letter(letter) if self.filter.len() < FILTER => {
                    let filter = format!("{}{}", self.filter, letter.to_ascii_lowercase());
                    self.filtered(filter);
                }
                Key::Letter(_) => {}
            }
        }
        Came::Nothing
    }

    /// What was typed after the pick, in one go with it.
    pub(super) fn into_ahead(self) -> String {
        self.ahead
    }

    /// Lines that have every word of the filter in them.
    fn filtered(&mut self, filter: String) {
        let words: Vec<&str> = filter.split(' ').filter(|word| !word.is_empty()).collect();
        let fits = |line: &Line| {
            let name = line.name.to_ascii_lowercase();
            words.iter().all(|word| name.contains(word))
        };
        self.found = self.lines.iter().enumerate().filter(|(_, line)| fits(line)).map(|(at, _)| at).collect();
        (self.filter, self.chosen, self.top) = (filter, 0, 0);
    }

    /// Lines of the list that the screen has room for, between the filter and the last line.
    fn room(&self) -> usize {
        self.rows.saturating_sub(3).max(1)
    }

    /// The whole screen. The lines move no further than the chosen one asks for.
    pub(super) fn drawn(&mut self) -> String {
        self.top = self.top.clamp((self.chosen + 1).saturating_sub(self.room()), self.chosen);
        let mut out = format!("\x1b[?25l\x1b[H\x1b[0m\x1b[1m{}\x1b[0m\x1b[K", cut(&self.title, self.columns));
        let prompt = "Find: ";
        let _ = write!(out, "\x1b[2;1H{}\x1b[K", cut(&format!("{prompt}{}", self.filter), self.columns));
        for row in 0..self.room() {
            let _ = write!(out, "\x1b[{};1H", row + 3);
            if let Some(line) = self.found.get(self.top + row).and_then(|at| self.lines.get(*at)) {
                let mark = if self.top + row == self.chosen { "\x1b[7m> " } else { "  " };
                let needs =
                    if line.needs.is_empty() { String::new() } else { format!("  needs {}", line.needs) };
                let text = format!("{}{needs}", line.name);
                let _ = write!(out, "{mark}{}\x1b[0m", cut(&text, self.columns.saturating_sub(2)));
            }
            out.push_str("\x1b[K");
        }
        let counts = format!("{} of {}   {KEYS}", self.found.len(), self.lines.len());
        let _ = write!(out, "\x1b[{};1H\x1b[2m{}\x1b[0m\x1b[K", self.rows, cut(&counts, self.columns));
        let column = (prompt.len() + self.filter.len() + 1).min(self.columns);
        let _ = write!(out, "\x1b[2;{column}H\x1b[?25h");
        out
    }
}

/// The front of a line that fits.
fn cut(text: &str, columns: usize) -> &str {
    text.char_indices().nth(columns).map_or(text, |(at, _)| text.get(..at).unwrap_or_default())
}

/// The first key of what came at once, where it is one that stands for something here, and the rest.
fn first(typed: &str) -> Option<(Option<Key>, &str)> {
    const KNOWN: [(&str, Key); 23] = [
        ("\x1b[A", Key::Up),
        ("\x1bOA", Key::Up),
        ("\x10", Key::Up),
        ("\x1b[B", Key::Down),
        ("\x1bOB", Key::Down),
        ("\x0e", Key::Down),
        ("\t", Key::Down),
        ("\x1b[5~", Key::PageUp),
        ("\x1b[6~", Key::PageDown),
        ("\x1b[H", Key::First),
        ("\x1bOH", Key::First),
        ("\x1b[1~", Key::First),
        ("\x1b[F", Key::Last),
        ("\x1bOF", Key::Last),
        ("\x1b[4~", Key::Last),
        ("\r", Key::Enter),
        ("\n", Key::Enter),
        ("\x7f", Key::Erase),
        ("\x08", Key::Erase),
        ("\x15", Key::Clear),
        ("\x17", Key::Clear),
        ("\x03", Key::Leave),
        ("\x04", Key::Leave),
    ];
    let letter = typed.chars().next()?;
    if typed == "\x1b" {
        return Some((Some(Key::Escape), ""));
    }
    if let Some((rest, key)) = KNOWN.iter().find_map(|(text, key)| Some((typed.strip_prefix(text)?, *key))) {
        return Some((Some(key), rest));
    }
    if let Some(rest) = typed.strip_prefix("\x1b[").or_else(|| typed.strip_prefix("\x1bO")) {
        let end = rest.find(|end: char| ('@'..='~').contains(&end)).map_or(rest.len(), |at| at + 1);
        return Some((None, rest.get(end..).unwrap_or_default()));
    }
    let key = (' '..='~').contains(&letter).then_some(Key::Letter(letter));
    Some((key, typed.get(letter.len_utf8()..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::{ChannelKind, Missing};

    fn reach(target: &str, account: &str, missing: Vec<Missing>) -> Reach {
        let (target, account) = (TargetName::parse(target).unwrap(), AccountName::parse(account).unwrap());
        Reach { target, account, kinds: vec![ChannelKind::Shell], missing }
    }

    fn picker(targets: usize) -> Picker {
        let mut all: Vec<Reach> =
            (0..targets).map(|at| reach(&format!("web-{at}"), "deploy", Vec::new())).collect();
        all.push(reach("db-1", "root", vec![Missing::Reason]));
        Picker::new("Bartizan".into(), &all, (80, 24))
    }

    /// What a terminal of this size shows.
    fn shown(picker: &mut Picker) -> Vec<String> {
        let mut terminal = avt::Terminal::new(picker.columns, picker.rows).unwrap();
        terminal.feed(picker.drawn().as_str());
        terminal.screen().visible_lines().map(|line| line.text().trim_end().to_owned()).collect()
    }

    fn picked(target: &str, account: &str) -> Came {
        Came::Picked(TargetName::parse(target).unwrap(), AccountName::parse(account).unwrap())
    }

    #[test]
    fn what_is_typed_narrows_the_list_and_enter_picks() {
        let mut picker = picker(30);
        assert_eq!(picker.typed("root db"), Came::Nothing);
        let shown = shown(&mut picker);
        assert_eq!((shown[1].as_str(), shown[2].as_str()), ("Find: root db", "> root@db-1  needs a reason"));
        assert!(shown[3].is_empty() && shown[23].starts_with("1 of 31"));
        assert_eq!(picker.typed("\r"), picked("db-1", "root"));
        assert_eq!(picker.typed("nothing\r"), Came::Nothing, "nothing is found, nothing is picked");
        assert_eq!(picker.typed("\x15WEB-29\rls -l\r"), picked("web-29", "deploy"));
        assert_eq!(picker.into_ahead(), "ls -l\r");
    }

    #[test]
    fn the_chosen_line_is_always_on_the_screen() {
        let mut picker = picker(200);
        for (typed, rows, line) in [
            ("\x1b[F", 24, "> root@db-1  needs a reason"),
            ("\x1b[5~", 24, "> deploy@web-179"),
            ("", 5, "> deploy@web-179"),
            ("\x1b[H\x1bOB\x1b[B\x1b[A", 3, "> deploy@web-1"),
            ("", 1, "> deploy@web-1"),
            ("\x1b[6~", 24, "> deploy@web-22"),
        ] {
            picker.resize(80, rows);
            assert_eq!(picker.typed(typed), Came::Nothing);
            let drawn = picker.drawn();
            assert!(drawn.contains(&line[2..]), "{typed:?} on {rows} rows: {drawn:?}");
            if rows > 3 {
                assert!(shown(&mut picker).iter().any(|row| row == line), "{typed:?} on {rows} rows");
            }
        }
    }

    #[test]
    fn nothing_typed_reaches_the_terminal_but_plain_letters() {
        let mut picker = picker(1);
        assert_eq!(picker.typed("\x1b[200~\x1b[?1;2c\u{202e}日\u{7}a\x1b[38;5"), Came::Nothing);
        assert_eq!(picker.filter, "a");
        picker.typed(&"b".repeat(100_000));
        assert_eq!(picker.filter.len(), FILTER);
        assert_eq!(picker.typed("\x1b"), Came::Nothing, "first it clears");
        assert_eq!(picker.typed("\x1b"), Came::Left);
        assert_eq!(picker.typed("x\x03"), Came::Left);
    }

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        let mut picker = picker(3);
        for columns in [1, 2, 10, 79] {
            picker.resize(columns, 24);
            let rows = shown(&mut picker);
            assert!(rows.iter().all(|row| row.chars().count() <= usize::from(columns)));
        }
    }
}
