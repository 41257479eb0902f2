//! What is open now: connections, their sessions and channels; lists them, cuts them, and asks the policy again.
//! Never decides by itself and never waits for an operator: whoever does not read is cut like anyone else.

mod drain;
mod session;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use policy::{AccountName, ChannelKind, TargetName};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::access::{self, Moment};
use crate::bastion::Bastion;
use crate::ids::{RecordingId, Reference, SessionId};
use crate::login::{Authenticated, Invited, Reason};
pub use drain::Drain;
pub use session::{Open, Session};

/// How long the last words may take before the socket is closed under a client that does not read.
const LAST_WORDS: Duration = Duration::from_millis(400);

/// Why something was cut. The first reason given stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// An administrator ended the session.
    Killed,
    /// What permitted it no longer holds: operator, device, grant or rule.
    NoLongerPermitted,
    /// The time the permit gave is over.
    TimeUp,
    /// Nothing was typed or shown for longer than allowed.
    Idle,
    /// The server is stopping.
    Stopping,
    /// The audit log cannot be written.
    Unlogged,
    /// The client asked for more than a connection may: messages, channels, keys.
    Excess,
}

impl Cut {
    /// The refusal's code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Killed => "SESSION-001",
            Self::NoLongerPermitted => "SESSION-002",
            Self::TimeUp => "SESSION-003",
            Self::Idle => "SESSION-004",
            Self::Stopping => "SESSION-005",
            Self::Unlogged => "SESSION-006",
            Self::Excess => "LIMIT-002",
        }
    }

    /// What the operator is told.
    pub fn told(self) -> &'static str {
        match self {
            Self::Killed => "an administrator ended this session",
            Self::NoLongerPermitted => "this session is no longer permitted",
            Self::TimeUp => "the time of this session is up",
            Self::Idle => "this session was idle for too long",
            Self::Stopping => "the bastion is stopping; connect again in a moment",
            Self::Unlogged => {
                "the bastion cannot keep its log, so nothing may go on; tell your administrator"
            }
            Self::Excess => "this connection asked for more than one may; connect again",
        }
    }
}

/// Ends a connection in two steps: the relays stop and say why, then the socket is closed whatever the peer does.
#[derive(Debug, Clone)]
pub struct Cutter {
    ending: CancellationToken,
    kill: CancellationToken,
    why: Arc<OnceLock<Cut>>,
}

impl Cutter {
    /// A cutter for the connection that `kill` closes.
    pub fn new(kill: CancellationToken) -> Self {
        Self { ending: CancellationToken::new(), kill, why: Arc::default() }
    }

    /// Cuts. Returns at once; the socket is closed within [`LAST_WORDS`].
    pub fn cut(&self, why: Cut) {
        let _ = self.why.set(why);
        self.ending.cancel();
        let kill = self.kill.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LAST_WORDS).await;
            kill.cancel();
        });
    }

    /// Cancelled when the connection has ended.
    pub fn gone(&self) -> &CancellationToken {
        &self.kill
    }

    /// Cancelled when the relays are to stop.
    pub fn ending(&self) -> &CancellationToken {
        &self.ending
    }

    /// Why it was cut, once it was.
    pub fn why(&self) -> Option<Cut> {
        self.why.get().copied()
    }
}

/// A logged-in connection.
#[derive(Debug)]
pub struct Connection {
    /// The operator's address.
    pub peer: SocketAddr,
    /// Ends it.
    pub cutter: Cutter,
    /// Where its channels go.
    pub route: Route,
    /// What ties its refusals, its entries in the log and the server's own messages together.
    pub reference: Reference,
    authenticated: Mutex<Arc<Authenticated>>,
    number: u64,
    session: Mutex<Option<Arc<Session>>>,
    /// Channels and inner connections it carries now.
    busy: watch::Sender<usize>,
}

/// A connection that came by an invitation: no session is ever opened in it.
#[derive(Debug)]
pub struct Guest {
    /// Who was invited, and from which device they came.
    pub invited: Arc<Invited>,
    /// Ends it.
    pub cutter: Cutter,
    number: u64,
}

/// Where the channels of a connection go: as the login name says, or, inside a jump, as the inner host and user say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The target; none when none was named.
    pub target: Option<TargetName>,
    /// The login name on it; none asks for the target's default.
    pub account: Option<AccountName>,
    /// Why they go there, where that was asked.
    pub reason: Option<Reason>,
}

