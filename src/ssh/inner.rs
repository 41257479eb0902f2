//! The server inside `ssh -J`: a name asked for by `direct-tcpip` gets an SSH server of ours, never a socket to anywhere.
//! Never tells whether a name is registered: every well-formed one gets the same server with a certificate for that name.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use policy::TargetName;
use russh::ChannelWriteHalf;
use russh::server::{self, Config, Msg};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::conduct::Conduct;
use super::counts::Dropped;
use super::flow::Pace;
use super::handler::{Handler, Manners};
use super::inlet::{FromInlet, Inlet};
use super::listener::{ServeError, protocol};
use super::stream::OperatorStream;
use super::visit::{overdue, stopping, stuck};
use crate::access;
use crate::bastion::Bastion;
use crate::channel::{FromOperator, Source as _};
use crate::clock::Watch;
use crate::ids::Reference;
use crate::live::Connection;
use crate::refusal::Refusal;

/// Names whose certificates are kept; a scan of names makes them anew instead of filling memory.
const NAMES: usize = 1024;
/// How long a name's certificate is valid, in seconds, and how long it is used.
const CERTIFIED: u64 = 600;
const KEPT: Duration = Duration::from_secs(300);

/// What an inner connection rests on.
pub(super) enum Outer {
    /// A login.
    Open(Arc<Connection>),
    /// A proven device that may not connect: only its text goes on.
    Remediation(String),
}

/// An inner connection whose user name has not come yet.
pub(super) struct Arriving {
    pub(super) outer: Outer,
    pub(super) name: TargetName,
    pub(super) kill: CancellationToken,
    /// Ties what is told in its login to the log.
    pub(super) reference: Reference,
    /// A user name that is no account was logged: once a connection is enough.
    pub(super) refused: bool,
}

impl Arriving {
    /// Told before anything is asked, for clients that cannot be asked: they leave without another word. Only where every
    /// account that the operator has a way to asks.
    pub(super) async fn forewarning(&self, bastion: &Bastion) -> Option<String> {
        let Outer::Open(outer) = &self.outer else { return None };
        let lacking = access::askable_anywhere(bastion, &outer.authenticated(), &self.name).await.ok()?;
        let told = format!(
            "{} asks for {}; a client that cannot be asked (BatchMode) is not let in",
            self.name,
            lacking.as_str()
        );
        let refusal = Refusal::new("ACCESS-005", told, "", self.reference.clone());
        lacking.anything().then(|| refusal.line())
    }
}

/// A channel that is to become an inner connection.
pub(super) struct Jump {
    pub(super) outer: Outer,
    pub(super) name: TargetName,
    pub(super) inlet: Arc<Inlet>,
    pub(super) half: ChannelWriteHalf<Msg>,
    /// Cancelled when the channel is closed or the outer connection ends.
    pub(super) gone: CancellationToken,
    pub(super) peer: std::net::SocketAddr,
}

/// Serves the inner connection until it or the outer one ends.
pub(super) async fn serve(bastion: Arc<Bastion>, names: Arc<Names>, jump: Jump) {
    let Jump { outer, name, inlet, half, gone, peer } = jump;
    let _carried = match &outer {
        Outer::Open(connection) => Some(connection.carry()),
        Outer::Remediation(_) => None,
    };
    let config = match names.config(&bastion, &name) {
        Ok(config) => config,
        Err(why) => {
            tracing::error!(%why, "no certificate for an inner name");
            return;
        }
    };
    let kill = gone.child_token();
    let pace = Arc::new(Pace::default());
    let stream = InnerStream::new(FromInlet::new(inlet, gone.clone()), &half);
    let conduct = Arc::new(Conduct::new(bastion.clock.clone()));
    let stream = OperatorStream::new(stream, kill.clone(), pace.clone(), conduct.clone());
    let reference = match &outer {
        Outer::Open(connection) => connection.reference.clone(),
        Outer::Remediation(_) => bastion.ids.reference(bastion.clock.now()),
    };
    let arriving = Arriving { outer, name, kill: kill.clone(), reference, refused: false };
    let manners = Manners { pace, conduct: conduct.clone() };
    let (handler, logged_in) = Handler::inner(bastion.clone(), peer, kill.clone(), manners, arriving);
    let deadline = Instant::now() + bastion.config.ssh.login_grace;
    let handle = handler.handle.clone();
    if let Ok(Ok(running)) = timeout_at(deadline, server::run_stream(config, Box::new(stream), handler)).await
    {
        let _ = handle.set(running.handle());
        let handle = running.handle();
        tokio::pin!(running);
        tokio::select! {
            () = overdue(deadline, &logged_in) => kill.cancel(),
            () = stopping(&bastion, &logged_in) => kill.cancel(),
            () = stuck(handle, &logged_in, &conduct) => {
                conduct.end(Dropped::Stalled);
                kill.cancel();
            }
            _ = &mut running => {}
        }
    }
    kill.cancel();
    tokio::select! {
        _ = half.close() => {}
        () = gone.cancelled() => {}
    }
}

/// The settings with a certificate for each name that was asked for lately.
#[derive(Default)]
pub(super) struct Names {
    made: Mutex<HashMap<TargetName, (Watch, Arc<Config>)>>,
}

impl Names {
    /// The settings for `name`.
    pub(super) fn config(&self, bastion: &Bastion, name: &TargetName) -> Result<Arc<Config>, ServeError> {
        let clock = bastion.clock.as_ref();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, config)) = made.get(name)
            && at.steady(clock).is_some_and(|age| age < KEPT)
        {
            return Ok(config.clone());
        }
        if made.len() >= NAMES {
            made.clear();
        }
        let config = Arc::new(protocol(bastion, &[name.to_string()], CERTIFIED)?);
        made.insert(name.clone(), (Watch::begin(clock), config.clone()));
        Ok(config)
    }
}

/// The bytes of a channel as a stream: in by the inlet, out by the channel's window.
struct InnerStream {
    from: FromInlet,
    current: Bytes,
    ended: bool,
    to: Pin<Box<dyn AsyncWrite + Send>>,
}

impl InnerStream {
    fn new(from: FromInlet, half: &ChannelWriteHalf<Msg>) -> Self {
        Self { from, current: Bytes::new(), ended: false, to: Box::pin(half.make_writer()) }
    }
}

impl AsyncRead for InnerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if self.current.has_remaining() {
                let length = self.current.len().min(buffer.remaining());
                buffer.put_slice(&self.current.split_to(length));
                self.from.settle(length);
                return Poll::Ready(Ok(()));
            }
            if self.ended {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.from.poll_message(context)) {
                Some(FromOperator::Data(bytes)) => self.current = bytes,
                Some(FromOperator::Eof | FromOperator::Close) | None => self.ended = true,
                // A byte stream has no size and no signals.
                Some(other) => self.from.settle(other.size()),
            }
        }
    }
}

impl AsyncWrite for InnerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.from.poll_gone(context)?;
        self.to.as_mut().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.to.as_mut().poll_flush(context)
    }

    /// The end of the channel is told by its close, when the client has left: OpenSSH takes an end of output for an end of both
    /// directions, and a client that just answers something would not read the words of the disconnect.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.from.poll_gone(context).is_err() {
            return Poll::Ready(Ok(()));
        }
        self.to.as_mut().poll_flush(context)
    }
}
