//! What an operator sends on one channel, queued between russh's callbacks and the relay.
//! Never waits on the side of the callbacks, for russh has one loop for all channels; its bound is kept by `flow`.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::flow::{DRAINED, Pace};
use crate::channel::{FromOperator, SMALL, Source};
use crate::meters;

/// Packets up to this size are put together, so that single bytes do not cost a queue entry each.
const TINY: usize = 4096;
/// How large packets that are put together may become.
const TOGETHER: usize = 32 << 10;
/// Control messages (resizes, signals) that may wait on one channel; more than a person or a tool ever sends.
const CONTROLS: usize = 256;

/// The queue of one channel.
#[derive(Debug)]
pub(super) struct Inlet {
    queue: Mutex<Queue>,
    queued: AtomicUsize,
    ended: AtomicBool,
    /// Nobody takes from it any more.
    left: AtomicBool,
    /// A grant of its channel is held back until it has drained.
    slowed: AtomicBool,
    pace: Arc<Pace>,
    /// Cancelled when the operator closes the channel, and when the connection ends.
    over: CancellationToken,
    meter: meters::Queue,
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.meter.fewer(self.queued());
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    controls: usize,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Waiting {
    Data(BytesMut),
    Control(FromOperator),
}

/// Too many control messages wait: the operator's program is broken or hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flood;

impl Inlet {
    /// The inlet of a channel of the connection whose end cancels `gone` and whose grants `pace` knows.
    pub(super) fn new(gone: &CancellationToken, pace: Arc<Pace>) -> Self {
        Self {
            queue: Mutex::default(),
            queued: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            left: AtomicBool::new(false),
            slowed: AtomicBool::new(false),
            pace,
            over: gone.child_token(),
            meter: meters::queue(meters::Leg::Target),
        }
    }

    /// The operator closes the channel: what came before is still carried, for as long as the relay waits.
    pub(super) fn close(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.push(FromOperator::Close);
        self.over.cancel();
    }

    /// Cancelled when the channel is closed or its connection ends.
    pub(super) fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Takes data as it came. A packet of zero bytes says nothing and is dropped.
    pub(super) fn data(&self, bytes: &[u8]) {
        if bytes.is_empty() || self.over.is_cancelled() {
            return;
        }
        self.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.meter.more(bytes.len());
        let mut queue = self.lock();
        match queue.waiting.back_mut() {
            Some(Waiting::Data(last)) if bytes.len() < TINY && last.len() + bytes.len() <= TOGETHER => {
                last.extend_from_slice(bytes);
            }
            _ => queue.waiting.push_back(Waiting::Data(BytesMut::from(bytes))),
        }
        wake(queue);
    }

    /// Takes a message without content.
    pub(super) fn control(&self, message: FromOperator) -> Result<(), Flood> {
        if message == FromOperator::Eof {
            self.ended.store(true, Ordering::Relaxed);
        }
        if self.lock().controls >= CONTROLS {
            return Err(Flood);
        }
        self.push(message);
        Ok(())
    }

    fn push(&self, message: FromOperator) {
        let mut queue = self.lock();
        queue.controls += 1;
        self.queued.fetch_add(SMALL, Ordering::Relaxed);
        self.meter.more(SMALL);
        queue.waiting.push_back(Waiting::Control(message));
        wake(queue);
    }

    /// Bytes that have come and have not yet been carried to the target.
    pub(super) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    /// Its channel is given no more than a trickle until it has drained.
    pub(super) fn slowed(&self) {
        self.slowed.store(true, Ordering::SeqCst);
        self.drains(self.queued.load(Ordering::SeqCst));
    }

    /// So many bytes are left in it.
    fn drains(&self, left: usize) {
        if left < DRAINED && self.slowed.load(Ordering::SeqCst) && self.slowed.swap(false, Ordering::SeqCst) {
            self.pace.drained();
        }
    }

