//! One connection from its first byte to its last: its source, its login's deadline, its end, and what that leaves behind.
//! Never lets anything that a peer does move the deadline.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use russh::server::{self, Config, Handle};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use super::admission::Offence;
use super::conduct::Conduct;
use super::counts::{self, Dropped};
use super::door::Door;
use super::flow::Pace;
use super::handler::{Handler, Manners, Proof};
use super::overheard::Ear;
use super::places::{Entry, Standing};
use super::proxy;
use super::stalled::stalled;
use super::stream::OperatorStream;
use super::tap::Tap;
use crate::bastion::Bastion;
use crate::read_ahead::ReadAhead;

/// A connection through a proxy, which says first where it comes from.
pub(super) async fn proxied(
    mut stream: ReadAhead<TcpStream>,
    proxy: SocketAddr,
    door: Arc<Door>,
    config: Arc<Config>,
    deadline: Instant,
    waiting: OwnedSemaphorePermit,
) {
    let bastion = door.bastion().clone();
    let named = tokio::select! {
        named = timeout_at(deadline, proxy::source(&mut stream)) => named,
        () = bastion.live.drain().ordered() => return,
    };
    drop(waiting);
    let peer = match named {
        Ok(Ok(named)) => named.unwrap_or(proxy),
        Ok(Err(why)) => {
            tracing::debug!(%proxy, %why, "a proxy did not say where a connection comes from");
            return door.places().dropped(Dropped::Proxy, proxy.ip());
        }
        Err(_) => return door.places().dropped(Dropped::Proxy, proxy.ip()),
    };
    let kill = CancellationToken::new();
    if let Some(place) = door.places().enter(peer.ip(), &kill) {
        connection(stream, peer, door, config, deadline, (place, kill)).await;
    }
}

/// One connection from its first byte to its last, and what it leaves behind.
pub(super) async fn connection(
    stream: ReadAhead<TcpStream>,
    peer: SocketAddr,
    door: Arc<Door>,
    config: Arc<Config>,
    deadline: Instant,
    (place, kill): (Entry, CancellationToken),
) {
    let standing = place.standing().clone();
    let ended = run(stream, peer, &door, config, deadline, (place, kill.clone())).await;
    kill.cancel();
    if !standing.done() && !matches!(ended, Ended::Stopping) {
        let offence = offence(&ended, &standing);
        counts::login(offence.name());
        door.places().punish(peer.ip(), offence);
    }
    if let Ended::Itself(Err(why)) = ended {
        tracing::debug!(%peer, %why, "connection ended");
    }
}

/// How a connection ended.
enum Ended {
    Itself(Result<(), russh::Error>),
    Overdue,
    Stalled,
    /// The server stops, and nothing can follow the login.
    Stopping,
}

async fn run(
    stream: ReadAhead<TcpStream>,
    peer: SocketAddr,
    door: &Arc<Door>,
    config: Arc<Config>,
    deadline: Instant,
    (place, kill): (Entry, CancellationToken),
) -> Ended {
    let pace = Arc::new(Pace::default());
    let conduct = Arc::new(Conduct::new(door.bastion().clock.clone()));
    let (exchange, ear) = (Arc::default(), Arc::<Ear>::default());
    let stream = OperatorStream::new(stream, kill.clone(), pace.clone(), conduct.clone())
        .tapped(Tap::new(Arc::clone(&exchange)), ear.clone())
        .seated(place.seat());
    let proof = Proof { bound: door.bound(exchange), ear };
    let manners = Manners { pace, conduct: conduct.clone() };
    let (handler, entrance) = Handler::new(door, peer, kill.clone(), manners, place, proof);
    let logged_in = entrance.logged_in.clone();
    let stopping = stopping(door.bastion(), &logged_in);
    tokio::pin!(stopping);
    let started = tokio::select! {
        started = timeout_at(deadline, server::run_stream(config, Box::new(stream), handler)) => started,
        () = &mut stopping => return Ended::Stopping,
    };
    let running = match started {
        Ok(Ok(running)) => running,
        Ok(Err(why)) => return Ended::Itself(Err(why)),
        Err(_) => return Ended::Overdue,
    };
    let handle = running.handle();
    entrance.give(handle.clone());
    tokio::pin!(running);
    tokio::select! {
        // Not reset by anything the peer does: only a finished login stops it.
        () = overdue(deadline, &logged_in) => {
            Box::pin(entrance.overdue()).await;
            kill.cancel();
            let _ = running.await;
            Ended::Overdue
        }
        () = stopping => {
            kill.cancel();
            let _ = running.await;
            Ended::Stopping
        }
        () = stuck(handle, &logged_in, &conduct) => {
            conduct.end(Dropped::Stalled);
            kill.cancel();
            let _ = running.await;
            Ended::Stalled
        }
        ended = &mut running => Ended::Itself(ended),
    }
}

/// What is held against the source of a connection that ended before its login did.
fn offence(ended: &Ended, standing: &Standing) -> Offence {
    use russh::Error::{
        ConnectionTimeout, Disconnect, HUP, IO, Join, KeepaliveTimeout, NoCommonAlgo, SendError,
    };
    match ended {
        Ended::Overdue => Offence::Overdue,
        // Said by our own stream: of what is no SSH, and of more than one may say.
        Ended::Itself(Err(IO(why)))
            if matches!(why.kind(), io::ErrorKind::InvalidData | io::ErrorKind::QuotaExceeded) =>
        {
            Offence::Protocol
        }
        // Nobody aborts it: its task has panicked.
        Ended::Itself(Err(Join(_))) => Offence::Crash,
        Ended::Stalled
        | Ended::Stopping
        | Ended::Itself(
            Ok(())
            | Err(
                IO(_)
                | Disconnect
                | HUP
                | KeepaliveTimeout
                | ConnectionTimeout
                | SendError
                | NoCommonAlgo { .. },
            ),
        ) => standing.offence(),
        Ended::Itself(Err(_)) => Offence::Protocol,
    }
}

/// Returns when the login has taken too long; never once it is finished.
pub(super) async fn overdue(deadline: Instant, logged_in: &CancellationToken) {
    tokio::select! {
        () = sleep_until(deadline) => {}
        () = logged_in.cancelled() => std::future::pending().await,
    }
}

/// Returns once the server stops under a login that is not finished: nothing could follow it.
pub(super) async fn stopping(bastion: &Bastion, logged_in: &CancellationToken) {
    bastion.live.drain().ordered().await;
    if logged_in.is_cancelled() {
        std::future::pending().await
    }
}

/// Returns when a connection that is logged in has stalled in a key exchange.
pub(super) async fn stuck(handle: Handle, logged_in: &CancellationToken, conduct: &Conduct) {
    logged_in.cancelled().await;
    stalled(handle, conduct).await;
}
