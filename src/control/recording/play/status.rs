//! What a replay says of itself, in the last row of the reader's terminal, and the painting of it all.
//! It never says anything that was recorded.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::Instant;

use super::Player;
use crate::control::recording::painter;
use crate::control::reply::{Reply, Trouble};

/// The reader's terminal.
pub(in crate::control::recording) fn size<R: Reply>(out: &R) -> (u16, u16) {
    let shape = out.shape();
    let or = |given: u16, usual| if given == 0 { usual } else { given };
    (or(shape.columns, 80), or(shape.rows, 24))
}

/// `01:02:03`.
pub(in crate::control::recording) fn clock(at: Duration) -> String {
    let seconds = at.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

impl Player {
    pub(super) async fn paint<R: Reply>(&mut self, out: &mut R) -> Result<(), Trouble> {
        let size = size(out);
        let status = self.status(size, out.shape().keys)?;
        let Some(deck) = &self.deck else { return Ok(()) };
        let (screen, view) = match &self.help {
            Some(help) => (help, painter::View::From(0, 0)),
            None => (deck.screen(), self.view),
        };
        let painted = self.painter.paint(screen, size, view, &status);
        self.painted = Some(Instant::now());
        out.out(&painted).await
    }

    fn status(&self, size: (u16, u16), keys: bool) -> Result<String, Trouble> {
        if let Some(typed) = &self.typing {
            return Ok(format!("/{typed}"));
        }
        let deck = self.deck()?;
        // A guess is not what the operator saw, and says so.
        let about = if deck.is_exact() { "" } else { "~" };
        let mut status = format!("{}  {about}{}", self.name, clock(self.at));
        if let Some(length) = deck.length() {
            let _ = write!(status, "/{}", clock(length));
        }
        let mark = if self.paused { "paused" } else { "playing" };
        let _ = write!(status, "  {}x  {mark}", self.pace.speed);
        if !self.told.is_empty() {
            let _ = write!(status, "  {}", self.told);
        }
        let whole = deck.screen().terminal().size();
        let (left, top) = painter::corner(deck.screen(), size.0, size.1, self.view);
        if whole.0 > usize::from(size.0) || whole.1 + 1 > usize::from(size.1) {
            let _ = write!(status, "  {}x{} from {},{}", whole.0, whole.1, left + 1, top + 1);
        }
        if keys && self.told.is_empty() {
            status.push_str("  ? help");
        }
        Ok(status)
    }
}
