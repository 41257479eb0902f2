//! The phase of a device that comes alone: it has proven a key, and may now bring its token, by `enroll TOKEN`; or it is enrolled
//! already, and is told which facts it is asked for.
//! Never reaches a target, a name or a rule; ends by itself after a minute, and a token is tried twice at most.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Map;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::brief::Brief;
use super::outlet::Operator;
use crate::audit::Outcome;
use crate::bastion::Bastion;
use crate::channel::{FromTarget, Ingress, Sink, Start};
use crate::device::{self, EnrolError, Enrolled, Proven};
use crate::refusal::Refusal;

/// What a command that enrols begins with.
const COMMAND: &str = "enroll ";
/// The event of a machine that brings its token.
const ENROLMENT: &str = "device.enrolment";
/// The event of a device that is told what it is asked for.
const FACTS: &str = "device.facts";
/// What is told where nothing can be logged.
const NOT_NOW: &str = "the bastion cannot answer devices now; try again in a moment";

/// What the device came for, and how many more channels it may open.
pub(super) struct Visit {
    errand: Errand,
    peer: SocketAddr,
    brief: Brief,
}

#[derive(Clone)]
enum Errand {
    Enrol(Arc<device::Enrolment>),
    Facts(Arc<Proven>),
}

impl Visit {
    /// Of a machine that is to be enrolled; `kill` ends the connection when its time is over.
    pub(super) fn to_enrol(enrolment: device::Enrolment, peer: SocketAddr, kill: CancellationToken) -> Self {
        Self { errand: Errand::Enrol(Arc::new(enrolment)), peer, brief: Brief::begin(kill) }
    }

    /// Of an enrolled device that asks for the facts; `kill` as above.
    pub(super) fn for_facts(device: Proven, peer: SocketAddr, kill: CancellationToken) -> Self {
        Self { errand: Errand::Facts(Arc::new(device)), peer, brief: Brief::begin(kill) }
    }

    /// Whether another channel may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.brief.has_room()
    }

    /// Does what the device came for, whatever else is asked for.
    pub(super) fn begin(&mut self, bastion: &Arc<Bastion>, start: Start, mut operator: Operator) {
        if !self.brief.take() {
            return;
        }
        let (bastion, errand, peer) = (bastion.clone(), self.errand.clone(), self.peer);
        tokio::spawn(async move {
            operator.accept().await;
            let said = match &errand {
                Errand::Enrol(enrolment) => {
                    let token = token(&start);
                    let token = token.as_ref().map(|token| token.as_str());
                    complete(&bastion, enrolment, token, peer).await.map(|enrolled| outcome(&enrolled))
                }
                Errand::Facts(device) => facts(&bastion, device, peer).await,
            };
            match said {
                Ok(text) => tell(&mut operator, text).await,
                Err(refusal) => operator.dismiss(&refusal.line()).await,
            }
        });
    }
}

/// The token of `enroll TOKEN`; none of anything else.
fn token(start: &Start) -> Option<Zeroizing<String>> {
    let Start::Exec(command) = start else { return None };
    let token = std::str::from_utf8(command).ok()?.strip_prefix(COMMAND)?.trim();
    Some(Zeroizing::new(token.to_owned()))
}

/// Uses the token up, between two entries of the log: no entry, no enrolment.
async fn complete(
    bastion: &Bastion,
    enrolment: &device::Enrolment,
    token: Option<&str>,
    peer: SocketAddr,
) -> Result<Enrolled, Refusal> {
    let mut event = bastion.audit.event(ENROLMENT);
    event.device = Some(enrolment.device().to_owned());
    event.operator = Some(enrolment.operator().to_owned());
    event.detail.insert("peer".into(), peer.to_string().into());
    event.detail.insert("device_key".into(), enrolment.fingerprint().into());
    event.detail.insert("keeper".into(), enrolment.report().agent.key.as_str().into());
    let opened = bastion.audit.open(event).await.map_err(|why| enrolment.refusal(&why))?;
    let done = match token {
        Some(token) => enrolment.complete(&bastion.store, token, bastion.clock.now()).await,
        None => Err(EnrolError::Other),
    };
    let done = done.map_err(|why| enrolment.refusal(&why));
    let mut detail = Map::new();
    let outcome = match &done {
        Ok(enrolled) => {
            detail.insert("state".into(), enrolled.state.as_str().into());
            Outcome::Ok
        }
        Err(refusal) => {
            detail.insert("ref".into(), refusal.reference().as_str().into());
            Outcome::Refused { code: refusal.code().to_owned(), reason: refusal.cause().to_owned() }
        }
    };
    if let Err(failed) = opened.close(outcome, detail).await {
        tracing::error!(%failed, "the end of an enrolment was not logged");
    }
    done
}

/// The list of facts, once it is logged that it was asked for.
async fn facts(bastion: &Bastion, device: &Proven, peer: SocketAddr) -> Result<String, Refusal> {
    let mut event = bastion.audit.event(FACTS);
    event.device = Some(device.name().to_string());
    event.outcome = Some("ok".to_owned());
    event.detail.insert("peer".into(), peer.to_string().into());
    let reference = || bastion.ids.reference(bastion.clock.now());
    let noted = bastion.audit.note(event).await;
    noted.map_err(|why| Refusal::new("LOGIN-011", NOT_NOW, why.to_string(), reference()))?;
    Ok(format!("{}\n", device::facts_wanted(&bastion.access.bundle()).to_text()))
}

/// What came of an enrolment, for whoever sits at the machine.
fn outcome(enrolled: &Enrolled) -> String {
    let Enrolled { device, state } = enrolled;
    let next = match state {
        posture::State::Pending => {
            format!("; a second person approves it with `bartizan device approve {device}`")
        }
        _ => String::new(),
    };
    format!("device {device} is {state}{next}\n")
}

async fn tell(operator: &mut Operator, text: String) {
    let (_, to) = operator.split();
    for item in [FromTarget::Data(Bytes::from(text)), FromTarget::ExitStatus(0), FromTarget::Eof] {
        // What was done for whoever went away meanwhile is done all the same.
        if to.put(item).await.is_err() {
            return;
        }
    }
    operator.close().await;
}
