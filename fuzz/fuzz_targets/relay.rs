//! What travels on a running channel, in both directions, with legs that are slow, go away or stop taking.
//! Holds: nothing is shown that was not recorded before; what arrives is a beginning of what was sent, in its order, in each
//! stream; an end is what was said; and the relay ends.
#![no_main]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use bartizan::channel::{Egress, FromOperator, FromTarget, Gone, Ingress, Sink, Size, Source};
use bartizan::recording::Unrecorded;
use bartizan::refusal::Refusal;
use bartizan::relay::{Ended, Limits, Notice, Tap, run};
use bartizan_fuzz::{Input, sow};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tokio_util::sync::CancellationToken;

struct Script<T> {
    items: VecDeque<T>,
    stays: bool,
    slow: bool,
}

impl<T: Send + Sync> Source for Script<T> {
    type Item = T;

    async fn next(&mut self) -> Option<T> {
        if self.slow {
            tokio::task::yield_now().await;
        }
        match self.items.pop_front() {
            None if self.stays => std::future::pending().await,
            item => item,
        }
    }

    fn settle(&self, _: usize) {}
}

struct Kept<T> {
    items: Vec<T>,
    room: usize,
    leaves: bool,
}

impl<T: Send> Sink for Kept<T> {
    type Item = T;

    async fn put(&mut self, item: T) -> Result<(), Gone> {
        match self.items.len() >= self.room {
            true if self.leaves => Err(Gone),
            true => std::future::pending().await,
            false => {
                self.items.push(item);
                Ok(())
            }
        }
    }
}

struct Leg<Says, Told>(Script<Says>, Kept<Told>);

impl Ingress for Leg<FromOperator, FromTarget> {
    type From = Script<FromOperator>;
    type To = Kept<FromTarget>;

    fn split(&mut self) -> (&mut Self::From, &mut Self::To) {
        (&mut self.0, &mut self.1)
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
        (&mut self.0, &mut self.1)
    }
}

/// Takes so many messages and then fails.
struct Taken {
    shown: Mutex<Vec<FromTarget>>,
    sent: Mutex<Vec<FromOperator>>,
    room: usize,
}

impl Taken {
    fn take<T: Clone>(&self, to: &Mutex<Vec<T>>, message: &T) -> Result<(), Unrecorded> {
        let mut taken = to.lock().expect("whole");
        if taken.len() >= self.room {
            return Err(Unrecorded::new("the disk is full"));
        }
        taken.push(message.clone());
        Ok(())
    }
}

impl Tap for Taken {
    fn shown(&self, message: &FromTarget) -> Result<(), Unrecorded> {
        self.take(&self.shown, message)
    }

    fn sent(&self, message: &FromOperator) -> Result<(), Unrecorded> {
        self.take(&self.sent, message)
    }

    fn told(&self, _: &str) -> Result<(), Unrecorded> {
        Ok(())
    }
}

fn from_operator(input: &mut Input<'_>) -> FromOperator {
    match input.byte() % 8 {
        0 => FromOperator::Resize(Size { columns: 80, rows: 24, width: 0, height: 0 }),
        1 => FromOperator::Signal("INT".into()),
        2 => FromOperator::Eof,
        3 => FromOperator::Close,
        _ => FromOperator::Data(Bytes::copy_from_slice(&[input.byte()])),
    }
}

fn from_target(input: &mut Input<'_>) -> FromTarget {
    match input.byte() % 8 {
        0 => FromTarget::Eof,
        1 => FromTarget::ExitStatus(input.byte().into()),
        2 => FromTarget::ExitSignal { signal: "TERM".into(), core_dumped: false, message: String::new() },
        3 => FromTarget::Close,
        4 | 5 => FromTarget::Stderr(Bytes::copy_from_slice(&[input.byte()])),
        _ => FromTarget::Data(Bytes::copy_from_slice(&[input.byte()])),
    }
}

