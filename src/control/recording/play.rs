//! A recording shown as it happened: at its pace on a terminal, as plain text elsewhere.
//! It never passes a recorded byte on: what the reader sees is painted from cells (`screen.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ledger::recording::{Frame, Stream};
use tokio::time::Instant;

use super::reel::{Reel, size_of};
use super::screen::{Painter, Screen};
use super::{Material, export, screen};
use crate::control::reply::{Heard, Reply, Trouble};

/// The least time between two paintings.
const FRAME: Duration = Duration::from_millis(33);
/// How far an arrow key goes.
const SKIP: Duration = Duration::from_secs(5);
/// Speeds a key may reach.
const SPEEDS: (f64, f64) = (0.01, 1000.0);

/// How fast.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Times the recorded speed; finite and greater than 0.
    pub(super) speed: f64,
    /// Pauses longer than this are cut to it.
    pub(super) idle_limit: Option<Duration>,
}

/// Shows the recording.
pub(super) async fn play<R: Reply>(material: &Material, pace: Pace, out: &mut R) -> Result<(), Trouble> {
    if !out.shape().terminal {
        return export::text(material, out).await;
    }
    out.out(screen::ENTER).await?;
    let mut player = Player::new(material, pace)?;
    let shown = player.run(out).await;
    out.out(screen::LEAVE).await?;
    shown?;
    // The last screen stays readable after the replay.
    let last = locked(&player.screen).text();
    for line in last {
        // A terminal that passes keys on does not turn LF into a new line.
        out.out(&format!("{line}\r\n")).await?;
    }
    Ok(())
}

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Quit,
    Pause,
    Back,
    Forward,
    Faster,
    Slower,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    /// The time has come.
    Due,
    /// The reader went back: the reel starts anew.
    Back,
    /// The reader has seen enough.
    Quit,
}

/// Frames that are shown without waiting before the reader is listened to.
const HASTE: u32 = 256;

struct Player<'a> {
    material: &'a Material,
    reel: Reel,
    screen: Arc<Mutex<Screen>>,
    painter: Painter,
    pace: Pace,
    paused: bool,
    /// Where the replay stands in the recording, with long pauses cut.
    at: Duration,
    /// The recorded time of the last frame shown.
    last: Duration,
    /// Until here frames are shown without waiting.
    seek: Duration,
    painted: Option<Instant>,
}

impl<'a> Player<'a> {
    fn new(material: &'a Material, pace: Pace) -> Result<Self, Trouble> {
        let screen = Screen::new().ok_or_else(|| Trouble::said("no terminal can be replayed here"))?;
        Ok(Self {
            material,
            reel: material.reel(),
            screen: Arc::new(Mutex::new(screen)),
            painter: Painter::default(),
            pace,
            paused: false,
            at: Duration::ZERO,
            last: Duration::ZERO,
            seek: Duration::ZERO,
            painted: None,
        })
    }

    async fn run<R: Reply>(&mut self, out: &mut R) -> Result<(), Trouble> {
        let mut hasty = 0;
        while let Some(next) = self.reel.next().await {
            let (when, frame) = next?;
            let gap = when.saturating_sub(self.last);
            let due = self.at + self.pace.idle_limit.map_or(gap, |limit| gap.min(limit));
            hasty = if due > self.seek { 0 } else { hasty + 1 };
            let waited = match () {
                () if due > self.seek => self.wait(due, out).await?,
                () if hasty % HASTE == 0 => self.listen(Duration::ZERO, out).await?,
                () => Waited::Due,
            };
            match waited {
                Waited::Due => {}
                Waited::Back => continue,
                Waited::Quit => break,
            }
            (self.at, self.last) = (due, when);
            self.show(frame).await?;
        }
        self.paint(out).await
    }

    /// Puts a frame on the screen. A few hostile bytes can be much work, so it is done where others do not wait for it.
    async fn show(&mut self, frame: Frame) -> Result<(), Trouble> {
        let screen = self.screen.clone();
        let showing = tokio::task::spawn_blocking(move || {
            if let Some(size) = size_of(&frame) {
                locked(&screen).resize(size);
            } else if matches!(frame.stream, Stream::Output | Stream::Stderr) {
                locked(&screen).show(&frame.payload);
            }
        });
        Ok(showing.await?)
    }

