//! The way through a gateway as a stream: a channel of the gateway's connection, under the connection to the target itself.
//! Never holds more than one message: what is not read here waits with the gateway's gate, and what cannot be written is not taken.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::leg::{FromLeg, Leg, ToLeg};
use crate::channel::{FromTarget, Source as _};

/// The next message, and what it came from.
type Next = Pin<Box<dyn Future<Output = (FromLeg, Option<FromTarget>)> + Send>>;

/// The stream.
pub(super) struct Passage {
    /// `None` once it has ended.
    next: Option<Next>,
    /// What is left of the last message.
    rest: Bytes,
    writer: Pin<Box<dyn AsyncWrite + Send>>,
    to: ToLeg,
    /// The gateway's connection has ended. A waiting writer is told by nobody else.
    over: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Passage {
    /// A channel as a stream that ends with its connection, at the latest when `over` is cancelled.
    pub(super) fn new(leg: Leg, over: CancellationToken) -> Self {
        let (from, to) = leg.into_halves();
        let (writer, over) = (Box::pin(to.writer()), Box::pin(over.cancelled_owned()));
        Self { next: Some(next(from)), rest: Bytes::new(), writer, to, over }
    }

    /// Whether writing is over; asked last, so that it is its waker that is left waiting.
    fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.over.as_mut().poll(context).map(|()| Err(io::ErrorKind::BrokenPipe.into()))
    }
}

fn next(mut from: FromLeg) -> Next {
    Box::pin(async move {
        let message = from.next().await;
        if let Some(message) = &message {
            from.settle(message.size());
        }
        (from, message)
    })
}

impl AsyncRead for Passage {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            let Some(waiting) = &mut self.next else { return Poll::Ready(Ok(())) };
            let (from, message) = ready!(waiting.as_mut().poll(context));
            self.next = match message {
                Some(FromTarget::Data(data)) => {
                    self.rest = data;
                    Some(next(from))
                }
                Some(FromTarget::Eof | FromTarget::Close) | None => None,
                // A bare stream says nothing else.
                Some(_) => Some(next(from)),
            };
        }
        let size = self.rest.len().min(buffer.remaining());
        if let Some(piece) = self.rest.get(..size) {
            buffer.put_slice(piece);
        }
        self.rest.advance(size);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Passage {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let written = self.writer.as_mut().poll_write(context, bytes);
        self.to.waits(written.is_pending());
        match written {
            Poll::Pending => self.poll_over(context).map(|over| over.map(|()| 0)),
            written => written,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writer.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.writer.as_mut().poll_shutdown(context) {
            Poll::Pending => self.poll_over(context),
            shut => shut,
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.to.waits(false);
    }
}
