//! What a login stands on: the handles it reads and writes through, as they are when the connection is accepted.
//! It never holds anything that was proven.

use std::fmt;
use std::sync::Arc;

use keys::Keys;
use policy::Bundle;

use crate::bastion::Bastion;
use crate::clock::Clock;
use crate::config::DeviceConfig;
use crate::ids::Reference;
use crate::store::Store;

/// The handles of one connection's login.
pub struct Ground {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Operators, keys, authenticators, devices, memory.
    pub store: Store,
    /// Opens the seeds of codes; digests what was written down.
    pub keys: Arc<Keys>,
    /// The bundle in force when the connection was accepted; whoever opens a session asks again.
    pub bundle: Arc<Bundle>,
    /// What a machine must prove.
    pub device: DeviceConfig,
    /// What ties all refusals of this connection to the log.
    pub reference: Reference,
}

impl Ground {
    /// The handles as they are now, and a new reference.
    pub fn of(bastion: &Bastion) -> Self {
        Self {
            clock: bastion.clock.clone(),
            store: bastion.store.clone(),
            keys: bastion.keys.clone(),
            bundle: bastion.access.bundle(),
            device: bastion.config.device.clone(),
            reference: bastion.ids.reference(bastion.clock.now()),
        }
    }
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("reference", &self.reference).finish_non_exhaustive()
    }
}
