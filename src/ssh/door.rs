//! What connections of the door share, and what the listener keeps of each while its handler is russh's.
//! Never knows in which phase a connection is.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use russh::server::Handle;
use tokio_util::sync::CancellationToken;

use super::inner::Names;
use super::listener::{Place, Places};
use super::tap::{Bound, Exchange, HostKeys};
use super::words::Talking;
use crate::bastion::Bastion;
use crate::connection;
use crate::meters;

/// What all connections of the door share.
pub(super) struct Door {
    bastion: Arc<Bastion>,
    places: Arc<Places>,
    names: Arc<Names>,
    host_keys: Arc<HostKeys>,
    talking: Arc<Talking>,
}

impl Door {
    pub(super) fn new(bastion: Arc<Bastion>) -> Self {
        let host_keys = Arc::new(HostKeys::new(bastion.keys.host_public()));
        Self { bastion, places: Arc::default(), names: Arc::default(), talking: Arc::default(), host_keys }
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

    /// A place for a new connection, while there is one.
    pub(super) fn enter(&self) -> Option<Place> {
        let ssh = &self.bastion.config.ssh;
        let place = Places::take(&self.places, ssh.max_connections, ssh.max_unauthenticated);
        if place.is_none() {
            meters::shed();
        }
        place
    }
}

/// What the listener keeps of a connection while the handler is russh's.
pub(super) struct Entrance {
    bastion: Arc<Bastion>,
    peer: SocketAddr,
    handle: Arc<OnceLock<Handle>>,
    /// Cancelled when the login is finished.
    pub(super) logged_in: CancellationToken,
    _counted: meters::Connected,
}

impl Entrance {
    pub(super) fn new(
        bastion: Arc<Bastion>,
        peer: SocketAddr,
        handle: Arc<OnceLock<Handle>>,
        logged_in: CancellationToken,
    ) -> Self {
        Self { bastion, peer, handle, logged_in, _counted: meters::Connected::new() }
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
