//! Reads a socket in large pieces while much comes, and keeps only a small buffer while little does: a thousand idle
//! connections would hold a thousand large ones.
//! Never changes or reorders a byte, and touches nothing that is written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is kept while little comes: a line of typing.
const SMALL: usize = 1 << 10;
/// What is read at once while much comes: half the system calls of unbuffered reads.
const LARGE: usize = 64 << 10;
/// Times in a row that nothing more has come, and little before it, after which half of a larger buffer is given up: soon after a
/// login, but not between two packets of what carries much and is looked at often.
const QUIET: u32 = 8;

/// A stream that is read ahead.
#[derive(Debug)]
pub struct ReadAhead<S> {
    stream: S,
    buffer: Box<[u8]>,
    /// What of the buffer is not taken yet.
    from: usize,
    to: usize,
    /// What has come since the stream had nothing more.
    came: usize,
    /// How often in a row that was little.
    quiet: u32,
}

impl<S> ReadAhead<S> {
    /// Reads this one ahead.
    pub fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; SMALL].into(), from: 0, to: 0, came: 0, quiet: 0 }
    }

    /// Takes from the buffer what fits.
    fn take(&mut self, into: &mut ReadBuf<'_>) {
        let waiting = self.buffer.get(self.from..self.to).unwrap_or_default();
        let taken = waiting.len().min(into.remaining());
        into.put_slice(waiting.get(..taken).unwrap_or_default());
        self.from += taken;
    }

    /// The buffer was filled, so more may follow. By steps: a key exchange must not leave a large buffer behind.
    fn grow(&mut self) {
        if self.buffer.len() < LARGE {
            self.buffer = vec![0; self.buffer.len() * 2].into();
        }
    }

    /// The stream has said this, and so many bytes have come.
    fn heard(&mut self, said: Poll<io::Result<()>>, bytes: usize) -> Poll<io::Result<()>> {
        self.came = self.came.saturating_add(bytes);
        if said.is_pending() {
            self.quiet = if self.came > SMALL { 0 } else { self.quiet.saturating_add(1) };
            self.came = 0;
            if self.quiet >= QUIET && self.buffer.len() > SMALL {
                self.buffer = vec![0; self.buffer.len() / 2].into();
                self.quiet = 0;
            }
        }
        said
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReadAhead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.from < this.to {
            this.take(into);
            return Poll::Ready(Ok(()));
        }
        if this.to == this.buffer.len() {
            this.grow();
        }
        (this.from, this.to) = (0, 0);
        // Who has room for more than the buffer needs none.
        if into.remaining() >= this.buffer.len() {
            let before = into.filled().len();
            let read = Pin::new(&mut this.stream).poll_read(context, into);
            return this.heard(read, into.filled().len() - before);
        }
        let mut ahead = ReadBuf::new(&mut this.buffer);
        let read = Pin::new(&mut this.stream).poll_read(context, &mut ahead);
        let came = ahead.filled().len();
        this.to = came;
        this.take(into);
        this.heard(read, came)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReadAhead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_in_order_whatever_the_pieces() {
        let (mut near, far) = duplex(200 << 10);
        let sent: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let expected = sent.clone();
        let sending = tokio::spawn(async move {
            for piece in sent.chunks(70_001) {
                near.write_all(piece).await.unwrap();
            }
        });
        let (mut ahead, mut got) = (ReadAhead::new(far), Vec::new());
        for size in [1, 4, 5000, 2048, 33_000, 70_000].iter().cycle() {
            let mut piece = vec![0; *size];
            match ahead.read(&mut piece).await.unwrap() {
                0 => break,
                n => got.extend_from_slice(piece.get(..n).unwrap()),
            }
        }
        sending.await.unwrap();
        assert!(got == expected);
    }

    #[tokio::test]
    async fn a_key_exchange_leaves_no_large_buffer() {
        let (mut near, far) = duplex(1 << 20);
        let (mut ahead, mut piece) = (ReadAhead::new(far), [0; 1000]);
        for _ in 0..8 {
            near.write_all(&[7; 4000]).await.unwrap();
            for _ in 0..4 {
                ahead.read_exact(&mut piece).await.unwrap();
            }
            assert!(ahead.buffer.len() < LARGE);
        }
    }

    #[tokio::test]
    async fn the_buffer_is_large_while_much_comes_and_small_afterwards() {
        let (mut near, far) = duplex(1 << 20);
        let mut ahead = ReadAhead::new(far);
        near.write_all(&[7; 300_000]).await.unwrap();
        let mut piece = [0; 1000];
        for _ in 0..300 {
            ahead.read_exact(&mut piece).await.unwrap();
        }
        assert_eq!(ahead.buffer.len(), LARGE);
        let mut waited = task::Context::from_waker(task::Waker::noop());
        let mut nothing = |ahead: &mut ReadAhead<_>| {
            let mut into = ReadBuf::new(&mut piece);
            assert!(Pin::new(ahead).poll_read(&mut waited, &mut into).is_pending());
        };
        for _ in 0..QUIET {
            assert_eq!(ahead.buffer.len(), LARGE);
            nothing(&mut ahead);
        }
        for _ in 0..QUIET * (LARGE / SMALL).ilog2() {
            nothing(&mut ahead);
        }
        assert_eq!(ahead.buffer.len(), SMALL);
        near.write_all(b"typing").await.unwrap();
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 6);
        drop(near);
        assert_eq!(ahead.read(&mut piece).await.unwrap(), 0);
    }
}
