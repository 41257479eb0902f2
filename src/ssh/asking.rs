//! An operator's channel as the asking side of a word: its text out, its keys in, and its end.
//! Never outlives the connection, the channel or the right to say the word: whichever ends first ends the word.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};
use zeroize::Zeroizing;

use super::outlet::Operator;
use super::words::{Speaker, refusal};
use crate::bastion::Bastion;
use crate::channel::{Asked, FromOperator, FromTarget, Ingress as _, Sink as _, Size, Source as _};
use crate::control::reply::{Heard, Reply, Trouble};
use crate::control::wire::Shape;
use crate::control::{ENTER, LEAVE, Word};
use crate::live::Cut;

/// Text goes out in pieces of at most this many bytes.
const PIECE: usize = 32 << 10;
/// What was typed while the word spoke, in bytes; more than this is not kept.
const EARLY: usize = 4 << 10;
/// The longest standard input of a word: keys and seeds.
const INPUT: usize = 64 << 10;
/// How long it may take to arrive.
const INPUT_TIME: Duration = Duration::from_secs(60);
/// Control-C.
const INTERRUPT: u8 = 3;

/// The asking side.
pub(super) struct Asking {
    bastion: Arc<Bastion>,
    speaker: Speaker,
    operator: Operator,
    shape: Shape,
    /// What is said, once it is known, and the generation of decisions in which it was found permitted.
    word: Option<(Word, u64)>,
    early: Early,
    gone: bool,
    /// Whether a screen of its own was begun on the operator's terminal and not left.
    apart: bool,
    /// Why it is to end, where that is not the connection's affair.
    cut: Option<Cut>,
    /// The last sign of life of either side.
    alive: Instant,
}

impl Asking {
    pub(super) fn new(
        bastion: Arc<Bastion>,
        speaker: Speaker,
        operator: Operator,
        size: Option<Size>,
    ) -> Self {
        let shape = size.map_or(Shape::default(), |size| Shape {
            terminal: true,
            columns: cells(size.columns),
            rows: cells(size.rows),
            keys: false,
        });
        let early = Early::default();
        let alive = Instant::now();
        let (word, cut) = (None, None);
        Self { bastion, speaker, operator, shape, word, early, gone: false, apart: false, cut, alive }
    }

    /// From here on the word's right is watched, and keys are heard if it listens.
    pub(super) fn speaks(&mut self, word: &Word) {
        self.shape.keys = self.shape.terminal && word.listens();
        self.word = Some((word.clone(), self.bastion.live.generation()));
    }

    /// As [`Asking::speaks`], and keys are heard whatever the word.
    pub(super) fn listens(&mut self, word: &Word) {
        self.speaks(word);
        self.shape.keys = self.shape.terminal;
    }

    /// The channel, for what comes after the word, with the terminal as it is now. What was typed `ahead`, and what came while
    /// the word spoke, is typed there.
    pub(super) fn onward(mut self, mut asked: Asked, ahead: String) -> (Operator, Asked) {
        let mut typed = ahead.into_bytes();
        while let Some(message) = self.early.take() {
            match message {
                FromOperator::Data(bytes) => typed.extend_from_slice(&bytes),
                FromOperator::Resize(size) => {
                    (self.shape.columns, self.shape.rows) = (cells(size.columns), cells(size.rows));
                }
                _ => {}
            }
        }
        self.operator.typed_ahead(&typed);
        if let Some(terminal) = &mut asked.terminal {
            (terminal.size.columns, terminal.size.rows) = (self.shape.columns.into(), self.shape.rows.into());
        }
        (self.operator, asked)
    }

    /// All of standard input; `None` when it is too long, too slow or the channel ended.
    pub(super) async fn input(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let mut all = Zeroizing::new(Vec::with_capacity(INPUT));
        let until = Instant::now() + INPUT_TIME;
        loop {
            let (from, _) = self.operator.split();
            let message = timeout_at(until, from.next()).await.ok()??;
            from.settle(message.size());
            match message {
                FromOperator::Data(bytes) if all.len() + bytes.len() <= INPUT => {
                    all.extend_from_slice(&bytes)
                }
                FromOperator::Data(_) | FromOperator::Close => return None,
                FromOperator::Eof => return Some(all),
                FromOperator::Resize(_) | FromOperator::Signal(_) => {}
            }
        }
    }