fn leg<S, T>(input: &mut Input<'_>, what: fn(&mut Input<'_>) -> S) -> (Leg<S, T>, Vec<S>)
where
    S: Clone,
{
    let marks = input.byte();
    let room = if marks & 1 == 0 { usize::MAX } else { usize::from(input.byte()) };
    let mut piece = Input(input.piece());
    let mut says = Vec::new();
    while !piece.is_empty() {
        says.push(what(&mut piece));
    }
    let script =
        Script { items: says.iter().cloned().collect(), stays: marks & 2 == 0, slow: marks & 4 != 0 };
    (Leg(script, Kept { items: Vec::new(), room, leaves: marks & 8 != 0 }), says)
}

/// The content of one stream of these messages.
fn stream(messages: &[FromTarget], errors: bool) -> Vec<u8> {
    let content = messages.iter().filter_map(|message| match message {
        FromTarget::Data(bytes) if !errors => Some(bytes),
        FromTarget::Stderr(bytes) if errors => Some(bytes),
        _ => None,
    });
    content.flatten().copied().collect()
}

async fn relayed(bytes: &[u8]) {
    let mut input = Input(bytes);
    let marks = input.byte();
    let room = if marks & 1 == 0 { usize::MAX } else { usize::from(input.byte()) };
    let (mut operator, says_operator) = leg(&mut input, from_operator);
    let (mut target, says_target) = leg(&mut input, from_target);
    let taken = Taken { shown: Mutex::default(), sent: Mutex::default(), room };
    let cut = CancellationToken::new();
    let limits = Limits {
        cut: cut.clone(),
        gone: CancellationToken::new(),
        idle: (marks & 2 != 0).then_some(Duration::from_secs(60)),
        notice: Notice::none(),
        program: marks & 4 == 0,
    };
    let ended = {
        let relay = run(&mut operator, &mut target, &taken, &limits);
        tokio::pin!(relay);
        match tokio::time::timeout(Duration::from_secs(3600), relay.as_mut()).await {
            Ok(ended) => ended,
            Err(_) => {
                cut.cancel();
                relay.await
            }
        }
    };
    let (shown, told) = (taken.shown.lock().expect("whole"), &operator.1.items);
    for errors in [false, true] {
        let (told, shown, said) =
            (stream(told, errors), stream(&shown, errors), stream(&says_target, errors));
        assert!(shown.starts_with(&told) && said.starts_with(&shown), "shown, and not recorded before");
    }
    assert!(told.len() <= shown.len() && shown.len() <= room);
    assert!(
        told.iter().all(
            |one| shown.iter().filter(|s| *s == one).count() >= told.iter().filter(|t| *t == one).count()
        )
    );
    assert!(says_operator.starts_with(&target.1.items) || target.1.items.contains(&FromOperator::Close));
    assert!(target.1.items.len() <= taken.sent.lock().expect("whole").len() || room == usize::MAX);
    match ended {
        Ended::Finished { status, .. } => {
            let ends = |one: &FromTarget| {
                !matches!(one, FromTarget::Data(_) | FromTarget::Stderr(_) | FromTarget::Eof)
            };
            assert!(says_target.iter().any(ends));
            assert!(status.is_none_or(|status| says_target.contains(&FromTarget::ExitStatus(status))));
        }
        Ended::Unrecorded(_) => assert_ne!(room, usize::MAX),
        Ended::TargetGone | Ended::OperatorGone | Ended::Cut | Ended::Idle => {}
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let leg = |marks: u8, script: &[u8]| {
        let length = u16::try_from(script.len()).expect("a length").to_be_bytes();
        [&[marks], &length[..], script].concat()
    };
    let run = |marks: u8, operator: Vec<u8>, target: Vec<u8>| [vec![marks], operator, target].concat();
    let says: &[u8] = &[7, b'o', 4, b'e', 1, 3, 0, 3];
    vec![
        run(0, leg(0, &[7, b'i', 2]), leg(0, says)),
        run(2, leg(4, &[7, b'i', 0, 1, 2, 3]), leg(4, says)),
        run(4, leg(2, &[7, b'i']), leg(6, &[6, b'o', 0, 3])),
        [vec![1, 2], leg(0, &[]), leg(0, says)].concat(),
    ]
}

fuzz_target!(init: sow("relay", seeds()), |bytes: &[u8]| {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(relayed(bytes)));
});
