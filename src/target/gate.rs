//! Flow control of the target's leg: stops reading from the target's socket while too much waits for the operator.
//! Never touches what is written, so timers, keepalives and uploads go on while the gate is closed.
//!
//! russh gives window back when data arrives, whatever has become of it, and puts every other message of a channel into the
//! same queue. So the only brake is the socket: above [`HIGH`] bytes queued it is not read, below [`LOW`] it is read again, and
//! TCP tells the target to wait.

use std::collections::HashMap;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use russh::ChannelId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::meters;

const HIGH: isize = 2 << 20;
const LOW: isize = 1 << 20;
/// What a queued message costs besides its bytes: a peer that sends single bytes is held to the same memory.
const OVERHEAD: usize = 160;
/// What may be queued of a gateway's connection while something waits to go the other way. More than the whole window of the
/// connection inside it: what is inside does not read while it writes, and the grant it waits for comes behind what it is sent.
const THROUGH: isize = 8 * HIGH;

/// Counts what has come on one connection of a target and has not yet gone to the operator.
#[derive(Debug)]
pub(super) struct Gate {
    /// Below zero for the moment in which something is taken before its arrival is counted.
    queued: AtomicIsize,
    meters: Mutex<HashMap<ChannelId, Arc<Meter>>>,
    /// An upload waits for the target's window, whose grants lie behind the gate: let some of them in.
    upload_waits: AtomicBool,
    /// What may be queued while one waits.
    uploading: isize,
    open_for_good: AtomicBool,
    /// The session was cut: the socket is not shut down, so that it is reset.
    reset: AtomicBool,
    waker: AtomicWaker,
    /// All that waits, for the operations' numbers.
    waiting: meters::Queue,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            queued: AtomicIsize::new(0),
            meters: Mutex::default(),
            upload_waits: AtomicBool::new(false),
            uploading: 2 * HIGH,
            open_for_good: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            waiting: meters::queue(meters::Leg::Operator),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let left = *self.queued.get_mut();
        self.waits(-left);
    }
}

/// The part of one channel in what its connection's gate counts.
#[derive(Debug, Default)]
pub(super) struct Meter {
    count: Mutex<Count>,
    /// How often something of it has gone on.
    taken: AtomicUsize,
}

#[derive(Debug, Default)]
struct Count {
    queued: isize,
    /// Nobody takes from the channel any more: what still comes is dropped, so it is not counted.
    left: bool,
}

impl Meter {
    /// A number that changes when something of the channel goes on.
    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

impl Gate {
    /// The gate of a connection that others go through.
    pub(super) fn of_gateway() -> Self {
        let mut gate = Self::default();
        gate.uploading = THROUGH;
        gate
    }

    /// The meter of a channel of this connection.
    pub(super) fn meter(&self, channel: ChannelId) -> Arc<Meter> {
        lock(&self.meters).entry(channel).or_default().clone()
    }

    /// `bytes` have arrived on a channel.
    pub(super) fn arrived(&self, meter: &Meter, bytes: usize) {
        self.counts(meter, room(bytes));
    }

    /// `bytes` that had arrived have gone on.
    pub(super) fn gone(&self, meter: &Meter, bytes: usize) {
        meter.taken.fetch_add(1, Ordering::SeqCst);
        self.counts(meter, -room(bytes));
    }

    /// Nobody takes from this channel any more. What of it still waits is dropped with it.
    pub(super) fn leave(&self, meter: &Meter) {
        let mut count = lock(&meter.count);
        count.left = true;
        let waited = std::mem::take(&mut count.queued);
        drop(count);
        self.changes(-waited);
    }

    fn counts(&self, meter: &Meter, more: isize) {
        let mut count = lock(&meter.count);
        if count.left {
            return;
        }
        count.queued += more;
        drop(count);
        self.changes(more);
    }

    fn changes(&self, more: isize) {
        let now = self.queued.fetch_add(more, Ordering::SeqCst) + more;
        self.waits(more);
        if more < 0 && now <= LOW {
            self.waker.wake();
        }
    }

    fn waits(&self, more: isize) {
        let bytes = more.unsigned_abs();
        if more > 0 { self.waiting.more(bytes) } else { self.waiting.fewer(bytes) }
    }

    /// Whether this channel is what keeps the gate closed.
    pub(super) fn is_held_by(&self, meter: &Meter) -> bool {
        self.closed() && lock(&meter.count).queued > LOW
    }

    /// An upload waits, or waits no longer.
    pub(super) fn upload_waits(&self, waits: bool) {
        self.upload_waits.store(waits, Ordering::SeqCst);
        if waits {
            self.waker.wake();
        }
    }

