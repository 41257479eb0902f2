//! Where a word's answer goes: text for the two outputs, and what the asking side adds meanwhile.
//! It never keeps more than one piece of an answer, so a long one costs no more memory than a short one.

use std::fmt;

use data_encoding::BASE64;
use tokio::io::{AsyncBufRead, AsyncWrite};
use zeroize::{Zeroize as _, Zeroizing};

use super::wire::{self, Added, Said, Shape, WireError};

/// Bytes of text that may wait for more before they are sent.
const GATHER: usize = 16 * 1024;

/// The side that asked.
pub trait Reply: Send {
    /// What it can show.
    fn shape(&self) -> Shape;
    /// Text for its standard output.
    fn out(&mut self, text: &str) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Text for its standard error.
    fn err(&mut self, text: &str) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Bytes for its standard output, which is no terminal.
    fn raw(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), Trouble>> + Send;
    /// Sends what was said so far, then waits for what it adds; [`Heard::Gone`] when it went away. May be dropped and asked again.
    fn heard(&mut self) -> impl Future<Output = Heard> + Send;
}

/// What the asking side added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Keys typed.
    Keys(String),
    /// Its terminal has a new size: columns, rows.
    Size(u16, u16),
    /// It went away: the work ends.
    Gone,
}

/// Why a word was not done, or not to its end.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens any more.
    Gone,
    /// One sentence: the thing, the reason, the remedy.
    Said(String),
}

impl Trouble {
    /// A refusal in one sentence.
    pub fn said(what: impl Into<String>) -> Self {
        Self::Said(what.into())
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the asking side went away"),
            Self::Said(what) => f.write_str(what),
        }
    }
}

/// Does `work`, which says nothing meanwhile, unless the asking side goes away first.
pub(super) async fn unless_gone<R: Reply, T>(
    out: &mut R,
    work: impl Future<Output = T>,
) -> Result<T, Trouble> {
    let gone = async { while out.heard().await != Heard::Gone {} };
    tokio::select! {
        done = work => Ok(done),
        () = gone => Err(Trouble::Gone),
    }
}

/// Any room's error becomes its own sentence, followed by the causes it does not already name.
impl<E: std::error::Error> From<E> for Trouble {
    fn from(error: E) -> Self {
        let mut sentence = error.to_string();
        let mut cause = error.source();
        while let Some(why) = cause {
            let text = why.to_string();
            if !sentence.contains(&text) {
                sentence.push_str(": ");
                sentence.push_str(&text);
            }
            cause = why.source();
        }
        Self::Said(sentence)
    }
}

/// The asking side at the other end of a stream.
#[derive(Debug)]
pub struct Far<R, W> {
    from: R,
    to: W,
    shape: Shape,
    waiting: Zeroizing<String>,
    /// A line that is being sent, and how far that has come: whoever sends may be stopped in the middle.
    sending: Zeroizing<Vec<u8>>,
    sent: usize,
    line: Zeroizing<Vec<u8>>,
}

impl<R: AsyncBufRead + Unpin + Send, W: AsyncWrite + Unpin + Send> Far<R, W> {
    /// After the request was read from `from`.
    pub fn new(from: R, to: W, shape: Shape) -> Self {
        let waiting = Zeroizing::new(String::with_capacity(GATHER * 2));
        let (sending, line) = (Zeroizing::default(), Zeroizing::default());
        Self { from, to, shape, waiting, sending, sent: 0, line }
    }

    /// Says the exit code; nothing can be said after it.
    pub async fn exit(mut self, code: u8) -> Result<(), Trouble> {
        self.push_out().await?;
        self.send(&Said::Exit(code)).await
    }

    /// Sends all that was said so far. May be dropped and asked again.
    async fn push_out(&mut self) -> Result<(), Trouble> {
        self.push().await?;
        if self.waiting.is_empty() {
            return Ok(());
        }
        let said = Said::Out(std::mem::take(&mut *self.waiting));
        let written = wire::written(&said).map_err(lost);
        // It may have been a seed; the buffer is used again.
        if let Said::Out(mut text) = said {
            text.zeroize();
            *self.waiting = text;
        }
        (self.sending, self.sent) = (written?, 0);
        self.push().await
    }

    async fn send(&mut self, said: &Said) -> Result<(), Trouble> {
        (self.sending, self.sent) = (wire::written(said).map_err(lost)?, 0);
        self.push().await
    }

    async fn push(&mut self) -> Result<(), Trouble> {
        if self.sending.is_empty() {
            return Ok(());
        }
        wire::push(&mut self.to, &self.sending, &mut self.sent).await.map_err(lost)?;
        self.sending = Zeroizing::default();
        Ok(())
    }
}

impl<R: AsyncBufRead + Unpin + Send, W: AsyncWrite + Unpin + Send> Reply for Far<R, W> {
    fn shape(&self) -> Shape {
        self.shape
    }

    async fn out(&mut self, text: &str) -> Result<(), Trouble> {
        for piece in wire::pieces(text) {
            self.waiting.push_str(piece);
            if self.waiting.len() >= GATHER {
                self.push_out().await?;
            }
        }
        Ok(())
    }

