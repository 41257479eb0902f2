//! Questions on the asking side's terminal, answered with a line each, within a bounded time.
//! It never shows what is typed to a secret question, and never waits for somebody who cannot type.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::reply::{Heard, Reply, Trouble};

/// The longest line, in characters; what is typed beyond it is not taken.
const LONGEST: usize = 200;

/// Whether what is typed is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// As it is typed.
    On,
    /// Not at all.
    Off,
}

/// A terminal that questions can be asked on.
pub struct Questions {
    /// Typed, and not yet taken as part of a line.
    ahead: Zeroizing<String>,
    until: Instant,
}

impl Questions {
    /// Questions that all together take at most `limit`.
    ///
    /// # Errors
    /// There is no terminal to type on.
    pub fn within<R: Reply>(limit: Duration, out: &R) -> Result<Self, Trouble> {
        let shape = out.shape();
        if !shape.terminal || !shape.keys {
            return Err(Trouble::said("this asks questions and there is no terminal; connect with `ssh -t`"));
        }
        Ok(Self { ahead: Zeroizing::new(String::with_capacity(LONGEST * 4)), until: Instant::now() + limit })
    }

    /// Asks, and waits for a line.
    ///
    /// # Errors
    /// The asking side went away, gave up or took too long.
    pub async fn line<R: Reply>(
        &mut self,
        out: &mut R,
        question: &str,
        echo: Echo,
    ) -> Result<Zeroizing<String>, Trouble> {
        out.out(question).await?;
        let mut line = Zeroizing::new(String::with_capacity(LONGEST * 4));
        loop {
            while let Some(key) = self.key() {
                match key {
                    '\r' | '\n' => {
                        out.out("\n").await?;
                        return Ok(line);
                    }
                    '\u{3}' | '\u{4}' => {
                        out.out("\n").await?;
                        return Err(Trouble::said("given up; nothing was changed"));
                    }
                    '\u{7f}' | '\u{8}' => {
                        let erased = line.pop().is_some();
                        out.out(if erased && echo == Echo::On { "\u{8} \u{8}" } else { "" }).await?;
                    }
                    key if !super::clean::commands(key) && line.chars().count() < LONGEST => {
                        line.push(key);
                        if echo == Echo::On {
                            out.out(key.encode_utf8(&mut [0; 4])).await?;
                        }
                    }
                    _ => {}
                }
            }
            match timeout_at(self.until, out.heard()).await {
                Ok(Heard::Keys(keys)) => self.took(&Zeroizing::new(keys)),
                Ok(Heard::Size(..)) => {}
                Ok(Heard::Gone) => return Err(Trouble::Gone),
                Err(_) => {
                    out.out("\n").await?;
                    return Err(Trouble::said("no answer in time; nothing was changed"));
                }
            }
        }
    }

    /// What was typed after the last answer, for who comes next.
    pub fn into_ahead(self) -> Zeroizing<String> {
        self.ahead
    }

    fn took(&mut self, keys: &str) {
        // A line end ends what may be typed ahead: more than this is no person.
        let room = LONGEST.saturating_sub(self.ahead.chars().count());
        self.ahead.extend(keys.chars().take(room));
    }

    fn key(&mut self) -> Option<char> {
        let key = self.ahead.chars().next()?;
        self.ahead.drain(..key.len_utf8());
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use crate::control::wire::Shape;

    /// An asking side whose keys are known beforehand.
    pub(super) struct Typist {
        keys: VecDeque<&'static str>,
        out: String,
        shape: Shape,
    }

    impl Typist {
        fn new(keys: &[&'static str]) -> Self {
            let shape = Shape { terminal: true, columns: 80, rows: 24, keys: true };
            Self { keys: keys.iter().copied().collect(), out: String::new(), shape }
        }
    }

    impl Reply for Typist {
        fn shape(&self) -> Shape {
            self.shape
        }
        async fn out(&mut self, text: &str) -> Result<(), Trouble> {
            self.out.push_str(text);
            Ok(())
        }
        async fn err(&mut self, _: &str) -> Result<(), Trouble> {
            Ok(())
        }
        async fn raw(&mut self, _: &[u8]) -> Result<(), Trouble> {
            Ok(())
        }
        async fn heard(&mut self) -> Heard {
            match self.keys.pop_front() {
                Some(keys) => Heard::Keys(keys.to_owned()),
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_typed_corrected_and_shown_or_not() {
        let mut typist = Typist::new(&["12", "9\u{7f}3", "\r", "sec", "ret\r456\r"]);
        let mut questions = Questions::within(Duration::from_secs(60), &typist).expect("terminal");
        assert_eq!(questions.line(&mut typist, "Q: ", Echo::On).await.expect("line").as_str(), "123");
        assert_eq!(typist.out, "Q: 129\u{8} \u{8}3\n");
        typist.out.clear();
        assert_eq!(questions.line(&mut typist, "S: ", Echo::Off).await.expect("line").as_str(), "secret");
        assert_eq!(typist.out, "S: \n");
        let ahead = questions.line(&mut typist, "N: ", Echo::On).await.expect("line");
        assert_eq!(ahead.as_str(), "456", "what was typed ahead is the next line");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_and_control_c_ends_it() {
        let mut typist = Typist::new(&["1\u{3}"]);
        let mut questions = Questions::within(Duration::from_secs(60), &typist).expect("terminal");
        assert!(
            matches!(questions.line(&mut typist, "", Echo::On).await, Err(Trouble::Said(why)) if why.contains("given up"))
        );
        assert!(
            matches!(questions.line(&mut typist, "", Echo::On).await, Err(Trouble::Said(why)) if why.contains("in time"))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_typed_is_bounded_and_commands_no_terminal() {
        let long: &'static str = Box::leak("\u{1b}[2Jx\u{202e}".repeat(10_000).into_boxed_str());
        let mut typist = Typist::new(&[long, "\r"]);
        let mut questions = Questions::within(Duration::from_secs(60), &typist).expect("terminal");
        let line = questions.line(&mut typist, "", Echo::On).await.expect("line");
        assert!(line.chars().count() <= LONGEST && !line.contains('\u{1b}'));
        assert!(!typist.out.contains('\u{1b}') && !typist.out.contains('\u{202e}'));
    }

    #[tokio::test]
    async fn without_a_terminal_nothing_is_asked() {
        let mut typist = Typist::new(&[]);
        typist.shape.terminal = false;
        assert!(Questions::within(Duration::from_secs(60), &typist).is_err());
    }
}
