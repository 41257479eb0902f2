//! A connection that is short by nature: it ends by itself after a minute, and has two channels at most.
//! Never decides what is said on them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Channels that may be opened.
const CHANNELS: usize = 2;
/// How long the connection stays.
const STAY: Duration = Duration::from_secs(60);

/// How many more channels there may be.
pub(super) struct Brief {
    left: usize,
}

impl Brief {
    /// Begins; `kill` ends the connection when its time is over.
    pub(super) fn begin(kill: CancellationToken) -> Self {
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(STAY) => kill.cancel(),
                () = kill.cancelled() => {}
            }
        });
        Self { left: CHANNELS }
    }

    /// Whether another channel may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.left > 0
    }

    /// Counts a channel; `false` when there were enough.
    pub(super) fn take(&mut self) -> bool {
        let room = self.has_room();
        self.left = self.left.saturating_sub(1);
        room
    }
}
