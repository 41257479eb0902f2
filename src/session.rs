//! The story of a channel, in order: wanted, permitted, recorded, connected, closed, sealed.
//! Never holds a phase that was not reached by the one before it.

mod answers;
mod listening;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::Instrument as _;

use crate::access::{self, Moment, Permitted, Refused, Wanted};
use crate::audit::Outcome;
use crate::bastion::Bastion;
use crate::channel::{Asked, Caller, Ingress, Start};
use crate::connection;
use crate::device;
use crate::live::{Carried, Connection, Cut, Open, Route, Session};
use crate::meters;
use crate::recording::{self, Recorded};
use crate::refusal::Refusal;
use crate::relay::{self, Ended, Limits, Notice};
use crate::target::{self, Asks, ConnectError, Leg, Stop, Unconnected};

use answers::Answers;
pub use listening::{Listening, listen};
use streams::Returns;

/// What is told to who named no target.
const NO_TARGET: &str = "name a target: ssh operator+account+target@bastion";
/// What is told to who asks for what is no name and no place.
const MALFORMED: &str = "what was asked for is not well-formed; write addresses in their usual form";
/// What is told to who would go on without the bastion.
const LEAVES_SSH: &str = "Mosh goes on by UDP, past the bastion, where nothing is recorded; use ssh";
/// What is told when a decision cannot be made.
const NOT_NOW: &str = "the bastion cannot decide now; try again in a moment";
/// What is told when nothing can be recorded.
const NOT_RECORDED: &str = "this session cannot be recorded, so it may not go on; tell your administrator";
/// What is told when a target's connection breaks.
const TARGET_GONE: &str = "the target's connection ended";
/// How often the wall clock is looked at while a deadline is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Runs one channel from its request to its seal, and tells the operator when it may not be.
pub async fn run(
    bastion: Arc<Bastion>,
    carried: Carried,
    asked: Box<Asked>,
    mut ingress: impl Ingress,
    caller: impl Caller,
) {
    let span = tracing::info_span!("channel", reference = %carried.connection().reference);
    let told = story(&bastion, carried.connection(), asked, &mut ingress, &caller).instrument(span).await;
    if let Err(refusal) = told {
        ingress.refuse(&refusal).await;
    }
}

/// The story. Each phase is moved into the next; whoever reads only this function knows what happens to a channel.
/// What takes a moment is boxed, and what it gives: its state would lie in every channel for as long as it lasts.
async fn story(
    bastion: &Arc<Bastion>,
    connection: &Arc<Connection>,
    asked: Box<Asked>,
    ingress: &mut impl Ingress,
    caller: &impl Caller,
) -> Result<(), Refusal> {
    let (recorded, _open) = Box::pin(begun(bastion, connection, *asked)).await?;
    let warnings = recorded.permitted().warnings().to_vec();
    let mut answers = Answers::of(ingress, &recorded);
    let asks = answers.as_mut().map(|answers| answers as &mut dyn Asks);
    let connected = Box::pin(target::connect(bastion, recorded, &stop(connection), asks)).await;
    let mut connected = match connected {
        Ok(connected) => connected,
        Err(unconnected) => {
            let cut = connection.cutter.why().filter(|_| matches!(unconnected.why, ConnectError::Stopped));
            let end = unreached(bastion, connection, *unconnected);
            return match cut {
                Some(cut) => Box::pin(telling(connection, cut, ingress, end)).await,
                None => Box::pin(end).await,
            };
        }
    };
    ingress.accept().await;
    ingress.notice(&warnings).await;
    let returns = Returns::of(bastion, connection, connected.arrivals(), caller);
    let (recorded, leg) = connected.parts();
    let ended = relayed(bastion, connection, recorded, leg, ingress).await;
    if matches!(ended, How::Ended(Ended::Finished { .. })) {
        ingress.close().await;
    }
    if let How::Cut(cut) = ended {
        let end = async { sealed(bastion, connection, connected.cut().await, ended).await };
        return Box::pin(telling(connection, cut, ingress, end)).await;
    }
    returns.over().await;
    let recorded = Box::pin(connected.leave()).await;
    Box::pin(sealed(bastion, connection, recorded, ended)).await
}