    /// Why it was cut, if it was: the connection, or the word alone.
    pub(super) fn cut(&self) -> Option<Cut> {
        self.speaker.cutter().why().or(self.cut)
    }

    /// Says the exit status and closes.
    pub(super) async fn end(mut self, status: u8) {
        let last = async {
            self.put(FromTarget::ExitStatus(status.into())).await?;
            self.put(FromTarget::Eof).await
        };
        let _ = last.await;
        self.operator.close().await;
    }

    /// Ends a word that was not said to its end: with why it was cut, or, when the operator has gone, without a word.
    pub(super) async fn leave(self, bastion: &Bastion) {
        match self.cut() {
            Some(cut) => self.dismiss(&refusal(bastion, cut.code(), cut.told()).line()).await,
            None => self.end(1).await,
        }
    }

    /// Ends with the line of a refusal, where it is read.
    pub(super) async fn dismiss(mut self, line: &str) {
        let back = if self.apart { LEAVE } else { "" };
        self.operator.dismiss(&format!("{back}{line}")).await;
    }

    async fn say(&mut self, text: &str, wrap: fn(Bytes) -> FromTarget) -> Result<(), Trouble> {
        self.may_still().await?;
        self.apart = (self.apart || text.contains(ENTER)) && !text.contains(LEAVE);
        let text = if self.shape.terminal {
            Zeroizing::new(text.replace('\n', "\r\n"))
        } else {
            Zeroizing::new(text.to_owned())
        };
        for piece in text.as_bytes().chunks(PIECE) {
            self.put(wrap(Bytes::copy_from_slice(piece))).await?;
        }
        Ok(())
    }

    /// Carries one message out, and meanwhile hears whether the operator goes away.
    async fn put(&mut self, message: FromTarget) -> Result<(), Trouble> {
        if self.gone {
            return Err(Trouble::Gone);
        }
        let ending = self.speaker.cutter().ending().clone();
        let stalled = Instant::now() + self.bastion.config.ssh.idle_timeout;
        let (from, to) = self.operator.split();
        let mut putting = std::pin::pin!(to.put(message));
        let put = loop {
            tokio::select! {
                biased;
                () = ending.cancelled() => break false,
                put = &mut putting => break put.is_ok(),
                heard = from.next() => {
                    let Some(heard) = heard else { break false };
                    from.settle(heard.size());
                    if self.early.keep(self.shape, heard).is_some() {
                        break false;
                    }
                }
                // Who does not read keeps others from their turn.
                () = sleep_until(stalled) => {
                    self.cut = Some(Cut::Idle);
                    break false;
                }
            }
        };
        self.gone = !put;
        self.alive = Instant::now();
        if put { Ok(()) } else { Err(Trouble::Gone) }
    }

    fn hear(&mut self, message: FromOperator) -> Option<Heard> {
        match message {
            FromOperator::Data(bytes) if self.shape.keys => {
                Some(Heard::Keys(String::from_utf8_lossy(&bytes).into_owned()))
            }
            FromOperator::Data(bytes) => interrupts(self.shape, &bytes).then_some(Heard::Gone),
            FromOperator::Resize(size) if self.shape.terminal => {
                (self.shape.columns, self.shape.rows) = (cells(size.columns), cells(size.rows));
                Some(Heard::Size(self.shape.columns, self.shape.rows))
            }
            FromOperator::Signal(name) => ends(&name).then_some(Heard::Gone),
            FromOperator::Close => Some(Heard::Gone),
            // Without standard input a word goes on.
            FromOperator::Eof | FromOperator::Resize(_) => None,
        }
    }

    /// Whether the word may still be said, asked again whenever something has changed that a right may rest on.
    async fn may_still(&mut self) -> Result<(), Trouble> {
        if self.gone || self.speaker.cutter().why().is_some() {
            self.gone = true;
            return Err(Trouble::Gone);
        }
        let generation = self.bastion.live.generation();
        let Some((word, seen)) = &mut self.word else { return Ok(()) };
        if *seen == generation {
            return Ok(());
        }
        match self.speaker.caller(&self.bastion).await {
            Ok(caller) if caller.may(word).is_ok() => {
                *seen = generation;
                Ok(())
            }
            _ => {
                (self.gone, self.cut) = (true, Some(Cut::NoLongerPermitted));
                Err(Trouble::Gone)
            }
        }
    }
}

impl Reply for Asking {
    fn shape(&self) -> Shape {
        self.shape
    }

