//! How many logins may be under way at one target at once.
//! Never limits channels that are already logged in.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use policy::TargetName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Below the ten unauthenticated connections at which OpenSSH begins to drop (`MaxStartups 10:30:100`).
const LOGINS: usize = 8;

/// The places of all targets.
#[derive(Debug, Default)]
pub struct Places {
    targets: Mutex<HashMap<TargetName, Arc<Semaphore>>>,
}

impl Places {
    /// Waits for a place at `target`; it is free again when what is returned is dropped.
    pub(super) async fn place(&self, target: &TargetName) -> Option<OwnedSemaphorePermit> {
        let places = {
            let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
            targets.retain(|name, places| name == target || places.available_permits() < LOGINS);
            targets.entry(target.clone()).or_insert_with(|| Arc::new(Semaphore::new(LOGINS))).clone()
        };
        places.acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_ninth_login_waits_until_one_is_done_and_idle_targets_are_forgotten() {
        let places = Places::default();
        let target = TargetName::parse("web-1").unwrap();
        let mut taken = Vec::new();
        for _ in 0..LOGINS {
            taken.push(places.place(&target).await);
        }
        let ninth = places.place(&target);
        tokio::pin!(ninth);
        assert!(futures_pending(ninth.as_mut()).await);
        taken.pop();
        assert!(ninth.await.is_some());
        drop(taken);
        places.place(&TargetName::parse("db-1").unwrap()).await;
        assert_eq!(places.targets.lock().unwrap().len(), 1);
    }

    async fn futures_pending(future: std::pin::Pin<&mut impl Future>) -> bool {
        tokio::time::timeout(std::time::Duration::from_millis(20), future).await.is_err()
    }
}