/// Tells the operator of a cut while the channel is ended: the connection is closed a moment later, however long the disk takes.
async fn telling(
    connection: &Connection,
    cut: Cut,
    ingress: &mut impl Ingress,
    end: impl Future<Output = Result<(), Refusal>>,
) -> Result<(), Refusal> {
    let why = refusal(connection, cut.code(), cut.told().to_owned(), cut.told().to_owned());
    // What the end answers has just been told.
    let _ = tokio::join!(ingress.refuse(&why), end);
    Ok(())
}

/// Wanted, permitted, recorded, listed: from here on it can be cut, and nothing is dialled yet.
async fn begun(
    bastion: &Arc<Bastion>,
    connection: &Connection,
    asked: Asked,
) -> Result<(Box<Recorded>, Open), Refusal> {
    let generation = bastion.live.generation();
    let wanted = wanted(connection, asked);
    let permitted = permit(bastion, connection, wanted).await?;
    let (session, place) = connection::session(bastion, connection, &permitted);
    let (opened, made) = tokio::join!(
        connection::opened(bastion, connection, &permitted, &session),
        recording::make(bastion, &permitted, &place),
    );
    opened.map_err(|why| unrecorded(connection, &why))?;
    let made = made.map_err(|why| unrecorded(connection, &why))?;
    let recorded = recording::start(bastion, permitted, place, made)
        .await
        .map_err(|why| unrecorded(connection, &why))?;
    let open = listed(&session, &recorded);
    let recorded = settled(bastion, connection, &session, generation, recorded).await?;
    Ok((Box::new(recorded), open))
}

/// Whether a session channel may also use the operator's agent or screen. The no is logged; the yes is part of the channel's
/// recording and is asked again with it.
pub async fn may(bastion: &Bastion, connection: &Connection, asked: Asked) -> bool {
    let wanted = wanted(connection, asked);
    permit(bastion, connection, wanted).await.is_ok()
}

fn wanted(connection: &Connection, asked: Asked) -> Wanted {
    let Route { target, account, reason } = connection.route.clone();
    Wanted::new(connection.authenticated(), target, account, reason, asked)
}

fn stop(connection: &Connection) -> Stop {
    Stop { ending: connection.cutter.ending().clone(), gone: connection.cutter.gone().clone() }
}

/// How a channel ended: by itself, or because it was cut.
enum How {
    Ended(Ended),
    Cut(Cut),
    /// A stream was not taken while others on its connection to the target waited for it.
    Stalled,
    /// The operator's client did not take a stream that began on the target.
    Untaken,
}

/// Asks the policy, and logs a refusal before it is told.
async fn permit(bastion: &Bastion, connection: &Connection, wanted: Wanted) -> Result<Permitted, Refusal> {
    let since = connection.opened_session().map(|session| session.since);
    let (wanted, refusal) = if bastion.live.drain().begun() {
        let cut = Cut::Stopping;
        (wanted, refusal(connection, cut.code(), cut.told().into(), "the server is stopping".into()))
    } else {
        match access::permit(bastion, wanted, since).await {
            Ok(permitted) => return Ok(permitted),
            Err((wanted, refused)) => (wanted, explained(connection, &refused)),
        }
    };
    meters::refused(refusal.code());
    let mut event = wanted.event(bastion, "access.denied");
    refusal.describe(&mut event);
    // A refusal stands also when it cannot be logged.
    let _ = bastion.audit.note(event).await;
    Err(refusal)
}

