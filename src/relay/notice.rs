//! Words of the bastion's own that come while a channel runs: a line on the operator's stderr, once.
//! Never between the bytes of one message, and never after the end of output.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

/// Words to come.
#[derive(Debug, Clone)]
pub struct Notice {
    words: Option<watch::Receiver<Option<Arc<str>>>>,
    terminal: bool,
}

impl Notice {
    /// The first words that `words` brings; a terminal in raw mode is given a line of its own.
    pub fn new(words: watch::Receiver<Option<Arc<str>>>, terminal: bool) -> Self {
        Self { words: Some(words), terminal }
    }

    /// No words.
    pub fn none() -> Self {
        Self { words: None, terminal: false }
    }

    /// The words, once; then nothing for ever. Cancel-safe.
    pub(super) async fn next(&mut self) -> Arc<str> {
        let found = match &mut self.words {
            Some(words) => words.wait_for(Option::is_some).await.ok().and_then(|found| found.clone()),
            None => None,
        };
        match found {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }

    /// The words as they are to be shown. No others follow.
    pub(super) fn line(&mut self, words: &str) -> Bytes {
        self.words = None;
        Bytes::from(if self.terminal { format!("\r\n{words}\r\n") } else { format!("{words}\n") })
    }
}
