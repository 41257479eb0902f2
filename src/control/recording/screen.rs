//! A recorded terminal, replayed into cells; what is in them can be kept and taken up again.
//! It never does more at once than it is given room for: a few hostile bytes can be much work.

use avt::parser::Function;
use avt::{Observation, Observer, Operation, Terminal};
use ledger::recording::Stream;
use serde::{Deserialize, Serialize};

use crate::control::clean;

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
    /// Of standard output and of standard error.
    decoders: [Utf8; 2],
    /// A program without a terminal ends its lines with LF alone.
    bare: bool,
    /// Taken, and shown up to here.
    waiting: String,
    shown: usize,
}

/// A screen that is kept: as it stood between two frames.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Still {
    columns: usize,
    rows: usize,
    bare: bool,
    halves: [Vec<u8>; 2],
    cells: String,
}

impl Still {
    /// About how much room it takes.
    pub(super) fn size(&self) -> usize {
        self.cells.len() + 256
    }
}

/// Counts what output costs, in characters written.
#[derive(Debug, Default)]
struct Effort(u64);

impl Observer for Effort {
    type Output = ();

    fn before(&mut self, context: &mut Observation<'_>, operation: &Operation) {
        let (columns, rows) = context.terminal().size();
        self.0 += match operation {
            Operation::Function(Function::Print(_) | Function::Cr | Function::Sgr(_)) => 1,
            Operation::Function(Function::Rep(count)) => u64::from(*count),
            Operation::Function(
                Function::Ed(_)
                | Function::Il(_)
                | Function::Dl(_)
                | Function::Su(_)
                | Function::Sd(_)
                | Function::Decaln
                | Function::Decset(_)
                | Function::Decrst(_)
                | Function::Ris,
            ) => (columns * rows / 16) as u64 + 1,
            _ => (columns / 16) as u64 + 1,
        };
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

impl Screen {
    /// A blank one.
    pub(super) fn new() -> Option<Self> {
        let terminal = Terminal::new(USUAL.0, USUAL.1).ok()?;
        let (waiting, decoders) = (String::new(), Default::default());
        Some(Self { terminal, decoders, bare: true, waiting, shown: 0 })
    }

    /// One that was kept.
    pub(super) fn of(still: &Still) -> Option<Self> {
        let mut terminal = Terminal::new(still.columns.max(1), still.rows.max(1)).ok()?;
        terminal.feed(still.cells.as_str());
        let decoders = still.halves.clone().map(|kept| Utf8 { kept });
        Some(Self { terminal, decoders, bare: still.bare, waiting: String::new(), shown: 0 })
    }

    /// Keeps it; `None` while something waits to be shown.
    pub(super) fn still(&self) -> Option<Still> {
        let (columns, rows) = self.terminal.size();
        let halves = [&self.decoders[0], &self.decoders[1]].map(|half| half.kept.clone());
        let cells = self.is_done().then(|| self.terminal.dump())?;
        Some(Still { columns, rows, bare: self.bare, halves, cells })
    }

    /// Takes the program's output. It is on the screen once [`Self::work`] has said so.
    pub(super) fn take(&mut self, stream: Stream, bytes: &[u8]) {
        let [plain, errors] = &mut self.decoders;
        let text = if stream == Stream::Stderr { errors.text(bytes) } else { plain.text(bytes) };
        if self.is_done() {
            self.waiting.clear();
            self.shown = 0;
        }
        match self.bare {
            true => self.waiting.push_str(&text.replace('\n', "\r\n")),
            false => self.waiting.push_str(&text),
        }
    }

    /// Whether all that was taken is shown.
    pub(super) fn is_done(&self) -> bool {
        self.shown >= self.waiting.len()
    }

    /// Shows what was taken as far as `room`, which it uses up, allows; whether that was all of it.
    pub(super) fn work<O: Observer>(&mut self, room: &mut u64, watch: &mut O) -> bool {
        let rest = self.waiting.get(self.shown..).unwrap_or_default();
        for piece in piecemeal(rest) {
            if *room == 0 {
                return false;
            }
            let mut effort = Effort::default();
            self.terminal.feed_with(piece, (&mut effort, &mut *watch));
            *room = room.saturating_sub(effort.0.max(piece.len() as u64));
            self.shown += piece.len();
        }
        true
    }

    /// Output, shown at once.
    #[cfg(test)]
    pub(super) fn show(&mut self, bytes: &[u8]) {
        self.take(Stream::Output, bytes);
        assert!(self.work(&mut u64::MAX.clone(), &mut ()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_in_two_by_a_frame_is_whole_again() {
        let mut decoder = Utf8::default();
        assert_eq!(decoder.text(b"a\xe6\x97"), "a");
        assert_eq!(decoder.text(b"\xa5\xff!"), "日\u{fffd}!");
    }

    #[test]
    fn an_absurd_size_is_cut_down() {
        let mut screen = Screen::new().expect("screen");
        screen.resize((usize::MAX, usize::MAX));
        assert_eq!(screen.terminal().size(), LARGEST);
        screen.resize((0, 0));
        assert_eq!(screen.terminal().size(), (1, 1));
    }

    #[test]
    fn a_few_bytes_that_are_much_work_are_done_in_bites() {
        let mut screen = Screen::new().expect("screen");
        screen.take(Stream::Output, "x\x1b[65535b".repeat(1000).as_bytes());
        let mut bites = 0;
        while !screen.work(&mut 1_000_000, &mut ()) {
            bites += 1;
            assert!(screen.still().is_none(), "it is not whole yet");
        }
        assert!(bites >= 5, "{bites}");
        assert!(screen.still().is_some());
    }

    proptest::proptest! {
        #[test]
        fn a_screen_that_was_kept_goes_on_as_if_it_had_not_been(
            before in proptest::collection::vec("(\\x1b[\\[\\]P()#78M=>Dc]|[0-9;?:$]|[@-~]|[ -~]{1,9}|\\x1b\\[\\?(1049|6|7|25|47)[hl]|[\r\n\t]|日本|e\u{301}){0,30}", 0..3),
            cut in 0..4usize,
            after in "(\\x1b[\\[78M]|[0-9;]|[@-~]|[ -~]{1,9}|\\x1b\\[\\?1049[hl]|\r\n|日本){0,20}",
            size in (1..60usize, 1..20usize),
        ) {
            let mut screen = Screen::new().expect("screen");
            screen.resize((30, 8));
            for text in &before {
                screen.show(text.as_bytes());
            }
            // In the middle of a character as well.
            screen.show("語".as_bytes().get(..cut.min(3)).expect("bytes"));
            screen.resize(size);
            let mut other = Screen::of(&screen.still().expect("still")).expect("screen");
            for one in [&mut screen, &mut other] {
                one.show("語".as_bytes().get(cut.min(3)..).expect("bytes"));
                one.show(after.as_bytes());
            }
            proptest::prop_assert_eq!(screen.text(), other.text());
            proptest::prop_assert_eq!(screen.still(), other.still());
        }
    }
}