    async fn out(&mut self, text: &str) -> Result<(), Trouble> {
        self.say(text, FromTarget::Data).await
    }

    async fn err(&mut self, text: &str) -> Result<(), Trouble> {
        self.say(text, FromTarget::Stderr).await
    }

    async fn raw(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.may_still().await?;
        for piece in bytes.chunks(PIECE) {
            self.put(FromTarget::Data(Bytes::copy_from_slice(piece))).await?;
        }
        Ok(())
    }

    async fn heard(&mut self) -> Heard {
        loop {
            if self.may_still().await.is_err() {
                return Heard::Gone;
            }
            // From here to the answer nothing is awaited once a message was taken: this future may be dropped and asked again.
            let message = match self.early.take() {
                Some(message) => message,
                None => {
                    let idle = self.alive + self.bastion.config.ssh.idle_timeout;
                    let ending = self.speaker.cutter().ending().clone();
                    let (from, _) = self.operator.split();
                    let next = tokio::select! {
                        biased;
                        () = ending.cancelled() => None,
                        next = from.next() => next,
                        () = sleep_until(idle), if self.shape.terminal => {
                            self.cut = Some(Cut::Idle);
                            None
                        }
                    };
                    let Some(message) = next else {
                        self.gone = true;
                        return Heard::Gone;
                    };
                    from.settle(message.size());
                    self.alive = Instant::now();
                    message
                }
            };
            if let Some(heard) = self.hear(message) {
                self.gone |= heard == Heard::Gone;
                return heard;
            }
        }
    }
}

/// What came while the word spoke and nobody listened. Bounded: what is too much is dropped, but an end never is.
#[derive(Debug, Default)]
struct Early {
    queue: VecDeque<FromOperator>,
    bytes: usize,
}

impl Early {
    /// Keeps a message; answers [`Heard::Gone`] where it ends the word now.
    fn keep(&mut self, shape: Shape, message: FromOperator) -> Option<Heard> {
        match &message {
            FromOperator::Close => return Some(Heard::Gone),
            FromOperator::Signal(name) => return ends(name).then_some(Heard::Gone),
            FromOperator::Data(bytes) if !shape.keys => {
                return interrupts(shape, bytes).then_some(Heard::Gone);
            }
            FromOperator::Eof => return None,
            FromOperator::Data(_) | FromOperator::Resize(_) => {}
        }
        let size = message.size();
        if self.bytes + size <= EARLY {
            self.bytes += size;
            self.queue.push_back(message);
        }
        None
    }

    fn take(&mut self) -> Option<FromOperator> {
        let message = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(message.size());
        Some(message)
    }
}

/// Control-C on a terminal whose keys nobody else hears.
fn interrupts(shape: Shape, bytes: &[u8]) -> bool {
    shape.terminal && !shape.keys && bytes.contains(&INTERRUPT)
}

fn cells(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn ends(signal: &str) -> bool {
    matches!(signal, "HUP" | "INT" | "KILL" | "QUIT" | "TERM")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Shape = Shape { terminal: true, columns: 80, rows: 24, keys: false };

    fn data(text: &'static str) -> FromOperator {
        FromOperator::Data(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn what_is_typed_while_a_word_speaks_is_kept_in_order_and_bounded() {
        let (mut early, listening) = (Early::default(), Shape { keys: true, ..TERMINAL });
        for _ in 0..100_000 {
            assert_eq!(early.keep(listening, data("abc")), None);
        }
        assert!(early.bytes <= EARLY && early.queue.len() <= EARLY);
        assert_eq!(early.take(), Some(data("abc")));
        while early.take().is_some() {}
        assert_eq!(early.bytes, 0);
    }

    #[test]
    fn an_end_is_heard_however_much_was_typed_before_it() {
        let mut early = Early::default();
        for _ in 0..100_000 {
            early.keep(TERMINAL, data("abc"));
        }
        assert!(early.queue.is_empty(), "nobody will listen to it");
        assert_eq!(early.keep(TERMINAL, FromOperator::Eof), None);
        assert_eq!(early.keep(TERMINAL, FromOperator::Signal("USR1".into())), None);
        for end in [data("x\u{3}"), FromOperator::Signal("INT".into()), FromOperator::Close] {
            assert_eq!(early.keep(TERMINAL, end), Some(Heard::Gone));
        }
        let pipe = Shape::default();
        assert_eq!(early.keep(pipe, data("\u{3}")), None, "a byte of a file, no key");
    }
}
