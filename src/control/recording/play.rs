//! A recording shown as it happened: at its pace on a terminal, as plain text elsewhere.
//! It never passes a recorded byte on: what the reader sees is painted from cells (`painter.rs`).

mod search;
mod status;

use std::path::Path;
use std::time::Duration;

use ledger::recording::ReadError;
use tokio::time::Instant;

use super::deck::{self, Bite, Deck};
use super::index::{Index, Making};
use super::keys::{self, HELP, Key};
use super::painter::{self, Painter, View};
use super::screen::Screen;
use super::{Material, export};
use crate::control::reply::{Heard, Reply, Trouble};

pub(super) use search::LONGEST;
pub(super) use status::{clock, size};

/// The least time between two paintings.
const FRAME: Duration = Duration::from_millis(33);
/// How far an arrow key goes, and a page key.
const SKIP: Duration = Duration::from_secs(5);
const FAR: Duration = Duration::from_secs(60);
/// Speeds a key may reach.
const SPEEDS: (f64, f64) = (0.01, 1000.0);

/// What is told when the deck is gone.
const BROKEN: &str = "the replay broke off";

/// How fast, and from where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Times the recorded speed; finite and greater than 0.
    pub(super) speed: f64,
    /// Pauses longer than this are cut to it.
    pub(super) idle_limit: Option<Duration>,
    /// Where it begins.
    pub(super) from: Duration,
}

/// Shows the recording; `indexes` is the folder where what is derived from recordings lies.
pub(super) async fn play<R: Reply>(
    material: &Material,
    indexes: &Path,
    pace: Pace,
    out: &mut R,
) -> Result<(), Trouble> {
    if !out.shape().terminal {
        if !pace.from.is_zero() {
            return Err(Trouble::said(
                "--from needs a terminal to replay on; without one the whole text is written",
            ));
        }
        return export::text(material, export::Which::Both, out).await;
    }
    let mut player = Player::open(material, indexes, pace).await?;
    out.out(painter::ENTER).await?;
    let shown = player.run(out).await;
    out.out(painter::LEAVE).await?;
    shown?;
    // The last screen stays readable after the replay.
    for line in player.deck()?.screen().text() {
        // A terminal that passes keys on does not turn LF into a new line.
        out.out(&format!("{line}\r\n")).await?;
    }
    Ok(())
}

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    Away,
}

struct Player {
    name: String,
    /// Away while a thread works with it.
    deck: Option<Deck>,
    _making: Making,
    painter: Painter,
    view: View,
    pace: Pace,
    paused: bool,
    /// Where the replay stands in the recording.
    at: Duration,
    /// Whether a key was ever pressed: then the end is a place to stay at.
    touched: bool,
    help: Option<Screen>,
    /// What is being typed after `/`.
    typing: Option<String>,
    looked_for: String,
    /// What the last key came to, until the next one.
    told: String,
    painted: Option<Instant>,
}

impl Player {
    async fn open(material: &Material, indexes: &Path, pace: Pace) -> Result<Self, Trouble> {
        let (index, making) = Index::open(material, indexes);
        let deck = Deck::open(material, index)?;
        let deck = deck.ok_or_else(|| Trouble::said("no terminal can be replayed here"))?;
        let mut player = Self {
            name: material.id.to_string(),
            deck: Some(deck),
            _making: making,
            painter: Painter::default(),
            view: View::Cursor,
            pace,
            paused: false,
            at: Duration::ZERO,
            touched: false,
            help: None,
            typing: None,
            looked_for: String::new(),
            told: String::new(),
            painted: None,
        };
        if !pace.from.is_zero() {
            player.go_to(pace.from).await?;
        }
        Ok(player)
    }

    fn deck(&self) -> Result<&Deck, Trouble> {
        self.deck.as_ref().ok_or_else(|| Trouble::said(BROKEN))
    }