/// What the policy said, in the operator's words and in the log's.
fn explained(connection: &Connection, refused: &Refused) -> Refusal {
    match refused {
        Refused::Malformed(_) => refusal(connection, "ACCESS-010", MALFORMED.into(), refused.to_string()),
        Refused::LeavesSsh => refusal(connection, "ACCESS-011", LEAVES_SSH.into(), refused.to_string()),
        Refused::NoTarget => refusal(connection, "ACCESS-009", NO_TARGET.into(), refused.to_string()),
        Refused::Denied(denial) => {
            let refusal = refusal(connection, denial.code(), denial.told(), denial.to_string());
            refusal.shown_as(denial.told_code())
        }
        Refused::Below(below) => {
            let told = "this device may not connect there yet";
            let refusal = refusal(connection, "POSTURE-009", told.into(), below.cause());
            let authenticated = connection.authenticated();
            let device = authenticated.proven().map(device::Proven::known);
            let text = device.map(|device| below.text(device, refusal.reference().as_str()));
            refusal.with_text(text)
        }
        Refused::Store(_) => refusal(connection, "ACCESS-006", NOT_NOW.into(), refused.to_string()),
    }
}

/// A channel that was decided before something changed is decided once more, now that it is listed and can be cut.
async fn settled(
    bastion: &Bastion,
    connection: &Connection,
    session: &Session,
    generation: u64,
    recorded: Recorded,
) -> Result<Recorded, Refusal> {
    if bastion.live.generation() == generation {
        return Ok(recorded);
    }
    let permitted = recorded.permitted();
    let reason = permitted.reason();
    let moment = Moment { asked: permitted.at(), since: Some(session.since), reason };
    let (target, account) = (permitted.target().as_str(), Some(permitted.account()));
    let again =
        access::decide(bastion, permitted.authenticated(), target, account, permitted.kind(), moment).await;
    if again.is_ok() {
        return Ok(recorded);
    }
    let cut = Cut::NoLongerPermitted;
    sealed(bastion, connection, recorded, How::Cut(cut)).await?;
    Err(refusal(connection, cut.code(), cut.told().into(), cut.told().into()))
}

fn listed(session: &Arc<Session>, recorded: &Recorded) -> Open {
    let permitted = recorded.permitted();
    session.channel(recorded.id().clone(), permitted.kinds(), permitted.at())
}

/// Carries the channel until it ends by itself, is cut, or its time is up.
async fn relayed(
    bastion: &Bastion,
    connection: &Connection,
    recorded: &Recorded,
    leg: &mut Leg,
    ingress: &mut impl Ingress,
) -> How {
    let permitted = recorded.permitted();
    let terminal = permitted.asked().terminal.is_some();
    let idle = terminal.then_some(bastion.config.ssh.idle_timeout);
    let cutter = &connection.cutter;
    let program = permitted.asked().start.is_session();
    // A bare stream has no place for words.
    let notice = match program {
        true => Notice::new(bastion.live.drain().words(), terminal),
        false => Notice::none(),
    };
    let limits =
        Limits { cut: cutter.ending().clone(), gone: cutter.gone().clone(), idle, notice, program, terminal };
    // What begins on the target comes on a connection that others wait on; what the operator opens has its own.
    let shares = !program && !matches!(permitted.asked().start, Start::Forward(_));
    let watch = leg.watch();
    let deadline = permitted.permit().ends();
    let tape = recorded.tape().clone();
    tokio::select! {
        ended = relay::run(ingress, leg, tape.as_ref(), &limits) => match ended {
            Ended::Cut => How::Cut(connection.cutter.why().unwrap_or(Cut::Killed)),
            Ended::Idle => How::Cut(Cut::Idle),
            ended => How::Ended(ended),
        },
        () = reached(bastion, deadline) => How::Cut(Cut::TimeUp),
        () = Leg::holds_up_others(watch), if shares => How::Stalled,
    }
}

