//! `session watch`: what an operator sees now, read from the recording while it is written.
//! It never touches the session: whoever watches slowly, or not at all, is behind by themselves.

use std::time::Duration;

use tokio::time::Instant;

use super::deck::{self, Bite, Deck};
use super::index::{Index, Making};
use super::keys::{self, Key};
use super::painter::{self, Painter, View};
use super::play::size;
use super::{Material, indexes};
use crate::bastion::Bastion;
use crate::control::reply::{Heard, Reply, Trouble};
use crate::ids::{RecordingId, SessionId};

/// What is told when the deck is gone.
const NOTHING: &str = "nothing can be shown here";
/// How often the recording is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// The least time between two paintings.
const FRAME: Duration = Duration::from_millis(33);
/// Who has not taken a painting for so long has missed something.
const LATE: Duration = Duration::from_secs(1);
/// How long it is said that something was missed.
const SAID: Duration = Duration::from_secs(5);

/// Shows the session of this name until it ends.
pub(in crate::control) async fn watch<R: Reply>(
    bastion: &Bastion,
    id: &SessionId,
    out: &mut R,
) -> Result<(), Trouble> {
    if bastion.live.channels(id).is_none() {
        return Err(Trouble::said(format!("no session {id} is open; see `bartizan session list --live`")));
    }
    if !out.shape().terminal {
        return Err(Trouble::said(
            "a session is watched on a terminal; what is kept of it can be exported: `bartizan recording export`",
        ));
    }
    out.out(painter::ENTER).await?;
    let mut watcher = Watcher::new(id);
    let watched = watcher.run(bastion, out).await;
    out.out(painter::LEAVE).await?;
    let ended = watched?;
    for line in watcher.last {
        out.out(&format!("{line}\r\n")).await?;
    }
    let said = if ended { "has ended" } else { "goes on; you no longer watch it" };
    out.out(&format!("session {id} {said}\r\n")).await
}

/// Why showing a channel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It is over, or there is a newer one.
    Channel,
    /// Nobody wants to see more.
    Reader,
}

struct Watcher {
    session: SessionId,
    painter: Painter,
    view: View,
    painted: Option<Instant>,
    /// How much was missed, and until when that is said.
    missed: Option<(Duration, Instant)>,
    last: Vec<String>,
}

/// A channel that is being shown.
struct Showing {
    id: RecordingId,
    deck: Option<Deck>,
    _making: Making,
}

impl Watcher {
    fn new(session: &SessionId) -> Self {
        Self {
            session: session.clone(),
            painter: Painter::default(),
            view: View::Cursor,
            painted: None,
            missed: None,
            last: Vec::new(),
        }
    }

    /// Shows one channel after the other; whether the session is over.
    async fn run<R: Reply>(&mut self, bastion: &Bastion, out: &mut R) -> Result<bool, Trouble> {
        let mut seen = None;
        loop {
            let Some(id) = self.newest(bastion, seen.as_ref()) else {
                if bastion.live.channels(&self.session).is_none() {
                    return Ok(true);
                }
                if self.listen(LOOK, out).await? == Some(Left::Reader) {
                    return Ok(false);
                }
                if self.painted.is_none() {
                    self.waits(out).await?;
                }
                continue;
            };
            seen = Some(id.clone());
            let material = Material::find(bastion, id.as_str()).await?;
            let (index, making) = Index::open(&material, &indexes(bastion));
            let deck = Deck::open(&material, index)?;
            let mut showing = Showing { id, deck, _making: making };
            out.out(self.painter.forget()).await?;
            if self.show(bastion, &mut showing, out).await? == Left::Reader {
                return Ok(false);
            }
        }
    }

    /// The newest open channel that shows something, if it is newer than the one that was seen.
    fn newest(&self, bastion: &Bastion, seen: Option<&RecordingId>) -> Option<RecordingId> {
        let channels = bastion.live.channels(&self.session)?;
        let shows = |kind: &policy::ChannelKind| super::which::has_a_screen(&kind.word()).is_ok();
        let newest = channels.into_iter().rfind(|(_, kind)| shows(kind))?.0;
        seen.is_none_or(|seen| newest.as_str() > seen.as_str()).then_some(newest)
    }