    async fn with_deck<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Deck) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, Trouble> {
        deck::lent(&mut self.deck, BROKEN, work).await
    }

    async fn run<R: Reply>(&mut self, out: &mut R) -> Result<(), Trouble> {
        loop {
            let over = match self.come(out).await? {
                None => return Ok(()),
                Some(over) => over,
            };
            if self.deck()?.can_be_exact() {
                let at = self.at;
                self.with_deck(move |deck| deck.seek(at)).await?;
                continue;
            }
            if over {
                self.at = self.deck()?.at();
                if !self.touched {
                    return self.paint(out).await;
                }
                self.paused = true;
            }
            self.paint(out).await?;
            let pause = self.pause()?;
            let began = Instant::now();
            if self.listen(pause, out).await? == Go::Away {
                return Ok(());
            }
            self.pass(began.elapsed())?;
        }
    }

    /// Brings the screen to where the replay stands; whether the recording is over. `None` when the reader has seen enough.
    async fn come<R: Reply>(&mut self, out: &mut R) -> Result<Option<bool>, Trouble> {
        let mut bites = 0;
        loop {
            let (at, deck) = (self.at, self.deck()?);
            if deck.is_done() && deck.due().is_some_and(|due| due > at) {
                return Ok(Some(false));
            }
            let far = bites > 0 && deck.is_exact();
            let bite = self.with_deck(move |deck| {
                if far {
                    // A nearer screen may be known by now.
                    deck.seek(at)?;
                }
                deck.run(at)
            });
            match bite.await? {
                Bite::More => {}
                Bite::There => return Ok(Some(false)),
                Bite::Over => return Ok(Some(true)),
            }
            bites += 1;
            if self.painted.is_none_or(|painted| painted.elapsed() > Duration::from_millis(200)) && bites > 8
            {
                self.told = "working".to_owned();
                self.paint(out).await?;
                self.told.clear();
            }
            if self.listen(Duration::ZERO, out).await? == Go::Away {
                return Ok(None);
            }
        }
    }

    /// How long nothing has to be done.
    fn pause(&self) -> Result<Duration, Trouble> {
        if self.paused {
            // Looked at now and then: a guess is replaced by what was seen once that is known.
            let patience = if self.deck()?.is_exact() { Duration::from_secs(3600) } else { FRAME };
            return Ok(patience);
        }
        let next = self.next()?.map_or(Duration::ZERO, |next| next.saturating_sub(self.at));
        let least = self.painted.map_or(Duration::ZERO, |painted| FRAME.saturating_sub(painted.elapsed()));
        // Short enough that the clock in the last row goes on.
        Ok(next.div_f64(self.pace.speed).max(least).min(Duration::from_secs(1)))
    }

    /// When the replay has something to do: at the next frame, or once a pause has been long enough.
    fn next(&self) -> Result<Option<Duration>, Trouble> {
        let deck = self.deck()?;
        let (since, limit) = (deck.at(), self.pace.idle_limit);
        Ok(deck.due().map(|due| limit.map_or(due, |limit| due.min(since.saturating_add(limit)))))
    }

    /// Lets this much time pass.
    fn pass(&mut self, time: Duration) -> Result<(), Trouble> {
        if self.paused {
            return Ok(());
        }
        let (next, due) = (self.next()?, self.deck()?.due());
        self.at = self.at.saturating_add(time.mul_f64(self.pace.speed));
        // What is left of a pause that is long enough is passed over.
        if let (Some(next), Some(due)) = (next, due)
            && next < due
            && self.at >= next
        {
            self.at = self.at.max(due);
        }
        Ok(())
    }

    /// Listens for at most `pause`, and obeys.
    async fn listen<R: Reply>(&mut self, pause: Duration, out: &mut R) -> Result<Go, Trouble> {
        match tokio::time::timeout(pause, out.heard()).await {
            Err(_) => Ok(Go::On),
            Ok(Heard::Gone) => Err(Trouble::Gone),
            Ok(Heard::Size(..)) => {
                self.help = None;
                out.out(self.painter.forget()).await.map(|()| Go::On)
            }
            Ok(Heard::Keys(keys)) => self.obey(&keys, out).await,
        }
    }

    async fn obey<R: Reply>(&mut self, typed: &str, out: &mut R) -> Result<Go, Trouble> {
        self.touched = true;
        let mut typed = typed;
        loop {
            if self.typing.is_some() {
                typed = self.type_on(typed, out).await?;
            }
            let Some((key, rest)) = keys::next(typed) else { return Ok(Go::On) };
            typed = rest;
            self.told.clear();
            if self.help.take().is_some() && key != Key::Quit {
                continue;
            }
            if self.press(key, out).await? == Go::Away {
                return Ok(Go::Away);
            }
        }
    }

    async fn press<R: Reply>(&mut self, key: Key, out: &mut R) -> Result<Go, Trouble> {
        match key {
            Key::Quit => return Ok(Go::Away),
            Key::Pause => self.paused = !self.paused,
            Key::Faster => self.pace.speed = (self.pace.speed * 2.0).min(SPEEDS.1),
            Key::Slower => self.pace.speed = (self.pace.speed / 2.0).max(SPEEDS.0),
            Key::Forward => self.go_to(self.at.saturating_add(SKIP)).await?,
            Key::Back => self.go_to(self.at.saturating_sub(SKIP)).await?,
            Key::FarForward => self.go_to(self.at.saturating_add(FAR)).await?,
            Key::FarBack => self.go_to(self.at.saturating_sub(FAR)).await?,
            Key::Start => self.go_to(Duration::ZERO).await?,
            Key::End => self.go_to(Duration::MAX).await?,
            Key::Tenth(tenths) => match self.deck()?.length() {
                Some(length) => self.go_to(length.mul_f64(f64::from(tenths) / 10.0)).await?,
                None => self.told = "how long it is is not known yet".to_owned(),
            },
            Key::Step => {
                self.paused = true;
                self.at = self.deck()?.due().unwrap_or(self.at);
            }
            Key::StepBack => {
                self.paused = true;
                let before = self.deck()?.at().saturating_sub(Duration::from_nanos(1));
                self.go_to(before).await?;
            }
            Key::Search => self.typing = Some(String::new()),
            Key::Next => self.find_on(out).await?,
            Key::Previous => self.find_back(out).await?,
            Key::Help => self.help = help(),
            Key::Look(columns, rows) => self.look(columns, rows, out)?,
            Key::Follow => self.view = View::Cursor,
            Key::Escape => {}
        }
        Ok(Go::On)
    }

    /// The replay goes on from `to`, or from the end where that is before.
    async fn go_to(&mut self, to: Duration) -> Result<(), Trouble> {
        self.at = self.deck()?.length().map_or(to, |length| to.min(length));
        let at = self.at;
        self.with_deck(move |deck| deck.seek(at)).await
    }

    fn look<R: Reply>(&mut self, columns: i8, rows: i8, out: &R) -> Result<(), Trouble> {
        let (width, height) = status::size(out);
        let (left, top) = painter::corner(self.deck()?.screen(), width, height, self.view);
        let moved = |from: usize, by: i8| from.saturating_add_signed(isize::from(by));
        self.view = View::From(moved(left, columns), moved(top, rows));
        Ok(())
    }
}

fn help() -> Option<Screen> {
    let mut screen = Screen::new()?;
    screen.take(ledger::recording::Stream::Output, HELP.as_bytes());
    screen.work(&mut u64::MAX.clone(), &mut ()).then_some(screen)
}
