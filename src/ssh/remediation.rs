//! The phase of a proven device that may not connect: every channel is told what to do, and there is no way on.
//! Never reaches a target, a name or a rule; ends by itself after a minute.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::outlet::Operator;
use crate::channel::Ingress;

/// Channels that are told.
const CHANNELS: usize = 2;
/// How long the connection stays.
const STAY: Duration = Duration::from_secs(60);

/// What is said, and how often it may still be said.
pub(super) struct Remediation {
    text: String,
    left: usize,
}

impl Remediation {
    /// Begins the phase; `kill` ends the connection when it is over.
    pub(super) fn new(text: String, kill: CancellationToken) -> Self {
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(STAY) => kill.cancel(),
                () = kill.cancelled() => {}
            }
        });
        Self { text, left: CHANNELS }
    }

    /// What is said.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Counts a channel that is told elsewhere, inside a jump; `false` when there were enough.
    pub(super) fn told_elsewhere(&mut self) -> bool {
        let room = self.left > 0;
        self.left = self.left.saturating_sub(1);
        room
    }

    /// Whether another channel would still be told.
    pub(super) fn has_room(&self) -> bool {
        self.left > 0
    }

    /// Tells one channel.
    pub(super) fn show(&mut self, mut operator: Operator) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let text = self.text.clone();
        tokio::spawn(async move {
            operator.accept().await;
            operator.dismiss(text.trim_end()).await;
        });
    }
}
