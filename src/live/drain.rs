//! The order to stop, as everything that is open hears it: what operators are told, and that nothing new begins.
//! Never ends anything by itself: `Live` does, and the deadline is the listener's.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Whether the server is stopping.
#[derive(Debug)]
pub struct Drain {
    words: watch::Sender<Option<Arc<str>>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { words: watch::Sender::new(None) }
    }
}

impl Drain {
    /// From now on nothing new begins; what runs is told that it has `left`.
    pub(super) fn begin(&self, left: Duration) {
        let left = match left.as_secs() {
            0..=1 => "a moment".to_owned(),
            seconds @ 2..=119 => format!("{seconds} seconds"),
            seconds => format!("{} minutes", seconds / 60),
        };
        let words = format!("bartizan: the bastion is stopping; this session may go on for {left} at most");
        self.words.send_replace(Some(words.into()));
    }

    /// Whether the order was given.
    pub fn begun(&self) -> bool {
        self.words.borrow().is_some()
    }

    /// The words for whoever has a channel open, once there are any.
    pub fn words(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.words.subscribe()
    }

    /// Returns once the order is given.
    pub async fn ordered(&self) {
        let _ = self.words.subscribe().wait_for(Option::is_some).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_before_and_who_comes_after_the_order_hear_the_same() {
        for (left, said) in [
            (0, "a moment"),
            (30, "30 seconds"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (3600, "60 minutes"),
        ] {
            let drain = Drain::default();
            let before = drain.words();
            assert!(!drain.begun() && before.borrow().is_none());
            drain.begin(Duration::from_secs(left));
            drain.ordered().await;
            let line =
                format!("bartizan: the bastion is stopping; this session may go on for {said} at most");
            for heard in [before, drain.words()] {
                assert_eq!(heard.borrow().as_deref(), Some(line.as_str()));
            }
        }
    }
}
