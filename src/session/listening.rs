//! A place where the target listens for the operator (`ssh -R`): decided and recorded like a channel, from the target's yes on.
//! Never listens on the bastion, and outlives neither its permit nor the operator's connection.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::streams::Returns;
use super::{How, begun, reached, sealed, stop, unreached};
use crate::bastion::Bastion;
use crate::channel::{Asked, Caller, End, Start};
use crate::live::{Carried, Cut};
use crate::relay::Ended;
use crate::target::{self, Listener};

/// A target that listens. Dropped, it listens no more.
#[derive(Debug)]
pub struct Listening {
    port: u32,
    stop: CancellationToken,
    over: CancellationToken,
}

impl Listening {
    /// The port, where the target chose it; else 0.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Whether the target listens no more.
    pub fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Listens no more; returns when the target has heard it. Streams that are open go on.
    pub async fn stop(self) {
        self.stop.cancel();
        self.over.cancelled().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Asks the target to listen; `None` when it may not or does not, which is logged.
pub async fn listen(
    bastion: Arc<Bastion>,
    carried: Carried,
    end: End,
    caller: impl Caller,
) -> Option<Listening> {
    let connection = carried.connection().clone();
    let (recorded, open) = begun(&bastion, &connection, Asked::from(Start::Listen(end))).await.ok()?;
    let mut listener = match target::listen(&bastion, recorded, &stop(&connection)).await {
        Ok(listener) => listener,
        Err(unconnected) => {
            let _ = unreached(&bastion, &connection, unconnected).await;
            return None;
        }
    };
    let (stop, over) = (CancellationToken::new(), CancellationToken::new());
    let listening = Listening { port: listener.port(), stop: stop.clone(), over: over.clone() };
    tokio::spawn(async move {
        let returns =
            Returns::come_to(&bastion, &connection, listener.arrivals(), &caller, Some(listener.place()));
        let how = until_stopped(&bastion, &connection, &listener, &stop, &returns).await;
        if matches!(how, How::Ended(Ended::Finished { .. })) {
            listener.stop().await;
            over.cancel();
            returns.over().await;
        }
        over.cancel();
        drop((open, caller));
        let recorded = match how {
            How::Cut(_) => Box::pin(listener.cut()).await,
            _ => Box::pin(listener.leave()).await,
        };
        let _ = Box::pin(sealed(&bastion, &connection, recorded, how)).await;
        drop(carried);
    });
    Some(listening)
}

async fn until_stopped(
    bastion: &Bastion,
    connection: &crate::live::Connection,
    listener: &Listener,
    stop: &CancellationToken,
    returns: &Returns,
) -> How {
    let cutter = &connection.cutter;
    tokio::select! {
        biased;
        () = cutter.ending().cancelled() => How::Cut(cutter.why().unwrap_or(Cut::Killed)),
        () = cutter.gone().cancelled() => How::Ended(Ended::OperatorGone),
        () = stop.cancelled() => How::Ended(Ended::Finished { status: None, signal: None }),
        () = reached(bastion, listener.ends()) => How::Cut(Cut::TimeUp),
        () = returns.ended() => How::Ended(Ended::TargetGone),
    }
}
