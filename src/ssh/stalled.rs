//! Notices a key exchange that a client began and does not finish: meanwhile russh takes nothing from us, so no word and no
//! close would ever reach the client. Never ends a connection only because its client does not read.

use std::time::Duration;

use russh::ChannelId;
use russh::server::Handle;
use ssh_key::encoding::Decode as _;
use tokio::time::{sleep, timeout};

use super::conduct::Conduct;

/// Between two looks.
const BETWEEN: Duration = Duration::from_secs(20);
/// How long an exchange may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// More messages than fit into russh's queue: when all are taken, it takes from it. (`event_buffer_size` of its settings.)
const QUEUE: usize = 10;
/// A channel that there never is: what is said of it goes nowhere.
const NOWHERE: [u8; 4] = [0xff; 4];

/// Returns when the connection has stalled. Never returns once it has ended.
pub(super) async fn stalled(handle: Handle, conduct: &Conduct) {
    let Ok(nowhere) = ChannelId::decode(&mut &NOWHERE[..]) else { return std::future::pending().await };
    loop {
        sleep(BETWEEN).await;
        match timeout(PATIENCE, taken(&handle, nowhere)).await {
            Ok(true) => {}
            Ok(false) => std::future::pending().await,
            Err(_) if conduct.is_blocked() => {}
            Err(_) => return,
        }
    }
}

/// Whether russh took what it was given; `false` when it is gone.
async fn taken(handle: &Handle, nowhere: ChannelId) -> bool {
    for _ in 0..=QUEUE {
        if handle.channel_success(nowhere).await.is_err() {
            return false;
        }
    }
    true
}
