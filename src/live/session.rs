//! A session that is open: its channels, and its one entry in the log.
//! Never opens an entry twice, and never lists a channel that has ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use policy::{AccountName, ChannelKind, TargetName};

use super::lock;
use crate::audit::Opened;
use crate::ids::{RecordingId, SessionId};

/// A connection's span to one account of one target.
#[derive(Debug)]
pub struct Session {
    /// Its name everywhere.
    pub id: SessionId,
    /// The target.
    pub target: TargetName,
    /// The login name on it.
    pub account: AccountName,
    /// When the first permit was given.
    pub since: Timestamp,
    pub(super) channels: Mutex<HashMap<RecordingId, (Vec<ChannelKind>, Timestamp)>>,
    /// Channels ever begun.
    begun: AtomicU32,
    /// The session's entry in the log.
    entry: tokio::sync::Mutex<Entry>,
}

/// The session's entry in the log.
#[derive(Debug)]
enum Entry {
    NotYet,
    Open(Box<Opened>),
    Closed,
}

impl Session {
    pub(super) fn new(id: SessionId, target: TargetName, account: AccountName, since: Timestamp) -> Self {
        Self {
            id,
            target,
            account,
            since,
            channels: Mutex::default(),
            begun: AtomicU32::new(0),
            entry: tokio::sync::Mutex::new(Entry::NotYet),
        }
    }

    /// The number of a new channel, from 0.
    pub fn next_channel(&self) -> u32 {
        self.begun.fetch_add(1, Ordering::Relaxed)
    }

    /// Opens the session's entry in the log, once, before any channel goes on.
    ///
    /// # Errors
    /// What `open` says; the next channel tries again.
    pub async fn opened<F, E>(&self, open: impl FnOnce() -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Opened, E>>,
    {
        let mut entry = self.entry.lock().await;
        if matches!(*entry, Entry::NotYet) {
            *entry = Entry::Open(Box::new(open().await?));
        }
        Ok(())
    }

    /// The session's entry, to be closed; `None` when there is none any more.
    pub async fn take_entry(&self) -> Option<Opened> {
        match std::mem::replace(&mut *self.entry.lock().await, Entry::Closed) {
            Entry::Open(opened) => Some(*opened),
            Entry::NotYet | Entry::Closed => None,
        }
    }

    /// The channels that are open, oldest first, by what they are for.
    pub(super) fn open_channels(&self) -> Vec<(RecordingId, ChannelKind)> {
        let channels = lock(&self.channels);
        let first = |(id, (kinds, _)): (&RecordingId, &(Vec<ChannelKind>, Timestamp))| {
            Some((id.clone(), kinds.first()?.clone()))
        };
        let mut open: Vec<_> = channels.iter().filter_map(first).collect();
        // Ids begin with the time.
        open.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        open
    }

    /// A channel of this session begins, asked for at `asked`, which rests on all these kinds; it is listed and re-decided until
    /// the guard is dropped.
    pub fn channel(
        self: &Arc<Self>,
        recording: RecordingId,
        kinds: Vec<ChannelKind>,
        asked: Timestamp,
    ) -> Open {
        lock(&self.channels).insert(recording.clone(), (kinds, asked));
        Open { session: self.clone(), recording }
    }
}

/// A channel that is open; dropped when it ends.
#[derive(Debug)]
pub struct Open {
    session: Arc<Session>,
    recording: RecordingId,
}

impl Drop for Open {
    fn drop(&mut self) {
        lock(&self.session.channels).remove(&self.recording);
    }
}
