//! The operator at their terminal, as who answers a target that the bastion logs in to: a question on the screen, a line from the keys.
//! Never takes for an answer what was typed before its question stood there, and never keeps or records one that is not shown.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::channel::{FromOperator, FromTarget, Ingress, Sink as _, Source as _};
use crate::recording::{Recorded, Tape};
use crate::target::{Answer, Asks};

/// The longest answer, in bytes.
const LONGEST: usize = 512;
/// Pieces that may have been typed ahead; who has sent more than this is no person.
const AHEAD: usize = 64;

/// The operator.
pub(super) struct Answers<'a, I> {
    ingress: &'a mut I,
    tape: Arc<Tape>,
}

impl<'a, I: Ingress> Answers<'a, I> {
    /// Whoever sits at the terminal of a channel; `None` where it has none.
    pub(super) fn of(ingress: &'a mut I, recorded: &Recorded) -> Option<Self> {
        let terminal = recorded.permitted().asked().terminal.is_some();
        terminal.then(|| Self { ingress, tape: recorded.tape().clone() })
    }

    /// Recorded, then shown.
    async fn show(&mut self, text: &[u8]) -> Option<()> {
        let message = FromTarget::Data(Bytes::copy_from_slice(text));
        self.tape.shown(&message).ok()?;
        self.ingress.split().1.put(message).await.ok()
    }

    /// The next keys; `None` when the operator leaves.
    async fn keys(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        loop {
            let (from, _) = self.ingress.split();
            let message = from.next().await?;
            from.settle(message.size());
            match message {
                FromOperator::Data(bytes) => return Some(Zeroizing::new(bytes.to_vec())),
                FromOperator::Resize(_) => {}
                FromOperator::Eof | FromOperator::Close | FromOperator::Signal(_) => return None,
            }
        }
    }

    async fn line(&mut self, question: &str, echo: bool) -> Option<Zeroizing<String>> {
        // Words need a channel that was answered.
        self.ingress.accept().await;
        for _ in 0..AHEAD {
            match timeout(Duration::ZERO, self.keys()).await {
                Ok(keys) => keys.map(drop)?,
                Err(_) => break,
            }
        }
        self.show(format!("bartizan: {question}").as_bytes()).await?;
        let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
        loop {
            for key in self.keys().await?.iter() {
                match key {
                    b'\r' | b'\n' => {
                        self.show(b"\r\n").await?;
                        return std::str::from_utf8(&line).ok().map(|line| Zeroizing::new(line.to_owned()));
                    }
                    // Control-C and control-D.
                    3 | 4 => {
                        self.show(b"\r\n").await?;
                        return None;
                    }
                    8 | 127 if erased(&mut line) && echo => self.show(b"\x08 \x08").await?,
                    0..=31 | 127 => {}
                    key if line.len() < LONGEST => {
                        line.push(*key);
                        if echo {
                            self.show(&[*key]).await?;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Takes the last character away, which may have several bytes.
fn erased(line: &mut Vec<u8>) -> bool {
    let before = line.len();
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
    line.len() < before
}

impl<I: Ingress> Asks for Answers<'_, I> {
    fn ask<'a>(&'a mut self, question: &'a str, echo: bool) -> Answer<'a> {
        Box::pin(self.line(question, echo))
    }
}