    /// Whether the operator has said that no more will come.
    pub(super) fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// Whether what took from it has gone: the channel is over on our side.
    pub(super) fn left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<FromOperator> {
        let mut queue = self.lock();
        match queue.waiting.pop_front() {
            Some(Waiting::Data(bytes)) => Poll::Ready(FromOperator::Data(bytes.freeze())),
            Some(Waiting::Control(message)) => {
                queue.controls -= 1;
                Poll::Ready(message)
            }
            None => {
                // A burst must not keep its room for the rest of the channel's life.
                queue.waiting.shrink_to(16);
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(mut queue: MutexGuard<'_, Queue>) {
    let waker = queue.waker.take();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The relay's end of an inlet: ends when the connection does.
#[derive(Debug)]
pub(super) struct FromInlet {
    inlet: Arc<Inlet>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl FromInlet {
    pub(super) fn new(inlet: Arc<Inlet>, gone: CancellationToken) -> Self {
        Self { inlet, ended: Box::pin(gone.cancelled_owned()) }
    }

    /// Gives back what was taken and settled: it comes first again.
    pub(super) fn put_back(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.inlet.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.inlet.meter.more(bytes.len());
        self.inlet.lock().waiting.push_front(Waiting::Data(BytesMut::from(bytes)));
    }

    /// [`Source::next`] for those who poll.
    pub(super) fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<FromOperator>> {
        if let Poll::Ready(message) = self.inlet.poll_next(context) {
            return Poll::Ready(Some(message));
        }
        self.ended.as_mut().poll(context).map(|()| None)
    }

    /// An error once the connection has ended.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(context) {
            Poll::Ready(()) => {
                Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the outer connection ended"))
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl Drop for FromInlet {
    fn drop(&mut self) {
        self.inlet.left.store(true, Ordering::Relaxed);
    }
}

impl Source for FromInlet {
    type Item = FromOperator;

    async fn next(&mut self) -> Option<FromOperator> {
        poll_fn(|context| self.poll_message(context)).await
    }

    fn over(&self) -> CancellationToken {
        self.inlet.over.clone()
    }

    fn settle(&self, size: usize) {
        let before = self.inlet.queued.fetch_sub(size, Ordering::SeqCst);
        self.inlet.meter.fewer(size);
        self.inlet.drains(before.saturating_sub(size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[tokio::test]
    async fn small_packets_come_out_together_and_in_order_with_what_stood_between() {
        let inlet = Arc::new(Inlet::new(&CancellationToken::new(), Arc::default()));
        inlet.data(b"a");
        inlet.data(b"b");
        inlet.control(FromOperator::Signal("INT".into())).unwrap();
        inlet.data(b"c");
        inlet.control(FromOperator::Eof).unwrap();
        assert_eq!(inlet.queued(), 3 + 2 * SMALL);
        let mut source = FromInlet::new(inlet.clone(), CancellationToken::new());
        let mut came = Vec::new();
        for _ in 0..4 {
            let message = source.next().await.unwrap();
            source.settle(message.size());
            came.push(message);
        }
        let data = |text: &'static str| FromOperator::Data(Bytes::from_static(text.as_bytes()));
        assert_eq!(came, [data("ab"), FromOperator::Signal("INT".into()), data("c"), FromOperator::Eof]);
        assert_eq!(inlet.queued(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_ends_ends_the_inlet() {
        let gone = CancellationToken::new();
        let mut source = FromInlet::new(Arc::new(Inlet::new(&gone, Arc::default())), gone.clone());
        gone.cancel();
        assert_eq!(source.next().await, None);
    }

    #[test]
    fn a_flood_of_control_messages_is_named() {
        let inlet = Inlet::new(&CancellationToken::new(), Arc::default());
        let resize = || FromOperator::Signal("WINCH".into());
        for _ in 0..CONTROLS {
            inlet.control(resize()).unwrap();
        }
        assert_eq!(inlet.control(resize()), Err(Flood));
    }
}