    /// The relay has ended: lets everything in, so that the connection's loop sees the end.
    pub(super) fn open(&self) {
        self.open_for_good.store(true, Ordering::SeqCst);
        self.waker.wake();
    }

    /// The session was cut: whatever lies between is thrown away.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
    }

    fn closed(&self) -> bool {
        let high = if self.upload_waits.load(Ordering::SeqCst) { self.uploading } else { HIGH };
        self.queued.load(Ordering::SeqCst) > high && !self.open_for_good.load(Ordering::SeqCst)
    }

    fn poll_open(&self, context: &Context<'_>) -> Poll<()> {
        if !self.closed() {
            return Poll::Ready(());
        }
        self.waker.register(context.waker());
        // Asked again: the last byte may have gone between the question and the waker's arrival.
        if self.closed() { Poll::Pending } else { Poll::Ready(()) }
    }
}

/// What a message of so many bytes takes.
fn room(bytes: usize) -> isize {
    isize::try_from(bytes + OVERHEAD).unwrap_or(isize::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stream that is read only while its gate is open.
#[derive(Debug)]
pub(super) struct Gated<S> {
    stream: S,
    gate: Arc<Gate>,
    killed: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Gated<S> {
    /// A stream that ends, whatever the target does, when `kill` is cancelled.
    pub(super) fn new(stream: S, gate: Arc<Gate>, kill: CancellationToken) -> Self {
        Self { stream, gate, killed: Box::pin(kill.cancelled_owned()) }
    }

    fn poll_killed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.killed.as_mut().poll(context) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the connection was left"))
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_killed(context)?;
        std::task::ready!(self.gate.poll_open(context));
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_killed(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gate.reset.load(Ordering::SeqCst) || self.poll_killed(context).is_err() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Line;
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// As many as close the gate.
    const BYTES: usize = 2 << 20;

    #[tokio::test]
    async fn reading_stops_above_the_high_mark_and_goes_on_below_the_low_one() {
        let (mut far, near) = tokio::io::duplex(64);
        let gate = Arc::new(Gate::default());
        let mut gated = Gated::new(near, gate.clone(), CancellationToken::new());
        far.write_all(b"x").await.unwrap();
        let meter = Meter::default();
        gate.arrived(&meter, BYTES);
        let reading = tokio::spawn(async move { gated.read_u8().await });
        tokio::task::yield_now().await;
        assert!(!reading.is_finished());
        gate.gone(&meter, BYTES);
        assert_eq!(reading.await.unwrap().unwrap(), b'x');
    }

    #[tokio::test]
    async fn a_waiting_upload_lets_a_bounded_amount_more_in() {
        let (gate, meter) = (Gate::default(), Meter::default());
        gate.arrived(&meter, BYTES);
        assert!(gate.closed());
        gate.upload_waits(true);
        assert!(!gate.closed());
        gate.arrived(&meter, BYTES);
        assert!(gate.closed());
    }

    #[tokio::test]
    async fn what_is_cut_is_reset_and_what_is_left_is_closed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        for cut in [false, true] {
            let near = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut far, _) = listener.accept().await.unwrap();
            let gate = Arc::new(Gate::default());
            let mut gated = Gated::new(Line::new(near), gate.clone(), CancellationToken::new());
            if cut {
                gate.reset();
            }
            // As russh does at the end of every connection.
            gated.shutdown().await.unwrap();
            drop(gated);
            let end = far.read_u8().await.unwrap_err().kind();
            let expected = if cut { io::ErrorKind::ConnectionReset } else { io::ErrorKind::UnexpectedEof };
            assert_eq!(end, expected);
        }
    }

    #[test]
    fn an_ended_relay_opens_the_gate_for_good() {
        let gate = Gate::default();
        gate.arrived(&Meter::default(), 4 * BYTES);
        gate.open();
        assert!(!gate.closed());
    }

    #[test]
    fn a_channel_that_is_left_takes_its_part_with_it_and_counts_no_more() {
        let (gate, left, stays) = (Gate::default(), Meter::default(), Meter::default());
        gate.arrived(&left, 2 * BYTES);
        gate.arrived(&stays, 10);
        assert!(gate.closed());
        gate.leave(&left);
        gate.gone(&left, 2 * BYTES);
        gate.arrived(&left, 2 * BYTES);
        assert!(!gate.closed());
        assert_eq!(gate.queued.load(Ordering::SeqCst), room(10));
    }

    #[test]
    fn what_is_taken_before_it_is_counted_leaves_nothing_behind() {
        let (gate, meter) = (Gate::default(), Meter::default());
        for _ in 0..1000 {
            gate.gone(&meter, BYTES);
            gate.arrived(&meter, BYTES);
        }
        assert!(!gate.closed());
        assert_eq!(gate.queued.load(Ordering::SeqCst), 0);
    }
}
