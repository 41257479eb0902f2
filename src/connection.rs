//! A connection from the end of its login to its end: entered in the log and among the living, then its session, then left.
//! Never decides who may log in, and never carries a byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ledger::log::Event;
use policy::TargetName;
use serde_json::Map;

use crate::access::{self, Permitted, about};
use crate::audit::{AuditError, Outcome};
use crate::bastion::Bastion;
use crate::ids::Reference;
use crate::live::{Connection, Cut, Cutter, Guest, Route, Session};
use crate::login::{Attempt, Authenticated, Invited, Reason, Stepped};
use crate::meters;
use crate::recording::Place;
use crate::refusal::Refusal;
use crate::store::{NewSession, SessionEnd, StoreError};

/// A session cannot be opened: what must last cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A login was refused, or goes on with what it has: an entry of `kind` says why.
pub async fn refused(bastion: &Bastion, attempt: &Attempt, why: &Refusal, kind: &str) {
    meters::login(Some(why.code()));
    let mut event = bastion.audit.event(kind);
    attempt.describe(&mut event);
    why.describe(&mut event);
    // A refusal stands also when it cannot be logged.
    if let Err(failed) = bastion.audit.note(event).await {
        tracing::error!(reference = %why.reference(), %failed, "a refused login was not logged");
    }
}

/// A connection ended before its login did; logged where it had tried something.
pub async fn unfinished(bastion: &Bastion, attempt: &Attempt) {
    if let Some(why) = attempt.unfinished() {
        refused(bastion, attempt, &why, "auth.login").await;
    }
}

/// A login took longer than `[ssh] login_grace`.
pub async fn overdue(bastion: &Bastion, peer: SocketAddr) {
    let now = bastion.clock.now();
    let (told, cause) = ("the login took too long", "the login took longer than login_grace");
    let refusal = Refusal::new("LOGIN-008", told, cause, bastion.ids.reference(now));
    let mut event = bastion.audit.event("auth.login");
    event.detail.insert("peer".into(), peer.to_string().into());
    refusal.describe(&mut event);
    meters::login(Some(refusal.code()));
    if let Err(failed) = bastion.audit.note(event).await {
        tracing::error!(%failed, "an overdue login was not logged");
    }
}

/// A finished login becomes a connection: logged first, then listed, then asked once more whether it may stay, so that
/// whoever was disabled in between is not overlooked.
///
/// `None` when the login cannot be logged or no longer holds.
pub async fn enter(
    bastion: &Arc<Bastion>,
    authenticated: Arc<Authenticated>,
    reason: Option<Reason>,
    peer: SocketAddr,
    cutter: Cutter,
    reference: Reference,
) -> Option<Arc<Connection>> {
    let mut event = about(bastion, "auth.login", &authenticated);
    event.outcome = Some("ok".into());
    event.detail = authenticated.detail();
    event.detail.insert("peer".into(), peer.to_string().into());
    event.detail.insert("ref".into(), reference.as_str().into());
    if let Err(why) = bastion.audit.note(event).await {
        tracing::error!(%reference, %why, "a login was refused because it cannot be logged");
        return None;
    }
    meters::login(None);
    let name = authenticated.login_name();
    let route = Route { target: name.target.clone(), account: name.account.clone(), reason };
    let connection = bastion.live.enter(authenticated.clone(), peer, cutter, route, reference);
    if access::may_stay(bastion, &authenticated).await {
        return Some(connection);
    }
    bastion.live.leave(&connection);
    None
}

/// Somebody who came by an invitation: logged first, then listed, then asked once more, as with [`enter`].
///
/// `None` when it cannot be logged or no longer holds.
pub async fn receive(bastion: &Arc<Bastion>, invited: Invited, cutter: Cutter) -> Option<Arc<Guest>> {
    let mut event = bastion.audit.event("auth.login");
    event.operator = Some(invited.operator().to_string());
    event.device = invited.proven().map(|device| device.name().to_string());
    event.outcome = Some("ok".into());
    event.detail = invited.detail();
    event.detail.insert("peer".into(), invited.peer().to_string().into());
    if let Err(why) = bastion.audit.note(event).await {
        tracing::error!(%why, "a login was refused because it cannot be logged");
        return None;
    }
    meters::login(None);
    let guest = bastion.live.receive(Arc::new(invited), cutter);
    if access::may_enrol(bastion, &guest.invited).await {
        return Some(guest);
    }
    bastion.live.dismiss(&guest);
    None
}

/// A connection inside a connection (`ssh -J`): it rests on the outer one's login, or on what that was stepped up to, and goes
/// where its host and user say. The next one inside the same rests on it as well.
///
/// `None` when the outer login no longer holds.
pub async fn enter_inner(
    bastion: &Arc<Bastion>,
    outer: &Connection,
    authenticated: Arc<Authenticated>,
    route: Route,
    cutter: Cutter,
) -> Option<Arc<Connection>> {
    let reference = outer.reference.clone();
    let connection = bastion.live.enter(authenticated.clone(), outer.peer, cutter, route, reference);
    if outer.cutter.why().is_none() && access::may_stay(bastion, &authenticated).await {
        outer.step_up(authenticated);
        return Some(connection);
    }
    bastion.live.leave(&connection);
    None
}

/// An event about more that was asked of who is logged in, on the way to this account.
fn step_up(bastion: &Bastion, authenticated: &Authenticated, route: &Route) -> Event {
    let mut event = about(bastion, "auth.step_up", authenticated);
    event.target = route.target.as_ref().map(ToString::to_string);
    event.account = route.account.as_ref().map(ToString::to_string);
    event.detail.insert("peer".into(), authenticated.peer().to_string().into());
    event
}

