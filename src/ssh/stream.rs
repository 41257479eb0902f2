//! The operator's socket as russh sees it: a kill switch that works whatever the peer does, the pacing of `flow`, a `tap`.
//! Never changes a byte: a write is passed on at once, or held back for some milliseconds and then passed on whole.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::flow::{Granted, Pace};
use super::overheard::{self, Ear};
use super::tap::Tap;

/// How long the tiny grant of a stalled channel is held back: a third of a core falls to a few percent.
const HOLD: Duration = Duration::from_millis(10);
/// The same while a grant is aimed at a sibling, which has this long to ask.
const HOLD_AIMED: Duration = Duration::from_millis(100);
/// A packet that bears a window grant and nothing else is not larger than this.
const GRANT_PACKET: usize = 64;
/// Bytes that may be held back.
const HELD: usize = 1 << 20;

/// A stream that ends when it is killed, and holds small grants back.
pub(super) struct OperatorStream<S> {
    stream: S,
    pace: Arc<Pace>,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
    held: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    tap: Option<Tap>,
    ear: Option<Arc<Ear>>,
}

impl<S> OperatorStream<S> {
    pub(super) fn new(stream: S, kill: CancellationToken, pace: Arc<Pace>) -> Self {
        let killed = Box::pin(kill.cancelled_owned());
        Self { stream, pace, killed, held: BytesMut::new(), timer: None, tap: None, ear: None }
    }

    /// Lets `tap` read along what is sent until it has seen enough, and `ear` hear what is said of what is read.
    pub(super) fn tapped(self, tap: Tap, ear: Arc<Ear>) -> Self {
        Self { tap: Some(tap), ear: Some(ear), ..self }
    }

    fn sent(&mut self, bytes: &[u8]) {
        if let Some(tap) = &mut self.tap {
            tap.sent(bytes);
            if tap.over() {
                self.tap = None;
            }
        }
    }

    fn poll_killed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.killed.as_mut().poll(context) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut"))
            }
            Poll::Pending => Ok(()),
        }
    }

    /// Whether a write of `length` bytes, made after `granted`, is to be held back.
    fn holds(&self, granted: Granted, length: usize) -> bool {
        let aimed = self.pace.aimed();
        let bears_grant = granted == Granted::ToStalled && (length <= GRANT_PACKET || aimed);
        let joins = aimed && !self.held.is_empty();
        (bears_grant || joins) && self.held.len() + length <= HELD
    }
}

impl<S: AsyncWrite + Unpin> OperatorStream<S> {
    /// Writes all that is held back.
    fn poll_release(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pace.sent();
        while self.held.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        self.timer = None;
        Poll::Ready(Ok(()))
    }

    fn hold(&mut self, context: &mut Context<'_>, bytes: &[u8], granted: Granted) {
        self.held.extend_from_slice(bytes);
        let aimed = self.pace.aimed();
        if self.timer.is_none() || (granted == Granted::ToStalled && aimed) {
            let mut timer = Box::pin(tokio::time::sleep(if aimed { HOLD_AIMED } else { HOLD }));
            // Polled once, so that the loop, which goes back to reading, is woken when it is due.
            let _ = timer.as_mut().poll(context);
            self.timer = Some(timer);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for OperatorStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_killed(context)?;
        let due = self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(context).is_ready());
        if due && let Poll::Ready(Err(why)) = self.poll_release(context) {
            return Poll::Ready(Err(why));
        }
        if self.ear.as_ref().is_some_and(|ear| ear.closed()) {
            self.ear = None;
        }
        overheard::reading(self.ear.as_ref());
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for OperatorStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_killed(context)?;
        let granted = self.pace.take_granted();
        if self.holds(granted, bytes.len()) {
            self.sent(bytes);
            self.hold(context, bytes, granted);
            return Poll::Ready(Ok(bytes.len()));
        }
        if granted == Granted::ToStalled {
            self.pace.sent();
        }
        if self.held.has_remaining() {
            ready!(self.poll_release(context))?;
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.sent(bytes.get(..written).unwrap_or_default());
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_killed(context)?;
        if self.timer.is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_killed(context).is_ok() && self.held.has_remaining() {
            ready!(self.poll_release(context))?;
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