    async fn err(&mut self, text: &str) -> Result<(), Trouble> {
        self.push_out().await?;
        for piece in wire::pieces(text) {
            self.send(&Said::Err(piece.to_owned())).await?;
        }
        Ok(())
    }

    async fn raw(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.push_out().await?;
        for piece in bytes.chunks(GATHER) {
            self.send(&Said::Raw(BASE64.encode(piece))).await?;
        }
        Ok(())
    }

    async fn heard(&mut self) -> Heard {
        if self.push_out().await.is_err() {
            return Heard::Gone;
        }
        // What was read of a line stays in `self.line` when this future is dropped.
        if wire::line(&mut self.from, &mut self.line, wire::LINE_MAX).await.is_err() {
            return Heard::Gone;
        }
        let added = serde_json::from_slice(&self.line);
        self.line.clear();
        match added {
            Ok(Added::Keys(keys)) => Heard::Keys(keys),
            Ok(Added::Size(columns, rows)) => {
                (self.shape.columns, self.shape.rows) = (columns, rows);
                Heard::Size(columns, rows)
            }
            Err(_) => Heard::Gone,
        }
    }
}

fn lost(error: WireError) -> Trouble {
    match error {
        WireError::Gone => Trouble::Gone,
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[derive(Debug, thiserror::Error)]
    #[error("the store cannot be read")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_is_told_with_its_cause() {
        let trouble = Trouble::from(Outer(std::io::Error::other("disk on fire")));
        assert_eq!(trouble, Trouble::said("the store cannot be read: disk on fire"));
    }

    #[tokio::test]
    async fn order_is_kept_and_the_exit_comes_last() {
        let (near, far) = tokio::io::duplex(1 << 20);
        let (from, to) = tokio::io::split(near);
        let mut reply = Far::new(BufReader::new(from), to, Shape::default());
        reply.out("a\n").await.expect("out");
        reply.err("b\n").await.expect("err");
        reply.out("c\n").await.expect("out");
        reply.exit(1).await.expect("exit");
        let mut far = BufReader::new(far);
        let mut said = Vec::new();
        while let Ok(one) = wire::hear::<Said, _>(&mut far, wire::LINE_MAX).await {
            said.push(one);
        }
        let (a, b, c) = (Said::Out("a\n".into()), Said::Err("b\n".into()), Said::Out("c\n".into()));
        assert_eq!(said, [a, b, c, Said::Exit(1)]);
    }

    #[tokio::test]
    async fn who_is_stopped_while_the_asker_does_not_read_goes_on_where_they_were() {
        let (near, far) = tokio::io::duplex(64);
        let (from, to) = tokio::io::split(near);
        let mut reply = Far::new(BufReader::new(from), to, Shape::default());
        reply.out(&"0123456789".repeat(100)).await.expect("out");
        for _ in 0..5 {
            // The asker reads nothing: what listens is dropped in the middle of a line.
            let heard = tokio::time::timeout(std::time::Duration::from_millis(1), reply.heard()).await;
            assert!(heard.is_err());
        }
        let saying = async {
            reply.raw(b"\x00\xff").await.expect("raw");
            reply.exit(0).await.expect("exit");
        };
        let hearing = async {
            let mut far = BufReader::new(far);
            let mut said = Vec::new();
            while let Ok(one) = wire::hear::<Said, _>(&mut far, wire::LINE_MAX).await {
                said.push(one);
            }
            said
        };
        let ((), said) = tokio::join!(saying, hearing);
        let (text, raw) = (Said::Out("0123456789".repeat(100)), Said::Raw("AP8=".into()));
        assert_eq!(said, [text, raw, Said::Exit(0)]);
    }

    #[tokio::test]
    async fn an_asker_who_leaves_is_noticed_by_who_waits_and_by_who_speaks() {
        let (near, far) = tokio::io::duplex(64);
        let (from, to) = tokio::io::split(near);
        let mut reply = Far::new(BufReader::new(from), to, Shape::default());
        drop(far);
        assert_eq!(reply.heard().await, Heard::Gone);
        assert_eq!(reply.out(&"x".repeat(GATHER)).await, Err(Trouble::Gone));
    }

    #[tokio::test]
    async fn keys_and_sizes_are_heard_and_rubbish_ends_it() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let (from, to) = tokio::io::split(near);
        let mut reply = Far::new(BufReader::new(from), to, Shape::default());
        wire::say(&mut far, &Added::Keys("q".into())).await.expect("keys");
        wire::say(&mut far, &Added::Size(100, 40)).await.expect("size");
        tokio::io::AsyncWriteExt::write_all(&mut far, b"rubbish\n").await.expect("rubbish");
        assert_eq!(reply.heard().await, Heard::Keys("q".into()));
        assert_eq!(reply.heard().await, Heard::Size(100, 40));
        assert_eq!(reply.shape().columns, 100);
        assert_eq!(reply.heard().await, Heard::Gone);
    }
}
