//! The relay with legs of memory: order, ends, cuts and the tap, without a network.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::channel::Gone;
use crate::channel::{Egress, Ingress, Sink, Source};
use crate::recording::Unrecorded;
use crate::refusal::Refusal;

/// A leg of memory: says what it is given to say, and keeps what it is told.
struct Leg<Says, Told> {
    says: Script<Says>,
    told: Kept<Told>,
}

struct Script<T> {
    items: VecDeque<T>,
    /// Whether the leg stays silent at the end, or is gone.
    stays: bool,
    /// Lets the other direction go first, each time.
    slow: bool,
    over: CancellationToken,
    settled: AtomicUsize,
}

struct Kept<T> {
    items: Vec<T>,
    room: usize,
}

impl<T: Send + Sync> Source for Script<T> {
    type Item = T;

    async fn next(&mut self) -> Option<T> {
        if self.slow {
            tokio::task::yield_now().await;
        }
        match self.items.pop_front() {
            Some(item) => Some(item),
            None if self.stays => std::future::pending().await,
            None => None,
        }
    }

    fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    fn settle(&self, size: usize) {
        self.settled.fetch_add(size, Ordering::Relaxed);
    }
}

impl<T: Send> Sink for Kept<T> {
    type Item = T;

    async fn put(&mut self, item: T) -> Result<(), Gone> {
        if self.items.len() >= self.room {
            return std::future::pending().await;
        }
        self.items.push(item);
        Ok(())
    }
}

fn leg<S, T>(says: impl IntoIterator<Item = S>, stays: bool) -> Leg<S, T> {
    Leg {
        says: Script {
            items: says.into_iter().collect(),
            stays,
            slow: false,
            over: CancellationToken::new(),
            settled: AtomicUsize::new(0),
        },
        told: Kept { items: Vec::new(), room: usize::MAX },
    }
}

impl Ingress for Leg<FromOperator, FromTarget> {
    type From = Script<FromOperator>;
    type To = Kept<FromTarget>;

    fn split(&mut self) -> (&mut Self::From, &mut Self::To) {
        (&mut self.says, &mut self.told)
    }

    async fn accept(&mut self) {}
    async fn notice(&mut self, _: &[String]) {}
    async fn refuse(&mut self, _: &Refusal) {}
    async fn close(&mut self) {}
}

impl Egress for Leg<FromTarget, FromOperator> {
    type From = Script<FromTarget>;
    type To = Kept<FromOperator>;

    fn split(&mut self) -> (&mut Self::From, &mut Self::To) {
        (&mut self.says, &mut self.told)
    }
}

/// A tap that takes so many messages and then fails.
struct Taken {
    shown: Mutex<Vec<FromTarget>>,
    room: usize,
}

impl Taken {
    fn new(room: usize) -> Self {
        Self { shown: Mutex::default(), room }
    }
}

impl Tap for Taken {
    fn shown(&self, message: &FromTarget) -> Result<(), Unrecorded> {
        let mut shown = self.shown.lock().unwrap();
        if shown.len() >= self.room {
            return Err(Unrecorded::new("the disk is full"));
        }
        shown.push(message.clone());
        Ok(())
    }

    fn sent(&self, _: &FromOperator) -> Result<(), Unrecorded> {
        Ok(())
    }

    fn told(&self, _: &str) -> Result<(), Unrecorded> {
        Ok(())
    }
}

fn data(text: &'static str) -> FromTarget {
    FromTarget::Data(Bytes::from_static(text.as_bytes()))
}

fn unlimited() -> Limits {
    Limits {
        cut: CancellationToken::new(),
        gone: CancellationToken::new(),
        idle: None,
        notice: Notice::none(),
        program: true,
        terminal: false,
    }
}

#[tokio::test]
async fn everything_arrives_in_order_and_the_end_is_told() {
    let mut operator = leg([FromOperator::Data(Bytes::from_static(b"in")), FromOperator::Eof], true);
    let mut target = leg(
        [
            data("out"),
            FromTarget::Stderr(Bytes::from_static(b"err")),
            FromTarget::ExitStatus(3),
            FromTarget::Close,
        ],
        true,
    );
    let ended = run(&mut operator, &mut target, &Taken::new(9), &unlimited()).await;
    assert!(matches!(ended, Ended::Finished { status: Some(3), signal: None }), "{ended:?}");
    assert_eq!(operator.told.items.len(), 3);
    assert_eq!(operator.told.items[0], data("out"));
    assert_eq!(target.says.settled.load(Ordering::Relaxed), 3 + 3 + crate::channel::SMALL);
}

