//! The phase of a machine that is to be enrolled: it has proven a key, and may now bring its token, by `enroll TOKEN`.
//! Never reaches a target, a name or a rule; ends by itself after a minute, and a token is tried twice at most.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Map;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::outlet::Operator;
use crate::audit::Outcome;
use crate::bastion::Bastion;
use crate::channel::{FromTarget, Ingress, Sink, Start};
use crate::device::{self, EnrolError, Enrolled};
use crate::refusal::Refusal;

/// Channels that may be opened.
const CHANNELS: usize = 2;
/// How long the connection stays.
const STAY: Duration = Duration::from_secs(60);
/// What a command that enrols begins with.
const COMMAND: &str = "enroll ";
/// The event of a machine that brings its token.
const EVENT: &str = "device.enrolment";

/// The machine and its key, and how many more channels it may open.
pub(super) struct Enrolment {
    enrolment: Arc<device::Enrolment>,
    peer: SocketAddr,
    left: usize,
}

impl Enrolment {
    /// Begins the phase; `kill` ends the connection when it is over.
    pub(super) fn new(enrolment: device::Enrolment, peer: SocketAddr, kill: CancellationToken) -> Self {
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(STAY) => kill.cancel(),
                () = kill.cancelled() => {}
            }
        });
        Self { enrolment: Arc::new(enrolment), peer, left: CHANNELS }
    }

    /// Whether another channel may be opened.
    pub(super) fn has_room(&self) -> bool {
        self.left > 0
    }

    /// Runs what was asked for, where it is the one thing that may be.
    pub(super) fn begin(&mut self, bastion: &Arc<Bastion>, start: Start, mut operator: Operator) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let (bastion, enrolment, peer) = (bastion.clone(), self.enrolment.clone(), self.peer);
        tokio::spawn(async move {
            operator.accept().await;
            let token = token(&start);
            match complete(&bastion, &enrolment, token.as_ref().map(|token| token.as_str()), peer).await {
                Ok(enrolled) => tell(&mut operator, &enrolled).await,
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
    let mut event = bastion.audit.event(EVENT);
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

/// What came of it, for whoever sits at the machine.
async fn tell(operator: &mut Operator, enrolled: &Enrolled) {
    let Enrolled { device, state } = enrolled;
    let next = match state {
        posture::State::Pending => {
            format!("; a second person approves it with `bartizan device approve {device}`")
        }
        _ => String::new(),
    };
    let text = Bytes::from(format!("device {device} is {state}{next}\n"));
    let (_, to) = operator.split();
    for item in [FromTarget::Data(text), FromTarget::ExitStatus(0), FromTarget::Eof] {
        // Whoever went away meanwhile is enrolled all the same.
        if to.put(item).await.is_err() {
            return;
        }
    }
    operator.close().await;
}