/// What was asked for was given, or a code of another connection counts: logged before anything rests on it.
///
/// # Errors
/// When it cannot be logged: then nothing may.
pub async fn stepped_up(bastion: &Bastion, stepped: &Stepped, route: &Route) -> Result<(), AuditError> {
    let Stepped { authenticated, reason, lacking } = stepped;
    let mut event = step_up(bastion, authenticated, route);
    event.outcome = Some("ok".into());
    event.detail.extend(authenticated.detail());
    event.detail.insert("asked".into(), lacking.as_str().into());
    if let Some(reason) = reason {
        event.detail.insert("reason".into(), reason.as_str().into());
    }
    bastion.audit.note(event).await.map(|_| ())
}

/// What was asked for was not given.
pub async fn not_stepped_up(bastion: &Bastion, authenticated: &Authenticated, route: &Route, why: &Refusal) {
    let mut event = step_up(bastion, authenticated, route);
    why.describe(&mut event);
    // A refusal stands also when it cannot be logged.
    if let Err(failed) = bastion.audit.note(event).await {
        tracing::error!(%failed, "a refused step-up was not logged");
    }
}

/// The user name inside a jump to `target` is no account's.
pub async fn refuse_account(bastion: &Bastion, outer: &Connection, target: &TargetName) {
    let reference = outer.reference.clone();
    let cause = "the user name inside a jump is no account's name";
    let why = Refusal::new("LOGIN-007", "no account has this name", cause, reference);
    let mut event = about(bastion, "access.denied", &outer.authenticated());
    event.target = Some(target.to_string());
    why.describe(&mut event);
    if let Err(failed) = bastion.audit.note(event).await {
        tracing::error!(reference = %why.reference(), %failed, "a refused account was not logged");
    }
}

/// Ends a connection that carries nothing for `limit`: it holds no permit, so nobody would ask about it again.
pub async fn idle_out(connection: Arc<Connection>, limit: Duration) {
    tokio::select! {
        () = connection.idle(limit) => connection.cutter.cut(Cut::Idle),
        () = connection.cutter.gone().cancelled() => {}
    }
}

/// The session this channel belongs to, and its place in it.
pub fn session(bastion: &Bastion, connection: &Connection, permitted: &Permitted) -> (Arc<Session>, Place) {
    let session = connection.session(permitted.target(), permitted.account(), || {
        let now = bastion.clock.now();
        (bastion.ids.session(now), now)
    });
    let place = Place { session: session.id.clone(), channel: session.next_channel() };
    (session, place)
}

/// The first permit opens the session.
///
/// # Errors
/// What must last cannot be written: then the channel does not begin.
pub async fn opened(
    bastion: &Bastion,
    connection: &Connection,
    permitted: &Permitted,
    session: &Session,
) -> Result<(), SessionError> {
    session.opened(|| open(bastion, connection, permitted, session)).await
}

async fn open(
    bastion: &Bastion,
    connection: &Connection,
    permitted: &Permitted,
    session: &Session,
) -> Result<crate::audit::Opened, SessionError> {
    let mut event = permitted.event(bastion, "session.session");
    event.session = Some(session.id.to_string());
    event.detail.insert("peer".into(), connection.peer.to_string().into());
    event.detail.insert("ref".into(), connection.reference.as_str().into());
    if let Some(reason) = permitted.reason() {
        event.detail.insert("reason".into(), reason.as_str().into());
    }
    let entry = bastion.audit.open(event).await?;
    meters::session();
    bastion
        .store
        .start_session(&NewSession {
            id: session.id.as_str(),
            operator: permitted.operator().as_str(),
            device: permitted.device().map(policy::DeviceName::as_str),
            target: permitted.target().as_str(),
            account: permitted.account().as_str(),
            peer: &connection.peer.to_string(),
            started: session.since.as_millisecond(),
            reason: permitted.reason().map(Reason::as_str),
        })
        .await?;
    Ok(entry)
}

/// The connection is over: its session is closed in the log and in the store.
pub async fn leave(bastion: Arc<Bastion>, connection: Arc<Connection>) {
    // Channels seal themselves first: the session's end is the last thing said of it. Until all is said the connection is
    // listed, so that a server that stops waits for it.
    connection.at_rest().await;
    if let Some(session) = connection.opened_session() {
        end(&bastion, &connection, &session).await;
    }
    bastion.live.leave(&connection);
}

async fn end(bastion: &Bastion, connection: &Connection, session: &Session) {
    let why = connection.cutter.why();
    let Some(entry) = session.take_entry().await else { return };
    let outcome = match why {
        None => Outcome::Ok,
        Some(cut) => Outcome::Refused { code: cut.code().into(), reason: cut.told().into() },
    };
    if let Err(why) = entry.close(outcome, Map::new()).await {
        tracing::error!(reference = %connection.reference, session = %session.id, %why, "the end of a session was not logged");
    }
    let end = SessionEnd {
        ended: bastion.clock.unix_ms(),
        outcome: if why.is_some() { "cut" } else { "ok" },
        code: why.map(Cut::code),
    };
    if let Err(why) = bastion.store.end_session(session.id.as_str(), &end).await {
        tracing::error!(reference = %connection.reference, session = %session.id, %why, "the end of a session was not stored");
    }
}
