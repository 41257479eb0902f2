//! Connected -> Closed: carries one channel between the operator and the target, and records it on the way.
//! Never knows SSH or sockets: the two traits of `channel` stand for the legs, so it runs without a network.

mod notice;
mod pump;

use crate::channel::{FromOperator, FromTarget};
use crate::recording::{self, Unrecorded};

pub use notice::Notice;
pub use pump::{Ended, Limits, run};

/// What takes everything before anyone is shown it.
pub trait Tap: Send + Sync {
    /// Takes a message on its way to the operator.
    ///
    /// # Errors
    /// It must not be shown.
    fn shown(&self, message: &FromTarget) -> Result<(), Unrecorded>;

    /// Takes a message on its way to the target.
    ///
    /// # Errors
    /// It must not be sent.
    fn sent(&self, message: &FromOperator) -> Result<(), Unrecorded>;

    /// Takes words of the bastion's own on their way to the operator.
    ///
    /// # Errors
    /// They must not be shown.
    fn told(&self, words: &str) -> Result<(), Unrecorded>;
}

impl Tap for recording::Tape {
    fn shown(&self, message: &FromTarget) -> Result<(), Unrecorded> {
        self.shown(message)
    }

    fn sent(&self, message: &FromOperator) -> Result<(), Unrecorded> {
        self.sent(message)
    }

    fn told(&self, words: &str) -> Result<(), Unrecorded> {
        self.note(&serde_json::json!({ "told": words }))
    }
}

#[cfg(test)]
mod tests;
