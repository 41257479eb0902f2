//! What connections of the door share, and what the listener keeps of each while its handler is russh's.
//! Never knows in which phase a connection is.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use russh::server::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::inner::Names;
use super::places::Places;
use super::tap::{Bound, Exchange, HostKeys};
use super::words::Talking;
use crate::bastion::Bastion;
use crate::connection;

/// What all connections of the door share.
pub(super) struct Door {
    bastion: Arc<Bastion>,
    places: Arc<Places>,
    names: Arc<Names>,
    host_keys: Arc<HostKeys>,
    talking: Arc<Talking>,
    /// Connections whose proxy has not said yet where they come from.
    unnamed: Arc<Semaphore>,
}

impl Door {
    pub(super) fn new(bastion: Arc<Bastion>) -> Self {
        let host_keys = Arc::new(HostKeys::new(bastion.keys.host_public()));
        let ssh = &bastion.config.ssh;
        let places = Arc::new(Places::new(ssh, bastion.clock.clone()));
        let unnamed = Arc::new(Semaphore::new(ssh.max_unauthenticated));
        Self {
            bastion,
            places,
            names: Arc::default(),
            talking: Arc::new(Talking::here()),
            host_keys,
            unnamed,
        }
    }

    pub(super) fn bastion(&self) -> &Arc<Bastion> {
        &self.bastion
    }

    /// The certificates of the names that were asked for inside jumps.
    pub(super) fn names(&self) -> &Arc<Names> {
        &self.names
    }

    /// What a connection knows of itself by its own key exchange.
    pub(super) fn bound(&self, exchange: Arc<Exchange>) -> Bound {
        Bound::new(exchange, self.host_keys.clone())
    }

    /// The words that are being said in all connections.
    pub(super) fn talking(&self) -> &Arc<Talking> {
        &self.talking
    }

    /// Places for connections, and what is held against whom.
    pub(super) fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Whether connections from this address say by the PROXY protocol where they come from.
    pub(super) fn is_proxy(&self, address: IpAddr) -> bool {
        self.bastion.config.ssh.proxy_protocol_from.iter().any(|network| network.contains(address))
    }

    /// Room to wait for a proxy's word, while there is some.
    pub(super) fn unnamed(&self) -> Option<OwnedSemaphorePermit> {
        self.unnamed.clone().try_acquire_owned().ok()
    }
}

/// What the listener keeps of a connection while the handler is russh's.
pub(super) struct Entrance {
    bastion: Arc<Bastion>,
    peer: SocketAddr,
    handle: Arc<OnceLock<Handle>>,
    /// Cancelled when the login is finished.
    pub(super) logged_in: CancellationToken,
}

impl Entrance {
    pub(super) fn new(
        bastion: Arc<Bastion>,
        peer: SocketAddr,
        handle: Arc<OnceLock<Handle>>,
        logged_in: CancellationToken,
    ) -> Self {
        Self { bastion, peer, handle, logged_in }
    }

    /// Hands over russh's handle, which exists only once the handler is given away.
    pub(super) fn give(&self, handle: Handle) {
        let _ = self.handle.set(handle);
    }

    /// The login took too long: logged, then the caller ends the connection.
    pub(super) async fn overdue(&self) {
        connection::overdue(&self.bastion, self.peer).await;
    }
}
