//! The two pumps of a channel and the one that watches over them.
//! Never buffers: a message is taken from one leg only when the other has taken the one before.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{Notice, Tap};
use crate::channel::{Egress, FromOperator, FromTarget, Ingress, Sink, Source};
use crate::meters::{self, Leg};
use crate::recording::Unrecorded;

/// How long a target may take to take what is left, and to close, after the operator has closed.
const CLOSING: Duration = Duration::from_secs(5);

/// What may end a channel from outside.
#[derive(Debug)]
pub struct Limits {
    /// Cancelled when the session is to be cut.
    pub cut: CancellationToken,
    /// Cancelled when the operator's connection has ended.
    pub gone: CancellationToken,
    /// The longest time a terminal may stay without input and output; `None` for channels that may be silent.
    pub idle: Option<Duration>,
    /// What the operator is told while the channel runs.
    pub notice: Notice,
    /// Whether a program's status is to come after its output; a bare stream has none.
    pub program: bool,
    /// Whether the program has a terminal: its output ends as it does.
    pub terminal: bool,
}

/// How a channel ended.
#[derive(Debug)]
pub enum Ended {
    /// The program ended and the target closed the channel.
    Finished {
        /// Exit status, when the target gave one.
        status: Option<u32>,
        /// The signal that ended the program, when the target named one.
        signal: Option<String>,
    },
    /// The operator's leg went away first.
    OperatorGone,
    /// The target's leg went away before it closed the channel.
    TargetGone,
    /// The session was cut; whoever cancelled knows why.
    Cut,
    /// Nothing was typed or shown for longer than allowed.
    Idle,
    /// The recording could not be written.
    Unrecorded(Unrecorded),
}

/// Carries the channel until it ends. The `Close` towards the operator is left to the caller, who may have words for them.
pub async fn run(
    ingress: &mut impl Ingress,
    egress: &mut impl Egress,
    tap: &impl Tap,
    limits: &Limits,
) -> Ended {
    let (from_operator, to_operator) = ingress.split();
    let (from_target, to_target) = egress.split();
    let (activity, over) = (Activity::new(), from_operator.over());
    let mut watched = watched(limits, &activity, over);
    let down = down(from_target, to_operator, tap, &activity, limits);
    let up = up(from_operator, to_target, tap, &activity);
    tokio::pin!(down, up);
    let (mut up_ended, mut closed) = (false, false);
    loop {
        let closes = tokio::select! {
            biased;
            Some(seen) = watched.next() => match seen {
                Seen::Cut => return Ended::Cut,
                Seen::Gone | Seen::Late => return Ended::OperatorGone,
                Seen::Idle => return Ended::Idle,
                Seen::Closed => true,
            },
            ended = &mut down => return ended,
            ended = &mut up, if !up_ended => {
                up_ended = true;
                match ended {
                    UpEnded::Closed => true,
                    UpEnded::OperatorGone => return Ended::OperatorGone,
                    // The target may still have last words: its own direction says when it is gone.
                    UpEnded::TargetGone => false,
                    UpEnded::Unrecorded(why) => return Ended::Unrecorded(why),
                }
            }
        };
        if closes && !closed {
            closed = true;
            watched.push(Box::pin(async {
                sleep(CLOSING).await;
                Seen::Late
            }));
        }
    }
}

/// What happens to a channel besides what it carries.
enum Seen {
    Cut,
    Gone,
    Closed,
    Idle,
    /// The target has had its time after the operator closed.
    Late,
}

/// Waits for all of it, and looks again only at what has stirred: much is carried between two such moments.
fn watched<'a>(
    limits: &'a Limits,
    activity: &'a Activity,
    over: CancellationToken,
) -> FuturesUnordered<Pin<Box<dyn Future<Output = Seen> + Send + 'a>>> {
    let watched = FuturesUnordered::<Pin<Box<dyn Future<Output = Seen> + Send + 'a>>>::new();
    watched.push(Box::pin(async {
        limits.cut.cancelled().await;
        Seen::Cut
    }));
    watched.push(Box::pin(async {
        limits.gone.cancelled().await;
        Seen::Gone
    }));
    watched.push(Box::pin(async move {
        over.cancelled().await;
        Seen::Closed
    }));
    if let Some(limit) = limits.idle {
        watched.push(Box::pin(async move {
            activity.idle(limit).await;
            Seen::Idle
        }));
    }
    watched
}