/// One line of `session list --live`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSession {
    /// The session.
    pub id: SessionId,
    /// Who.
    pub operator: String,
    /// From which device, when one was proven.
    pub device: Option<String>,
    /// The target.
    pub target: TargetName,
    /// The login name on it.
    pub account: AccountName,
    /// The operator's address.
    pub peer: SocketAddr,
    /// When the first permit was given.
    pub since: Timestamp,
    /// Channels open now.
    pub channels: usize,
}

/// All that is open now.
#[derive(Debug, Default)]
pub struct Live {
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    guests: Mutex<HashMap<u64, Arc<Guest>>>,
    next: AtomicU64,
    /// Counts the times everything was asked again.
    generation: AtomicU64,
    drain: Drain,
    /// Told whenever somebody has left.
    left: Notify,
}

impl Live {
    /// A login is finished: from now on the connection can be cut.
    pub fn enter(
        &self,
        authenticated: Arc<Authenticated>,
        peer: SocketAddr,
        cutter: Cutter,
        route: Route,
        reference: Reference,
    ) -> Arc<Connection> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let session = Mutex::new(None);
        let connection = Arc::new(Connection {
            authenticated: Mutex::new(authenticated),
            peer,
            cutter,
            route,
            reference,
            number,
            session,
            busy: watch::Sender::new(0),
        });
        lock(&self.connections).insert(number, connection.clone());
        if self.drain.begun() {
            tokio::spawn(stop_at_rest(connection.clone()));
        }
        connection
    }

    /// Somebody came by an invitation: from now on the connection can be cut.
    pub fn receive(&self, invited: Arc<Invited>, cutter: Cutter) -> Arc<Guest> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let guest = Arc::new(Guest { invited, cutter, number });
        lock(&self.guests).insert(number, guest.clone());
        guest
    }

    /// The guest's connection is over.
    pub fn dismiss(&self, guest: &Guest) {
        lock(&self.guests).remove(&guest.number);
        self.left.notify_waiters();
    }

    /// The connection is over.
    pub fn leave(&self, connection: &Connection) {
        lock(&self.connections).remove(&connection.number);
        self.left.notify_waiters();
    }

    /// The sessions open now, oldest first.
    pub fn list(&self) -> Vec<LiveSession> {
        let mut sessions: Vec<LiveSession> =
            self.snapshot().iter().filter_map(|connection| connection.listed()).collect();
        sessions.sort_by(|a, b| (a.since, &a.id).cmp(&(b.since, &b.id)));
        sessions
    }

    /// The channels of one session that are open now, oldest first; `None` when no session of that name is open.
    pub fn channels(&self, id: &SessionId) -> Option<Vec<(RecordingId, ChannelKind)>> {
        let sessions = self.snapshot().into_iter().filter_map(|connection| connection.opened_session());
        let session = sessions.into_iter().find(|session| session.id == *id)?;
        Some(session.open_channels())
    }

    /// Cuts one session; `false` when none of that name is open.
    pub fn kill(&self, id: &SessionId, why: Cut) -> bool {
        let found = self
            .snapshot()
            .into_iter()
            .find(|connection| lock(&connection.session).as_ref().is_some_and(|session| session.id == *id));
        if let Some(connection) = &found {
            connection.cutter.cut(why);
        }
        found.is_some()
    }

    /// Cuts everything.
    pub fn cut_all(&self, why: Cut) {
        for connection in self.snapshot() {
            connection.cutter.cut(why);
        }
        for guest in self.guests() {
            guest.cutter.cut(why);
        }
    }

    /// The server is stopping: nothing new begins, what runs is told, and what carries nothing is cut.
    pub fn stop_within(&self, left: Duration) {
        self.drain.begin(left);
        for connection in self.snapshot() {
            tokio::spawn(stop_at_rest(connection));
        }
    }

    /// Whether the server is stopping.
    pub fn drain(&self) -> &Drain {
        &self.drain
    }

    /// Whether nobody is logged in.
    pub fn is_empty(&self) -> bool {
        lock(&self.connections).is_empty() && lock(&self.guests).is_empty()
    }

    /// Returns once nobody is logged in, and all is said of those who were.
    pub async fn emptied(&self) {
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Registered before looking: who leaves in between is not overlooked.
            left.as_mut().enable();
            if self.is_empty() {
                return;
            }
            left.await;
        }
    }

    /// Asks again, for every connection and channel, whether it still holds; cuts those that do not.
    ///
    /// To be called after anything a decision rests on has changed.
    pub async fn redecide(&self, bastion: &Bastion) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        for connection in self.snapshot() {
            if !connection.still_holds(bastion).await {
                connection.cutter.cut(Cut::NoLongerPermitted);
            }
        }
        for guest in self.guests() {
            if !access::may_enrol(bastion, &guest.invited).await {
                guest.cutter.cut(Cut::NoLongerPermitted);
            }
        }
    }

    /// Changes whenever everything is asked again: a channel that was decided under another number asks once more.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    fn guests(&self) -> Vec<Arc<Guest>> {
        lock(&self.guests).values().cloned().collect()
    }

    fn snapshot(&self) -> Vec<Arc<Connection>> {
        lock(&self.connections).values().cloned().collect()
    }
}

