//! An operator's channel as the asking side of a word: its text out, its keys in, and its end.
//! Never outlives the connection, the channel or the right to say the word: whichever ends first ends the word.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};
use zeroize::Zeroizing;

use super::outlet::Operator;
use super::words::Speaker;
use crate::bastion::Bastion;
use crate::channel::{FromOperator, FromTarget, Ingress as _, Sink as _, Size, Source as _};
use crate::control::Word;
use crate::control::reply::{Heard, Reply, Trouble};
use crate::control::wire::Shape;
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
    early: VecDeque<FromOperator>,
    early_bytes: usize,
    gone: bool,
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
        let (early, early_bytes) = (VecDeque::new(), 0);
        let alive = Instant::now();
        Self {
            bastion,
            speaker,
            operator,
            shape,
            word: None,
            early,
            early_bytes,
            gone: false,
            cut: None,
            alive,
        }
    }

    /// From here on the word's right is watched, and keys are heard if it listens.
    pub(super) fn speaks(&mut self, word: &Word) {
        self.shape.keys = self.shape.terminal && word.listens();
        self.word = Some((word.clone(), self.bastion.live.generation()));
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

    /// Ends with the line of a refusal.
    pub(super) async fn dismiss(mut self, line: &str) {
        self.operator.dismiss(line).await;
    }

    async fn say(&mut self, text: &str, wrap: fn(Bytes) -> FromTarget) -> Result<(), Trouble> {
        self.may_still().await?;
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
        let heard = {
            let (from, to) = self.operator.split();
            let mut putting = std::pin::pin!(to.put(message));
            let mut heard = Vec::new();
            let put = loop {
                tokio::select! {
                    biased;
                    () = ending.cancelled() => break false,
                    put = &mut putting => break put.is_ok(),
                    message = from.next() => match message {
                        Some(message) => {
                            from.settle(message.size());
                            let closed = message == FromOperator::Close;
                            heard.push(message);
                            if closed { break false }
                        }
                        None => break false,
                    },
                }
            };
            self.gone = !put;
            heard
        };
        heard.into_iter().for_each(|message| self.keep(message));
        self.alive = Instant::now();
        if self.gone { Err(Trouble::Gone) } else { Ok(()) }
    }

    /// Keeps what came while nobody listened; an end ends it now.
    fn keep(&mut self, message: FromOperator) {
        match &message {
            FromOperator::Close => self.gone = true,
            FromOperator::Signal(name) if ends(name) => self.gone = true,
            FromOperator::Data(bytes) if !self.shape.keys => self.gone |= self.interrupts(bytes),
            FromOperator::Eof | FromOperator::Signal(_) => {}
            FromOperator::Data(_) | FromOperator::Resize(_) => {
                let size = message.size();
                if self.early_bytes + size <= EARLY {
                    self.early_bytes += size;
                    self.early.push_back(message);
                }
            }
        }
    }

    /// Control-C on a terminal whose keys nobody else hears.
    fn interrupts(&self, bytes: &[u8]) -> bool {
        self.shape.terminal && bytes.contains(&INTERRUPT)
    }

    fn hear(&mut self, message: FromOperator) -> Option<Heard> {
        match message {
            FromOperator::Data(bytes) if self.shape.keys => {
                Some(Heard::Keys(String::from_utf8_lossy(&bytes).into_owned()))
            }
            FromOperator::Data(bytes) => self.interrupts(&bytes).then_some(Heard::Gone),
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

    async fn heard(&mut self) -> Heard {
        loop {
            if self.may_still().await.is_err() {
                return Heard::Gone;
            }
            // From here to the answer nothing is awaited once a message was taken: this future may be dropped and asked again.
            let message = match self.early.pop_front() {
                Some(message) => {
                    self.early_bytes -= message.size();
                    message
                }
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

fn cells(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

fn ends(signal: &str) -> bool {
    matches!(signal, "HUP" | "INT" | "KILL" | "QUIT" | "TERM")
}