/// Target to operator: recorded first, then shown.
///
/// A client that has ended its input may close the channel as soon as it hears that the output has ended (OpenSSH does so on
/// a shared connection), and so may one with a terminal (PuTTY); what comes after is lost. So the end of output then waits
/// for the status; on a terminal not for long, since some servers wait for the client's own end before they close.
async fn down(
    from: &mut impl Source<Item = FromTarget>,
    to: &mut impl Sink<Item = FromTarget>,
    tap: &impl Tap,
    activity: &Activity,
    limits: &Limits,
) -> Ended {
    let (mut status, mut signal, mut held) = (None, None, false);
    let (mut ended, relayed) = (false, meters::relayed(Leg::Operator));
    let mut notice = limits.notice.clone();
    let release = sleep_until(far());
    tokio::pin!(release);
    loop {
        let message = tokio::select! {
            biased;
            words = notice.next(), if !ended => {
                if let Err(why) = tap.told(&words) {
                    return Ended::Unrecorded(why);
                }
                if to.put(FromTarget::Stderr(notice.line(&words))).await.is_err() {
                    return Ended::OperatorGone;
                }
                continue;
            }
            message = from.next() => message,
            () = &mut release, if held => {
                (held, ended) = (false, true);
                if to.put(FromTarget::Eof).await.is_err() {
                    return Ended::OperatorGone;
                }
                continue;
            }
        };
        let Some(message) = message else { break };
        activity.touch();
        if let Err(why) = tap.shown(&message) {
            return Ended::Unrecorded(why);
        }
        let size = message.size();
        match &message {
            FromTarget::Data(bytes) | FromTarget::Stderr(bytes) => relayed.increment(bytes.len() as u64),
            FromTarget::ExitStatus(code) => status = Some(*code),
            FromTarget::ExitSignal { signal: name, .. } => signal = Some(name.clone()),
            FromTarget::Eof
                if limits.program
                    && status.is_none()
                    && signal.is_none()
                    && (limits.terminal || activity.input_has_ended().await) =>
            {
                held = true;
                if !activity.input_ended() {
                    release.as_mut().reset(Instant::now() + CLOSING);
                }
                from.settle(size);
                continue;
            }
            FromTarget::Eof => ended = true,
            FromTarget::Close => {}
        }
        let (closed, said) = (message == FromTarget::Close, status.is_some() || signal.is_some());
        if !closed && to.put(message).await.is_err() {
            return Ended::OperatorGone;
        }
        if held && (said || closed) {
            (held, ended) = (false, true);
            if to.put(FromTarget::Eof).await.is_err() {
                return Ended::OperatorGone;
            }
        }
        if closed {
            return Ended::Finished { status, signal };
        }
        from.settle(size);
    }
    if status.is_some() || signal.is_some() { Ended::Finished { status, signal } } else { Ended::TargetGone }
}

enum UpEnded {
    Closed,
    OperatorGone,
    TargetGone,
    Unrecorded(Unrecorded),
}

/// Operator to target.
async fn up(
    from: &mut impl Source<Item = FromOperator>,
    to: &mut impl Sink<Item = FromOperator>,
    tap: &impl Tap,
    activity: &Activity,
) -> UpEnded {
    let relayed = meters::relayed(Leg::Target);
    while let Some(message) = from.next().await {
        activity.touch();
        if let Err(why) = tap.sent(&message) {
            return UpEnded::Unrecorded(why);
        }
        let (size, last) = (message.size(), message == FromOperator::Close);
        match &message {
            FromOperator::Eof => activity.input_ends(),
            FromOperator::Data(bytes) => relayed.increment(bytes.len() as u64),
            _ => {}
        }
        if to.put(message).await.is_err() {
            return UpEnded::TargetGone;
        }
        from.settle(size);
        if last {
            return UpEnded::Closed;
        }
    }
    UpEnded::OperatorGone
}

/// What both directions know of each other.
struct Activity {
    begun: Instant,
    /// When something last moved, in milliseconds since the relay began.
    last: AtomicU64,
    input_ended: AtomicBool,
}

impl Activity {
    fn new() -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0), input_ended: AtomicBool::new(false) }
    }

    fn touch(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn input_ends(&self) {
        self.input_ended.store(true, Ordering::Relaxed);
    }

    /// Whether the operator has said that no more input comes.
    fn input_ended(&self) -> bool {
        self.input_ended.load(Ordering::Relaxed)
    }

    /// The same, when what has come was looked at: both directions are one task, and this one may be the first to stir.
    async fn input_has_ended(&self) -> bool {
        if !self.input_ended() {
            yield_now().await;
        }
        self.input_ended()
    }

    /// Returns once nothing has moved for `limit`.
    async fn idle(&self, limit: Duration) {
        loop {
            let due = self.begun + Duration::from_millis(self.last.load(Ordering::Relaxed)) + limit;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(86_400 * 365)
}
