//! Asks the operator's client to take a stream that begins on the target.
//! Never leaves a channel open that nobody owns: one that is accepted too late is closed again.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId};
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::conduct::Conduct;
use super::inlet::{FromInlet, Inlet};
use super::tunnel::Tunnel;
use crate::channel::{Caller, End, Gone, Ingress as _, Start, Stream};

/// What the client has confirmed, until the one who asked takes it: the callback comes first, and data right after it.
#[derive(Debug)]
pub(super) struct Confirmed {
    /// Without an inlet where there are too many channels.
    waiting: Mutex<HashMap<ChannelId, Option<Arc<Inlet>>>>,
    came: Notify,
    /// Streams that the client was asked to take and has not answered.
    asked: AtomicUsize,
    /// What answers to us are counted with.
    conduct: Arc<Conduct>,
}

impl Confirmed {
    pub(super) fn new(conduct: Arc<Conduct>) -> Self {
        Self { waiting: Mutex::default(), came: Notify::new(), asked: AtomicUsize::new(0), conduct }
    }

    /// Whether the client was asked anything that it may confirm.
    pub(super) fn expects(&self) -> bool {
        self.asked.load(Ordering::SeqCst) > 0
    }

    /// The client has accepted a channel of ours.
    pub(super) fn put(&self, channel: ChannelId, inlet: Option<Arc<Inlet>>) {
        self.lock().insert(channel, inlet);
        self.came.notify_waiters();
    }

    async fn take(&self, channel: ChannelId) -> Option<Arc<Inlet>> {
        loop {
            let came = self.came.notified();
            tokio::pin!(came);
            came.as_mut().enable();
            if let Some(found) = self.lock().remove(&channel) {
                return found;
            }
            came.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Option<Arc<Inlet>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The operator's client at the other end of one connection.
#[derive(Clone)]
pub(super) struct Client {
    handle: Handle,
    confirmed: Arc<Confirmed>,
    gone: CancellationToken,
}

impl Client {
    pub(super) fn new(handle: Handle, confirmed: Arc<Confirmed>, gone: CancellationToken) -> Self {
        Self { handle, confirmed, gone }
    }

    async fn open(&self, start: Start) -> Option<Tunnel> {
        self.confirmed.asked.fetch_add(1, Ordering::SeqCst);
        let opened = self.ask(start).await;
        let taken = match opened {
            Some(channel) => self.taken(channel).await,
            None => None,
        };
        self.confirmed.asked.fetch_sub(1, Ordering::SeqCst);
        taken
    }

    async fn ask(&self, start: Start) -> Option<Channel<Msg>> {
        let handle = &self.handle;
        let opening = match start {
            Start::Return(Stream { to: End::Tcp { host, port }, from }) => {
                let (from, from_port) = origin(from.as_ref());
                handle.channel_open_forwarded_tcpip(host, port, from, from_port).await
            }
            Start::Return(Stream { to: End::Unix(path), .. }) => {
                handle.channel_open_forwarded_streamlocal(path).await
            }
            Start::Agent => handle.channel_open_agent().await,
            Start::X11(from) => {
                let (from, from_port) = origin(Some(&from));
                handle.channel_open_x11(from, from_port).await
            }
            Start::Shell | Start::Exec(_) | Start::Subsystem(_) | Start::Forward(_) | Start::Listen(_) => {
                return None;
            }
        };
        if opening.is_err() {
            self.confirmed.conduct.refuses();
        }
        opening.ok()
    }

    async fn taken(&self, channel: Channel<Msg>) -> Option<Tunnel> {
        // Without a read half russh's loop never waits for us: data comes by the callbacks alone.
        let (read, half) = channel.split();
        drop(read);
        let Some(inlet) = self.confirmed.take(half.id()).await else {
            let _ = half.close().await;
            return None;
        };
        let from = FromInlet::new(inlet, self.gone.clone());
        Some(Tunnel::new(from, half, None, self.gone.clone()))
    }
}

impl Caller for Client {
    type Back = Tunnel;

    async fn call(&self, start: &Start) -> Result<Tunnel, Gone> {
        let (answer, answered) = oneshot::channel();
        let (client, start) = (self.clone(), start.clone());
        // Goes on when nobody waits any more: what the client accepts then must be closed.
        tokio::spawn(async move {
            let opened = tokio::select! {
                opened = client.open(start) => opened,
                () = client.gone.cancelled() => None,
            };
            if let Err(Some(mut late)) = answer.send(opened) {
                late.close().await;
            }
        });
        answered.await.ok().flatten().ok_or(Gone)
    }
}

/// What a target says of where a stream comes from is passed on as far as it is an address.
fn origin(from: Option<&End>) -> (String, u32) {
    match from {
        Some(End::Tcp { host, port }) if *port <= u32::from(u16::MAX) => {
            let host = host.parse::<IpAddr>().map_or_else(|_| "127.0.0.1".to_owned(), |ip| ip.to_string());
            (host, *port)
        }
        _ => ("127.0.0.1".to_owned(), 0),
    }
}