#[tokio::test]
async fn a_status_after_the_end_of_output_goes_before_it_on_a_terminal_and_once_the_input_has_ended() {
    let says = [data("out"), FromTarget::Eof, FromTarget::ExitStatus(7), FromTarget::Close];
    for (input, terminal, order) in
        [(vec![FromOperator::Eof], false, [1, 0]), (vec![], false, [0, 1]), (vec![], true, [1, 0])]
    {
        let mut operator = leg(input, true);
        let mut target = leg(says.clone(), true);
        let limits = Limits { terminal, ..unlimited() };
        let ended = run(&mut operator, &mut target, &Taken::new(9), &limits).await;
        assert!(matches!(ended, Ended::Finished { status: Some(7), .. }), "{ended:?}");
        let last = [FromTarget::Eof, FromTarget::ExitStatus(7)];
        assert_eq!(operator.told.items[1..], [last[order[0]].clone(), last[order[1]].clone()]);
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_terminal_the_end_of_output_is_told_though_no_status_comes() {
    let mut operator = leg([], true);
    let mut target = leg([data("out"), FromTarget::Eof], true);
    let limits = Limits { terminal: true, idle: Some(Duration::from_secs(60)), ..unlimited() };
    let ended = run(&mut operator, &mut target, &Taken::new(9), &limits).await;
    assert!(matches!(ended, Ended::Idle), "{ended:?}");
    assert_eq!(operator.told.items, [data("out"), FromTarget::Eof]);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_shown_and_ends_the_channel() {
    let mut operator = leg([], true);
    let mut target = leg([data("a"), data("b"), data("c")], true);
    let ended = run(&mut operator, &mut target, &Taken::new(2), &unlimited()).await;
    assert!(matches!(ended, Ended::Unrecorded(_)), "{ended:?}");
    assert_eq!(operator.told.items, [data("a"), data("b")]);
}

#[tokio::test]
async fn a_cut_ends_a_channel_whose_operator_does_not_read() {
    let mut operator = leg([], true);
    operator.told.room = 0;
    let mut target = leg([data("a")], true);
    let limits = unlimited();
    let cut = limits.cut.clone();
    let taken = Taken::new(9);
    let relay = run(&mut operator, &mut target, &taken, &limits);
    tokio::pin!(relay);
    assert!(tokio::time::timeout(Duration::from_millis(20), relay.as_mut()).await.is_err());
    cut.cancel();
    assert!(matches!(relay.await, Ended::Cut));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_the_target_does_not_take_ends_with_its_connection_and_soon_after_its_channel() {
    for channel_alone in [false, true] {
        let mut operator = leg([FromOperator::Data(Bytes::from_static(b"in"))], true);
        let over = operator.says.over.clone();
        let mut target = leg([], true);
        target.told.room = 0;
        let limits = unlimited();
        let gone = limits.gone.clone();
        let taken = Taken::new(9);
        let relay = run(&mut operator, &mut target, &taken, &limits);
        tokio::pin!(relay);
        assert!(tokio::time::timeout(Duration::from_secs(60), relay.as_mut()).await.is_err());
        if channel_alone {
            over.cancel()
        } else {
            gone.cancel()
        }
        let ended = tokio::time::timeout(Duration::from_secs(10), relay).await.unwrap();
        assert!(matches!(ended, Ended::OperatorGone), "{ended:?}");
    }
}

#[tokio::test]
async fn a_target_that_vanishes_without_a_status_is_named() {
    let mut operator = leg([], true);
    let mut target = leg([data("a")], false);
    let ended = run(&mut operator, &mut target, &Taken::new(9), &unlimited()).await;
    assert!(matches!(ended, Ended::TargetGone), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_terminal_ends_and_a_target_that_does_not_close_is_not_waited_for() {
    let limits = Limits { idle: Some(Duration::from_secs(3600)), ..unlimited() };
    let ended = run(&mut leg([], true), &mut leg([], true), &Taken::new(9), &limits).await;
    assert!(matches!(ended, Ended::Idle), "{ended:?}");
    let ended =
        run(&mut leg([FromOperator::Close], true), &mut leg([], true), &Taken::new(9), &unlimited()).await;
    assert!(matches!(ended, Ended::OperatorGone), "{ended:?}");
}

#[tokio::test]
async fn words_of_the_bastion_come_once_between_what_the_target_says() {
    for (terminal, line) in [(false, "stopping\n"), (true, "\r\nstopping\r\n")] {
        let (words, heard) = watch::channel(None);
        words.send_replace(Some("stopping".into()));
        let limits = Limits { notice: Notice::new(heard, terminal), ..unlimited() };
        let mut operator = leg([], true);
        let mut target = leg([data("a"), data("b"), FromTarget::ExitStatus(0), FromTarget::Close], false);
        let ended = run(&mut operator, &mut target, &Taken::new(usize::MAX), &limits).await;
        assert!(matches!(ended, Ended::Finished { status: Some(0), .. }), "{ended:?}");
        let told = FromTarget::Stderr(Bytes::from_static(line.as_bytes()));
        assert_eq!(operator.told.items, [told, data("a"), data("b"), FromTarget::ExitStatus(0)]);
    }
}

#[tokio::test]
async fn after_the_end_of_output_the_bastion_has_no_words() {
    let (words, heard) = watch::channel(None);
    let limits = Limits { notice: Notice::new(heard, false), ..unlimited() };
    let mut operator = leg([], true);
    let mut target = leg([FromTarget::Eof], true);
    let taken = Taken::new(usize::MAX);
    let running = run(&mut operator, &mut target, &taken, &limits);
    let cut = async {
        tokio::task::yield_now().await;
        words.send_replace(Some("stopping".into()));
        tokio::task::yield_now().await;
        limits.cut.cancel();
    };
    let (ended, ()) = tokio::join!(running, cut);
    assert!(matches!(ended, Ended::Cut), "{ended:?}");
    assert_eq!(operator.told.items, [FromTarget::Eof]);
}
