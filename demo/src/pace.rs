//! The socket under the protocol: holds back the tiny window grants of a stalled channel, and ends when told to.
//! It never changes, drops or reorders a byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a tiny grant waits, unless something else is written first.
const HOLD: Duration = Duration::from_millis(20);
/// A write above this carries more than a grant and goes out at once.
const TINY: usize = 128;

/// Set by the handler when the next write is a tiny grant to a stalled channel.
#[derive(Clone, Default)]
pub(crate) struct Pace(Arc<AtomicBool>);

impl Pace {
    pub(crate) fn hold_next(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Without the hold, a peer with much to send and a program that does not read would trade two bytes a packet
/// as fast as two cores can.
pub(crate) struct Paced<S> {
    inner: S,
    pace: Pace,
    held: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Paced<S> {
    pub(crate) fn new(inner: S, pace: Pace, stop: CancellationToken) -> Self {
        Self { inner, pace, held: BytesMut::new(), timer: None, stopped: Box::pin(stop.cancelled_owned()) }
    }

    fn ended(&mut self, cx: &mut Context<'_>) -> bool {
        self.stopped.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncWrite + Unpin> Paced<S> {
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
        }
        self.timer = None;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        // The protocol always has a read pending, so this is where the timer is noticed.
        if self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
            && let Poll::Ready(Err(error)) = self.poll_held(cx)
        {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.pace.0.swap(false, Ordering::Relaxed) && buf.len() <= TINY {
            self.held.extend_from_slice(buf);
            let mut timer = Box::pin(tokio::time::sleep(HOLD));
            let _ = timer.as_mut().poll(cx);
            self.timer = Some(timer);
            return Poll::Ready(Ok(buf.len()));
        }
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
