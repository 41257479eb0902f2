//! The operator's socket as russh sees it: a kill switch that works whatever the peer does, the pacing of `flow`, a `tap`,
//! and what a connection may ask for (`conduct`). Never changes a byte: a write is passed on at once, or held back for some
//! milliseconds and then passed on whole.

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

use super::admission::Stage;
use super::clear::Clear;
use super::conduct::{Conduct, Packets};
use super::flow::{Granted, Pace};
use super::overheard::{self, Ear};
use super::places::Seat;
use super::tap::Tap;

/// How long the tiny grant of a stalled channel is held back: a third of a core falls to a few percent.
const HOLD: Duration = Duration::from_millis(10);
/// The same while a grant is aimed at a sibling, which has this long to ask.
const HOLD_AIMED: Duration = Duration::from_millis(100);
/// A packet that bears a window grant and nothing else is not larger than this.
const GRANT_PACKET: usize = 64;
/// Bytes that may be held back.
const HELD: usize = 1 << 20;
/// How long a peer that was told that it is over may leave its side open.
const LINGER: Duration = Duration::from_secs(10);

/// A stream that ends when it is killed, and holds small grants back.
pub(super) struct OperatorStream<S> {
    stream: S,
    pace: Arc<Pace>,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
    held: BytesMut,
    timer: Option<Pin<Box<Sleep>>>,
    tap: Option<Tap>,
    ear: Option<Arc<Ear>>,
    conduct: Arc<Conduct>,
    packets: Packets,
    /// None once there are keys.
    clear: Option<Clear>,
    seat: Option<Seat>,
    /// Runs once our side is closed.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> OperatorStream<S> {
    pub(super) fn new(stream: S, kill: CancellationToken, pace: Arc<Pace>, conduct: Arc<Conduct>) -> Self {
        let killed = Box::pin(kill.cancelled_owned());
        Self {
            stream,
            pace,
            killed,
            held: BytesMut::new(),
            timer: None,
            tap: None,
            ear: None,
            conduct,
            packets: Packets::default(),
            clear: Some(Clear::default()),
            seat: None,
            linger: None,
        }
    }

    /// Tells the door how near to its login the connection is.
    pub(super) fn seated(self, seat: Seat) -> Self {
        Self { seat: Some(seat), ..self }
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
        let lingered = self.linger.as_mut().is_some_and(|linger| linger.as_mut().poll(context).is_ready());
        if lingered || self.killed.as_mut().poll(context).is_ready() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was cut"));
        }
        Ok(())
    }

    /// A read of `wanted` bytes is asked for: when it begins a packet, the one before is done with.
    fn asked(&mut self, wanted: usize) -> io::Result<()> {
        if self.packets.asked(wanted) {
            let excess =
                |_| io::Error::new(io::ErrorKind::QuotaExceeded, "more than a connection may ask for");
            self.conduct.packet().map_err(excess)?;
        }
        Ok(())
    }

    /// What came in, before russh sees it.
    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.packets.given(bytes.len());
        let Some(clear) = &mut self.clear else { return Ok(()) };
        let had_spoken = clear.spoken();
        let not_ssh = |_| io::Error::new(io::ErrorKind::InvalidData, "no client of SSH 2.0 says this");
        clear.heard(bytes).map_err(not_ssh)?;
        let stage = if clear.over() { Stage::Keyed } else { Stage::Speaking };
        if let Some(seat) = self.seat.as_ref().filter(|_| clear.spoken() != had_spoken || clear.over()) {
            seat.advance(stage);
        }
        if clear.over() {
            (self.clear, self.seat) = (None, None);
        }
        Ok(())
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
            let writing = Pin::new(&mut self.stream).poll_write(context, &self.held);
            self.conduct.set_blocked(writing.is_pending());
            let written = ready!(writing)?;
            self.conduct.wrote(written);
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
        self.pace.holds(context.waker());
    }

    /// Whether what is held back is to go now: its time is up, or the channel it slowed has drained. What is aimed at a sibling is
    /// kept for its time, lest another takes it.
    fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        let Some(timer) = &mut self.timer else { return false };
        timer.as_mut().poll(context).is_ready() || (!self.pace.aimed() && self.pace.take_drained())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for OperatorStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_killed(context)?;
        if self.is_due(context)
            && let Poll::Ready(Err(why)) = self.poll_release(context)
        {
            return Poll::Ready(Err(why));
        }
        if self.ear.as_ref().is_some_and(|ear| ear.closed()) {
            self.ear = None;
        }
        overheard::reading(self.ear.as_ref());
        self.asked(buffer.remaining())?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.came(buffer.filled().get(before..).unwrap_or_default())?;
        Poll::Ready(Ok(()))
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
        let writing = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.conduct.set_blocked(writing.is_pending());
        let written = ready!(writing)?;
        self.conduct.wrote(written);
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
        // Polled once by the next read, which is what russh does after this: it waits for the peer to close.
        self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
