//! Looking for text while a replay runs: typed after `/`, found on the screen, forwards and back.
//! It never holds the reader up: any key ends a search.

use std::time::Duration;

use super::{Bite, Player};
use crate::control::clean;
use crate::control::recording::find::Finder;
use crate::control::reply::{Heard, Reply, Trouble};

/// The longest text that is looked for, in characters.
pub(in crate::control::recording) const LONGEST: usize = 200;

impl Player {
    /// Takes what is typed after `/`; what is left of it once that has ended.
    pub(super) async fn type_on<'t, R: Reply>(
        &mut self,
        typed: &'t str,
        out: &mut R,
    ) -> Result<&'t str, Trouble> {
        let mut letters = typed.chars();
        while let Some(text) = &mut self.typing {
            let Some(letter) = letters.next() else { break };
            match letter {
                '\r' | '\n' => {
                    let text = self.typing.take().unwrap_or_default();
                    if !text.is_empty() {
                        self.looked_for = text;
                    }
                    self.find_on(out).await?;
                }
                '\x1b' | '\x03' => self.typing = None,
                '\x7f' | '\x08' if text.is_empty() => self.typing = None,
                '\x7f' | '\x08' => drop(text.pop()),
                letter if !clean::commands(letter) && text.chars().count() < LONGEST => text.push(letter),
                _ => {}
            }
        }
        Ok(letters.as_str())
    }

    /// Goes to the next place where more of the text is shown.
    pub(super) async fn find_on<R: Reply>(&mut self, out: &mut R) -> Result<(), Trouble> {
        if self.looked_for.is_empty() {
            self.told = "type / and what to look for".to_owned();
            return Ok(());
        }
        let (from, mut finder) = (self.at, Finder::new(&self.looked_for));
        let Some(deck) = &self.deck else { return Ok(()) };
        finder.begin(deck.screen());
        match self.look_until(finder, None, out).await? {
            Some((Bite::There, _)) => self.arrive()?,
            ended => {
                self.told = not_found(&self.looked_for, ended.is_none());
                self.go_to(from).await?;
            }
        }
        Ok(())
    }

    /// Goes to the last place before this one where more of the text was shown.
    pub(super) async fn find_back<R: Reply>(&mut self, out: &mut R) -> Result<(), Trouble> {
        if self.looked_for.is_empty() {
            self.told = "type / and what to look for".to_owned();
            return Ok(());
        }
        let from = self.deck()?.at();
        // Before which a kept screen is looked for, and up to where this stretch is looked through.
        let (mut before, mut until) = (from, from);
        loop {
            let begun = self.with_deck(move |deck| deck.back_before(before)).await?;
            let mut finder = Finder::new(&self.looked_for);
            if let Some(deck) = &self.deck {
                finder.begin(deck.screen());
            }
            let mut found = None;
            loop {
                match self.look_until(finder, Some(until), out).await? {
                    Some((Bite::There, seen)) => {
                        found = Some(self.deck()?.at());
                        finder = seen;
                    }
                    Some(_) => break,
                    None => {
                        self.told = not_found(&self.looked_for, true);
                        return self.go_to(from).await;
                    }
                }
            }
            if let Some(found) = found {
                self.go_to(found).await?;
                self.told = format!("/{}", self.looked_for);
                self.paused = true;
                return Ok(());
            }
            if begun.is_zero() || begun >= before {
                self.told = not_found(&self.looked_for, false);
                return self.go_to(from).await;
            }
            // Frames of the very moment the screen was kept at may stand before it.
            (before, until) = (begun, begun.saturating_add(Duration::from_nanos(1)));
        }
    }

    /// Bites until something is found or the recording, or the way to `until`, is over; `None` when a key ended it.
    async fn look_until<R: Reply>(
        &mut self,
        mut finder: Finder,
        until: Option<Duration>,
        out: &mut R,
    ) -> Result<Option<(Bite, Finder)>, Trouble> {
        loop {
            let bite = self.with_deck(move |deck| {
                let bite = deck.find(&mut finder, until)?;
                Ok((bite, finder))
            });
            let (bite, back) = bite.await?;
            if bite != Bite::More {
                return Ok(Some((bite, back)));
            }
            finder = back;
            self.at = self.deck()?.at();
            if self.painted.is_none_or(|painted| painted.elapsed() > Duration::from_millis(200)) {
                self.told = "looking; any key ends it".to_owned();
                self.paint(out).await?;
            }
            match tokio::time::timeout(Duration::ZERO, out.heard()).await {
                Ok(Heard::Keys(_)) => return Ok(None),
                Ok(Heard::Gone) => return Err(Trouble::Gone),
                Ok(Heard::Size(..)) => out.out(self.painter.forget()).await?,
                Err(_) => {}
            }
        }
    }

    fn arrive(&mut self) -> Result<(), Trouble> {
        self.at = self.deck()?.at();
        self.told = format!("/{}", self.looked_for);
        self.paused = true;
        Ok(())
    }
}

fn not_found(text: &str, ended: bool) -> String {
    if ended { "the search was ended".to_owned() } else { format!("no more of /{text}") }
}
