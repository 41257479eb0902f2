//! Streams that begin on the target: each wanted, permitted and recorded by itself, then offered to the operator's client.
//! Never accepts one before the operator's client has.

use std::sync::Arc;

use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{How, begun, relayed, sealed};
use crate::bastion::Bastion;
use crate::channel::{Asked, Caller, End, Ingress as _, Start};
use crate::live::Connection;
use crate::relay::Ended;
use crate::target::{Arrival, Arrivals};

/// How long an operator's client may take to answer whether it takes a stream.
const ANSWER: Duration = Duration::from_secs(10);
/// Streams that one channel's connection may have open at once.
const MOST: usize = 32;

/// The streams that come on the connection of one channel.
pub(super) struct Returns {
    streams: TaskTracker,
    /// Cancelled when no more are taken.
    last: CancellationToken,
    /// Cancelled when no more can come.
    ended: CancellationToken,
    connection: Arc<Connection>,
}

impl Returns {
    /// Takes them as they come, from now on.
    pub(super) fn of(
        bastion: &Arc<Bastion>,
        connection: &Arc<Connection>,
        arrivals: Option<Arrivals>,
        caller: &impl Caller,
    ) -> Self {
        Self::come_to(bastion, connection, arrivals, caller, None)
    }

    /// The same for a target that listens there: what it says has come anywhere else is refused.
    pub(super) fn come_to(
        bastion: &Arc<Bastion>,
        connection: &Arc<Connection>,
        arrivals: Option<Arrivals>,
        caller: &impl Caller,
        place: Option<End>,
    ) -> Self {
        let (streams, last, ended) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        if let Some(arrivals) = arrivals {
            let taking =
                take(bastion.clone(), connection.clone(), (arrivals, place), caller.clone(), streams.clone());
            let (last, ended, gone) = (last.clone(), ended.clone(), connection.cutter.gone().clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = taking => ended.cancel(),
                    () = last.cancelled() => {}
                    () = gone.cancelled() => {}
                }
            });
        }
        Self { streams, last, ended, connection: connection.clone() }
    }

    /// Returns when no more can come: the connection to the target has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Takes no more, and returns when those that are open have ended: a window stays when the shell that opened it has gone.
    pub(super) async fn over(self) {
        self.last.cancel();
        self.streams.close();
        tokio::select! {
            () = self.streams.wait() => {}
            () = self.connection.cutter.ending().cancelled() => {}
            () = self.connection.cutter.gone().cancelled() => {}
        }
    }
}

impl Drop for Returns {
    fn drop(&mut self) {
        self.last.cancel();
    }
}

async fn take(
    bastion: Arc<Bastion>,
    connection: Arc<Connection>,
    (mut arrivals, place): (Arrivals, Option<End>),
    caller: impl Caller,
    streams: TaskTracker,
) {
    while let Some(arrival) = arrivals.next().await {
        let elsewhere = match (&place, arrival.start()) {
            (Some(place), Start::Return(stream)) => stream.to != *place,
            _ => false,
        };
        if elsewhere {
            tracing::warn!("a target says that a stream came where it does not listen; it was refused");
            continue;
        }
        if streams.len() >= MOST {
            tracing::warn!(most = MOST, "a target opened too many streams at once; one was refused");
            continue;
        }
        let (bastion, carried, caller) = (bastion.clone(), connection.carry(), caller.clone());
        streams.spawn(async move { returned(&bastion, carried.connection(), arrival, &caller).await });
    }
}

/// One stream. Whatever stands in its way has been logged; the target only hears that it was refused.
async fn returned(
    bastion: &Arc<Bastion>,
    connection: &Arc<Connection>,
    arrival: Arrival,
    caller: &impl Caller,
) {
    let asked = Asked::from(arrival.start().clone());
    let Ok((recorded, _open)) = Box::pin(begun(bastion, connection, asked)).await else { return };
    let recorded = Box::new(recorded.reached(arrival.reached()));
    let calling = timeout(ANSWER, caller.call(arrival.start()));
    let called = tokio::select! {
        biased;
        () = connection.cutter.ending().cancelled() => None,
        () = connection.cutter.gone().cancelled() => None,
        called = calling => called.ok().and_then(Result::ok),
    };
    let Some(mut ingress) = called else {
        let _ = Box::pin(sealed(bastion, connection, *recorded, How::Untaken)).await;
        return;
    };
    let mut leg = arrival.accept().await;
    let how = relayed(bastion, connection, &recorded, &mut leg, &mut ingress).await;
    if !matches!(how, How::Ended(Ended::Finished { .. })) {
        // Others go on using the connection: the target is told that this one is over.
        leg.close().await;
    }
    ingress.close().await;
    let _ = Box::pin(sealed(bastion, connection, *recorded, how)).await;
}