    /// Lets the time until `due` pass, and listens.
    async fn wait<R: Reply>(&mut self, due: Duration, out: &mut R) -> Result<Waited, Trouble> {
        if self.painted.is_none_or(|p| p.elapsed() >= FRAME) {
            self.paint(out).await?;
        }
        while due > self.seek && (due > self.at || self.paused) {
            let left = due.saturating_sub(self.at).div_f64(self.pace.speed);
            if left < Duration::from_millis(2) && !self.paused {
                break;
            }
            if left >= FRAME || self.paused {
                self.paint(out).await?;
            }
            let began = Instant::now();
            // Short enough that the clock in the last row goes on.
            let pause =
                if self.paused { Duration::from_secs(3600) } else { left.min(Duration::from_secs(1)) };
            let heard = self.listen(pause, out).await?;
            if heard != Waited::Due {
                return Ok(heard);
            }
            if !self.paused {
                self.at += began.elapsed().mul_f64(self.pace.speed).min(due.saturating_sub(self.at));
            }
        }
        Ok(Waited::Due)
    }

    /// Listens for at most `pause`, and obeys.
    async fn listen<R: Reply>(&mut self, pause: Duration, out: &mut R) -> Result<Waited, Trouble> {
        match tokio::time::timeout(pause, out.heard()).await {
            Err(_) => Ok(Waited::Due),
            Ok(Heard::Gone) => Err(Trouble::Gone),
            Ok(Heard::Size(..)) => out.out(self.painter.forget()).await.map(|()| Waited::Due),
            Ok(Heard::Keys(keys)) => Ok(self.obey(&keys)),
        }
    }

    fn obey(&mut self, keys: &str) -> Waited {
        let mut back = None;
        for key in keys_of(keys) {
            match key {
                Key::Quit => return Waited::Quit,
                Key::Pause => self.paused = !self.paused,
                Key::Faster => self.pace.speed = (self.pace.speed * 2.0).min(SPEEDS.1),
                Key::Slower => self.pace.speed = (self.pace.speed / 2.0).max(SPEEDS.0),
                Key::Forward => self.seek = self.at.max(self.seek) + SKIP,
                Key::Back => back = Some(back.unwrap_or(self.at).saturating_sub(SKIP)),
            }
        }
        let Some(to) = back else { return Waited::Due };
        self.rewind(to);
        Waited::Back
    }

    /// Starts anew and shows without waiting up to `seek`.
    fn rewind(&mut self, seek: Duration) {
        self.reel = self.material.reel();
        if let Some(screen) = Screen::new() {
            self.screen = Arc::new(Mutex::new(screen));
        }
        (self.at, self.last, self.seek) = (Duration::ZERO, Duration::ZERO, seek);
    }

    async fn paint<R: Reply>(&mut self, out: &mut R) -> Result<(), Trouble> {
        let shape = out.shape();
        let (columns, rows) = (or(shape.columns, 80), or(shape.rows, 24));
        let seconds = self.at.max(self.seek.min(self.last)).as_secs();
        let mark = if self.paused { "paused" } else { "playing" };
        let keys = if shape.keys { "  space pause, arrows seek and speed, q quit" } else { "" };
        let status = format!(
            "{}  {:02}:{:02}:{:02}  {}x  {mark}{keys}",
            self.material.id,
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            self.pace.speed,
        );
        let painted = self.painter.paint(&locked(&self.screen), columns, rows, &status);
        self.painted = Some(Instant::now());
        out.out(&painted).await
    }
}

fn locked(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn or(given: u16, usual: u16) -> u16 {
    if given == 0 { usual } else { given }
}

fn keys_of(mut typed: &str) -> Vec<Key> {
    const KNOWN: [(&str, Key); 13] = [
        ("\x1b[C", Key::Forward),
        ("\x1b[D", Key::Back),
        ("\x1b[A", Key::Faster),
        ("\x1b[B", Key::Slower),
        ("\x1bOC", Key::Forward),
        ("\x1bOD", Key::Back),
        ("\x1bOA", Key::Faster),
        ("\x1bOB", Key::Slower),
        (" ", Key::Pause),
        ("q", Key::Quit),
        ("\x03", Key::Quit),
        ("+", Key::Faster),
        ("-", Key::Slower),
    ];
    let mut keys = Vec::new();
    while let Some(first) = typed.chars().next() {
        let known = KNOWN.iter().find_map(|(text, key)| Some((typed.strip_prefix(text)?, *key)));
        typed = known.map_or_else(|| typed.get(first.len_utf8()..).unwrap_or_default(), |(rest, _)| rest);
        keys.extend(known.map(|(_, key)| key));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_and_others_are_passed_over() {
        assert_eq!(keys_of("\x1b[C\x1b[Dx q"), [Key::Forward, Key::Back, Key::Pause, Key::Quit]);
        assert_eq!(keys_of("\x1b[?1;2c日\x03"), [Key::Quit]);
        assert!(keys_of("").is_empty());
    }
}