/// Cuts a connection of a server that is stopping once it carries nothing any more.
async fn stop_at_rest(connection: Arc<Connection>) {
    tokio::select! {
        () = connection.at_rest() => connection.cutter.cut(Cut::Stopping),
        () = connection.cutter.gone().cancelled() => {}
    }
}

impl Connection {
    /// Who logged in, from which device and how: as it stands now.
    pub fn authenticated(&self) -> Arc<Authenticated> {
        lock(&self.authenticated).clone()
    }

    /// A newer login of the same connection takes the place of the one that stood; what rests on that one rests on it still.
    ///
    /// INVARIANT: only of a connection that names no target. Its jumps and words ask anew; it has no permits of its own.
    pub fn step_up(&self, newer: Arc<Authenticated>) {
        let mut stands = lock(&self.authenticated);
        if self.route.target.is_none() && newer.second() > stands.second() {
            *stands = newer;
        }
    }

    /// The session of this connection; the first call makes it.
    pub fn session(
        &self,
        target: &TargetName,
        account: &AccountName,
        open: impl FnOnce() -> (SessionId, Timestamp),
    ) -> Arc<Session> {
        let mut slot = lock(&self.session);
        let session = slot.get_or_insert_with(|| {
            let (id, since) = open();
            Arc::new(Session::new(id, target.clone(), account.clone(), since))
        });
        session.clone()
    }

    /// Counts a channel or an inner connection until the guard is dropped.
    pub fn carry(self: &Arc<Self>) -> Carried {
        self.busy.send_modify(|busy| *busy += 1);
        Carried { connection: self.clone() }
    }

    /// Returns once nothing is carried.
    pub async fn at_rest(&self) {
        let _ = self.busy.subscribe().wait_for(|busy| *busy == 0).await;
    }

    /// Returns once nothing has been carried for `limit`.
    pub async fn idle(&self, limit: Duration) {
        let mut busy = self.busy.subscribe();
        loop {
            if busy.wait_for(|busy| *busy == 0).await.is_err() {
                return;
            }
            if tokio::time::timeout(limit, busy.wait_for(|busy| *busy > 0)).await.is_err() {
                return;
            }
        }
    }

    /// The session, when one was opened.
    pub fn opened_session(&self) -> Option<Arc<Session>> {
        lock(&self.session).clone()
    }

    async fn still_holds(&self, bastion: &Bastion) -> bool {
        let authenticated = self.authenticated();
        if !access::may_stay(bastion, &authenticated).await {
            return false;
        }
        let Some(session) = self.opened_session() else { return true };
        let channels: Vec<(Vec<ChannelKind>, Timestamp)> =
            lock(&session.channels).values().cloned().collect();
        for (kinds, asked) in channels {
            let moment = Moment { asked, since: Some(session.since), reason: self.route.reason.as_ref() };
            let (target, account) = (session.target.as_str(), Some(&session.account));
            for kind in kinds {
                if access::decide(bastion, &authenticated, target, account, &kind, moment).await.is_err() {
                    return false;
                }
            }
        }
        true
    }

    fn listed(&self) -> Option<LiveSession> {
        let session = self.opened_session()?;
        let channels = lock(&session.channels).len();
        let authenticated = self.authenticated();
        Some(LiveSession {
            id: session.id.clone(),
            operator: authenticated.operator().to_string(),
            device: authenticated.device().map(ToString::to_string),
            target: session.target.clone(),
            account: session.account.clone(),
            peer: self.peer,
            since: session.since,
            channels,
        })
    }
}

/// Something that a connection carries; dropped when it ends.
#[derive(Debug)]
pub struct Carried {
    connection: Arc<Connection>,
}

impl Carried {
    /// What carries it.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.connection.busy.send_modify(|busy| *busy = busy.saturating_sub(1));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
