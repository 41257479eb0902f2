//! The phase of a proven device that may not connect: every channel is told what to do, and there is no way on.
//! Never reaches a target, a name or a rule; ends by itself after a minute.

use tokio_util::sync::CancellationToken;

use super::brief::Brief;
use super::outlet::Operator;
use crate::channel::Ingress;

/// What is said, and how often it may still be said.
pub(super) struct Remediation {
    text: String,
    brief: Brief,
}

impl Remediation {
    /// Begins the phase; `kill` ends the connection when it is over.
    pub(super) fn new(text: String, kill: CancellationToken) -> Self {
        Self { text, brief: Brief::begin(kill) }
    }

    /// What is said.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Counts a channel that is told elsewhere, inside a jump; `false` when there were enough.
    pub(super) fn told_elsewhere(&mut self) -> bool {
        self.brief.take()
    }

    /// Whether another channel would still be told.
    pub(super) fn has_room(&self) -> bool {
        self.brief.has_room()
    }

    /// Tells one channel.
    pub(super) fn show(&mut self, mut operator: Operator) {
        if !self.brief.take() {
            return;
        }
        let text = self.text.clone();
        tokio::spawn(async move {
            operator.accept().await;
            operator.dismiss(text.trim_end()).await;
        });
    }
}