    async fn show<R: Reply>(
        &mut self,
        bastion: &Bastion,
        showing: &mut Showing,
        out: &mut R,
    ) -> Result<Left, Trouble> {
        deck::lent(&mut showing.deck, NOTHING, |deck| deck.seek(Duration::MAX)).await?;
        let (mut fresh, mut catching_up) = (true, true);
        loop {
            // Asked before reading: what is written before it is over is read.
            let open = bastion.live.channels(&self.session).unwrap_or_default();
            let is_open = open.iter().any(|(id, _)| *id == showing.id);
            let (bite, moved, better) = deck::lent(&mut showing.deck, NOTHING, move |deck| {
                if catching_up && deck.is_exact() {
                    // Somewhere nearer to the end may be known by now.
                    deck.seek(Duration::MAX)?;
                }
                let before = deck.read;
                let bite = deck.run(Duration::MAX)?;
                Ok((bite, deck.read != before, deck.can_be_exact()))
            })
            .await?;
            fresh |= moved || bite == Bite::More;
            if bite == Bite::Over {
                catching_up = false;
                if better {
                    deck::lent(&mut showing.deck, NOTHING, |deck| deck.seek(Duration::MAX)).await?;
                    continue;
                }
            }
            let due = self.painted.is_none_or(|painted| painted.elapsed() >= FRAME);
            let saying = self.missed.is_some_and(|(_, until)| until <= Instant::now());
            if (fresh && due && bite == Bite::Over) || saying || self.painted.is_none() {
                self.paint(showing, catching_up, out).await?;
                fresh = bite != Bite::Over;
            }
            let ended = bite == Bite::Over && (!is_open || has_ended(showing));
            if ended || self.newest(bastion, Some(&showing.id)).is_some() {
                self.paint(showing, false, out).await?;
                return Ok(Left::Channel);
            }
            let pause = match bite {
                Bite::Over => LOOK,
                _ => Duration::ZERO,
            };
            if let Some(left) = self.listen(pause, out).await? {
                return Ok(left);
            }
        }
    }

    async fn listen<R: Reply>(&mut self, pause: Duration, out: &mut R) -> Result<Option<Left>, Trouble> {
        match tokio::time::timeout(pause, out.heard()).await {
            Err(_) => {}
            Ok(Heard::Gone) => return Err(Trouble::Gone),
            Ok(Heard::Size(..)) => {
                out.out(self.painter.forget()).await?;
                self.painted = None;
            }
            Ok(Heard::Keys(typed)) => {
                let mut typed = typed.as_str();
                while let Some((key, rest)) = keys::next(typed) {
                    typed = rest;
                    match key {
                        Key::Quit => return Ok(Some(Left::Reader)),
                        Key::Look(columns, rows) => {
                            let (left, top) = match self.view {
                                View::From(left, top) => (left, top),
                                View::Cursor => (0, 0),
                            };
                            let moved = |from: usize, by: i8| from.saturating_add_signed(isize::from(by));
                            self.view = View::From(moved(left, columns), moved(top, rows));
                        }
                        Key::Follow => self.view = View::Cursor,
                        _ => {}
                    }
                    self.painted = None;
                }
            }
        }
        Ok(None)
    }

    async fn paint<R: Reply>(
        &mut self,
        showing: &Showing,
        catching_up: bool,
        out: &mut R,
    ) -> Result<(), Trouble> {
        let Some(deck) = &showing.deck else { return Ok(()) };
        let mark = match (catching_up, deck.is_exact()) {
            (true, _) => "catching up",
            (false, true) => "live",
            (false, false) => "live, about",
        };
        self.missed = self.missed.filter(|(_, until)| *until > Instant::now());
        let missed = self.missed.map_or_else(String::new, |(missed, _)| {
            format!("  {} s were skipped: this terminal did not keep up", missed.as_secs())
        });
        let status = format!("{}  {mark}  c h j k l view, q quit{missed}", self.session);
        let painted = self.painter.paint(deck.screen(), size(out), self.view, &status);
        self.last = deck.screen().text();
        let begun = Instant::now();
        out.out(&painted).await?;
        let took = begun.elapsed();
        if took > LATE {
            self.missed = Some((took, Instant::now() + SAID));
        }
        self.painted = Some(Instant::now());
        Ok(())
    }

    /// Nothing that shows anything is open.
    async fn waits<R: Reply>(&mut self, out: &mut R) -> Result<(), Trouble> {
        let Some(screen) = super::screen::Screen::new() else { return Ok(()) };
        let status = format!("{}  nothing is shown now; q quits", self.session);
        self.painted = Some(Instant::now());
        out.out(&self.painter.paint(&screen, size(out), View::Cursor, &status)).await
    }
}

fn has_ended(showing: &Showing) -> bool {
    showing.deck.as_ref().is_none_or(Deck::has_ended)
}