async fn reached(bastion: &Bastion, deadline: Option<Timestamp>) {
    let Some(deadline) = deadline else { return std::future::pending().await };
    // The wall clock may jump: it is looked at again now and then.
    loop {
        let left = Duration::try_from(deadline.duration_since(bastion.clock.now())).unwrap_or_default();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}

/// Seals the recording with how the channel ended; the refusal is for the operator who is still there to read it.
async fn sealed(
    bastion: &Bastion,
    connection: &Connection,
    recorded: Recorded,
    how: How,
) -> Result<(), Refusal> {
    let mut detail = Map::new();
    let (outcome, told) = match how {
        How::Cut(cut) => {
            let outcome = Outcome::Refused { code: cut.code().into(), reason: cut.told().into() };
            (outcome, Some((cut.code(), cut.told())))
        }
        How::Ended(Ended::Finished { status, signal }) => {
            if recorded.permitted().asked().start.is_session() {
                detail.insert("exit".into(), status.into());
                detail.insert("signal".into(), signal.into());
            }
            (Outcome::Ok, None)
        }
        How::Untaken => {
            let reason = "the operator's client refused it, or did not answer".to_owned();
            (Outcome::Failed { code: Some("SESSION-008".into()), reason }, None)
        }
        How::Stalled => {
            let reason =
                "the operator's side took nothing of it, and all that comes with it from the target waited"
                    .to_owned();
            (Outcome::Failed { code: Some("SESSION-007".into()), reason }, None)
        }
        How::Ended(Ended::Unrecorded(why)) => {
            let outcome = Outcome::Failed { code: Some("RECORD-001".into()), reason: why.to_string() };
            (outcome, Some(("RECORD-001", NOT_RECORDED)))
        }
        How::Ended(Ended::TargetGone) => {
            let reason = "the target's connection ended before the program did".to_owned();
            (Outcome::Failed { code: Some("TARGET-002".into()), reason }, Some(("TARGET-002", TARGET_GONE)))
        }
        How::Ended(Ended::OperatorGone | Ended::Cut | Ended::Idle) => {
            detail.insert("operator_gone".into(), true.into());
            (Outcome::Ok, None)
        }
    };
    let cause = match &outcome {
        Outcome::Refused { reason, .. } | Outcome::Failed { reason, .. } => reason.clone(),
        Outcome::Ok => String::new(),
    };
    let refusal = told.map(|(code, told)| refusal(connection, code, told.to_owned(), cause));
    if let Some(refusal) = &refusal {
        detail.insert("ref".into(), refusal.reference().to_string().into());
    }
    if let Err(why) = recorded.seal(bastion, outcome, detail).await {
        tracing::error!(%why, "a recording was not sealed; upkeep closes it once it can");
    }
    refusal.map_or(Ok(()), Err)
}

/// A target that was not reached: the recording says so and is sealed.
async fn unreached(
    bastion: &Bastion,
    connection: &Connection,
    unconnected: Unconnected,
) -> Result<(), Refusal> {
    let Unconnected { recorded, why } = unconnected;
    if matches!(why, ConnectError::Stopped) {
        let how = connection.cutter.why().map_or(How::Ended(Ended::OperatorGone), How::Cut);
        return sealed(bastion, connection, recorded, how).await;
    }
    let refusal = refusal(connection, why.code(), why.told().to_owned(), why.to_string());
    let outcome = Outcome::Failed { code: Some(why.code().into()), reason: why.to_string() };
    let mut detail: Map<String, Value> = Map::new();
    detail.insert("ref".into(), refusal.reference().to_string().into());
    if let Err(why) = recorded.seal(bastion, outcome, detail).await {
        tracing::error!(%why, "a recording was not sealed; upkeep closes it once it can");
    }
    Err(refusal)
}

fn unrecorded(connection: &Connection, why: &dyn std::error::Error) -> Refusal {
    let refusal = refusal(connection, "RECORD-001", NOT_RECORDED.to_owned(), why.to_string());
    meters::refused(refusal.code());
    tracing::error!(%why, "a channel did not begin because it cannot be recorded");
    refusal
}

fn refusal(connection: &Connection, code: &'static str, told: String, cause: String) -> Refusal {
    Refusal::new(code, told, cause, connection.reference.clone())
}
