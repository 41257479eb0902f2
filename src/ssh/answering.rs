//! What the login answered, carried out on the wire: refused, asked for more, opened, told, or ended.
//! Never answers before what is to be logged is logged, and never says more than the answer holds.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::Certificate;
use russh::server::{Auth, PublicKeyOffer, Response, VerifiedPublicKey};
use russh::{Disconnect, MethodKind, MethodSet};
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use super::device_errand::Visit;
use super::handler::{Handler, Phase, Proof};
use super::words::VISIT;
use crate::live::{Cut, Cutter};
use crate::login::{Answer, Invited, Methods, Offer};
use crate::refusal::Refusal;
use crate::{connection, device};

/// Answers to a prompt that are looked at; two are asked for at most, so a third is enough to refuse.
const ANSWERS: usize = 3;
/// Longest answer to a prompt, in bytes.
const ANSWER: usize = 1024;

/// No refusal of a key or a code comes sooner: its time does not tell what was looked up, and guessing is slow. A key that is
/// right and not yet enough is no refusal, so that a login does not wait.
const REFUSED: Duration = Duration::from_millis(100);

/// What `answering` answers, and a refusal in its time.
pub(super) async fn in_time(answering: impl Future<Output = Auth>) -> Auth {
    let due = Instant::now() + REFUSED;
    let answer = answering.await;
    if matches!(answer, Auth::Reject { partial_success: false, .. }) {
        sleep_until(due).await;
    }
    answer
}

impl Handler {
    /// Whether a signature of this key is wanted. Nothing is proven by it.
    pub(super) async fn key_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Auth {
        self.overheard().await;
        let Phase::Login(attempt) = &mut self.phase else { return Auth::reject() };
        match attempt.offered(user, offer.public_key, offer.algorithm).await {
            Offer::Sign => Auth::Accept,
            Offer::Refuse { methods } => {
                if let Some(place) = &self.place {
                    place.standing().turned_away();
                }
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: false }
            }
        }
    }

    /// The key has signed.
    pub(super) async fn key_proved(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Auth {
        let Phase::Login(attempt) = &mut self.phase else { return Auth::reject() };
        let answer = attempt.proved(user, key.public_key, key.algorithm).await;
        self.answer(answer).await
    }

    /// The key of a certificate has signed.
    pub(super) async fn certificate_proved(&mut self, user: &str, shown: &Certificate) -> Auth {
        let (Phase::Login(attempt), Some(Proof { bound, .. })) = (&mut self.phase, &self.proof) else {
            return Auth::reject();
        };
        let answer = attempt.certified(user, shown, bound).await;
        self.answer(answer).await
    }

    /// A prompt is asked for, or answered.
    pub(super) async fn prompted(&mut self, user: &str, response: Option<Response<'_>>) -> Auth {
        self.overheard().await;
        let answers = response.map(bounded);
        let given: Option<Vec<&[u8]>> =
            answers.as_ref().map(|answers| answers.iter().map(|answer| answer.as_slice()).collect());
        let answer = match (&mut self.phase, given) {
            (Phase::Login(attempt), None) => attempt.prompt(user).await,
            (Phase::Login(attempt), Some(given)) => attempt.answers(user, &given).await,
            (Phase::Stepping(_), None) => return self.ask_more(user).await,
            (Phase::Stepping(_), Some(given)) => return self.answer_more(user, &given).await,
            (Phase::Dismissed, _) => return no_question(),
            _ => return Auth::reject(),
        };
        let ends = matches!(answer, Answer::Disconnect { .. });
        let done = self.answer(answer).await;
        if matches!(self.phase, Phase::Stepping(_)) {
            // In the same exchange: a client may not begin this method a second time.
            return self.ask_more(user).await;
        }
        // After a failure a client may leave without reading why; after no question at all it waits, and reads.
        if ends { no_question() } else { done }
    }

    /// Carries out what the login answered, after it is logged.
    pub(super) async fn answer(&mut self, answer: Answer) -> Auth {
        match answer {
            Answer::Refuse { methods, why } => {
                self.refused(&why).await;
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: false }
            }
            Answer::Pass { methods, .. } => {
                if let Some(place) = &self.place {
                    place.standing().turned_away();
                }
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: false }
            }
            Answer::Partial { methods } => {
                if let Some(place) = &self.place {
                    place.proven();
                }
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: true }
            }
            Answer::Ask { instructions, prompt } => Auth::Partial {
                name: "".into(),
                instructions: instructions.into(),
                prompts: vec![(prompt.into(), false)].into(),
            },
            Answer::Done(authenticated) => self.open(Arc::new(*authenticated)).await,
            Answer::Enrol(invited) => self.receive(*invited).await,
            Answer::Remediate(remediation) => self.remediate(&remediation).await,
            Answer::EnrolDevice(enrolment) => {
                self.visited(Visit::to_enrol(*enrolment, self.peer, self.kill.clone()))
            }
            Answer::TellFacts(device) => {
                self.visited(Visit::for_facts(*device, self.peer, self.kill.clone()))
            }
            Answer::Disconnect { text, why } => {
                self.refused(&why).await;
                self.disconnect(text);
                Auth::reject()
            }
        }
    }

    async fn refused(&self, why: &Refusal) {
        // What cannot be judged now is nobody's fault.
        if let Some(place) = self.place.as_ref().filter(|_| why.code() != "LOGIN-011") {
            place.standing().refused();
        }
        let Phase::Login(attempt) = &self.phase else { return };
        connection::refused(&self.bastion, attempt, why, "auth.login").await;
    }

    async fn receive(&mut self, invited: Invited) -> Auth {
        let cutter = Cutter::new(self.kill.clone());
        let received = connection::receive(&self.bastion, invited, cutter.clone()).await;
        let kill = self.kill.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(VISIT) => cutter.cut(Cut::TimeUp),
                () = kill.cancelled() => {}
            }
        });
        self.entered(received.map(Phase::Enrolling))
    }

    pub(super) fn entered(&mut self, phase: Option<Phase>) -> Auth {
        let Some(phase) = phase else {
            self.phase = Phase::Ended;
            return Auth::reject();
        };
        self.phase = phase;
        self.finished();
        Auth::Accept
    }

    fn visited(&mut self, visit: Visit) -> Auth {
        self.phase = Phase::DeviceAlone(visit);
        self.finished();
        Auth::Accept
    }

    async fn remediate(&mut self, remediation: &device::Remediation) -> Auth {
        if let Phase::Login(attempt) = &self.phase {
            connection::refused(&self.bastion, attempt, remediation.refusal(), "device.remediation").await;
        }
        self.phase = Phase::remediation(remediation.text(), self.kill.clone());
        self.finished();
        Auth::Accept
    }

    /// Logs a certificate that was refused before the login was asked.
    pub(super) async fn overheard(&mut self) {
        let (Phase::Login(attempt), Some(proof)) = (&mut self.phase, &self.proof) else { return };
        if let Some(code) = proof.ear.take() {
            let why = attempt.overheard(code);
            connection::refused(&self.bastion, attempt, &why, "auth.login").await;
        }
    }

    /// The login is finished: its deadline and its place among the unauthenticated are given up.
    pub(super) fn finished(&mut self) {
        self.logged_in.cancel();
        if let Some(proof) = &self.proof {
            proof.ear.close();
        }
        if let Some(place) = &self.place {
            place.authenticated();
        }
    }

    pub(super) fn disconnect(&mut self, text: String) {
        self.phase = Phase::Dismissed;
        let Some(handle) = self.handle.get().cloned() else {
            self.kill.cancel();
            return;
        };
        // Not awaited here: russh's loop, which would carry it, is waiting for this callback.
        tokio::spawn(async move {
            let _ = handle.disconnect(Disconnect::NoMoreAuthMethodsAvailable, text, String::new()).await;
        });
    }
}

/// As SSH names them.
fn advertised(methods: Methods) -> MethodSet {
    let mut kinds = Vec::with_capacity(2);
    if methods.publickey {
        kinds.push(MethodKind::PublicKey);
    }
    if methods.keyboard_interactive {
        kinds.push(MethodKind::KeyboardInteractive);
    }
    MethodSet::from(&kinds[..])
}

/// As many answers as could be right and one more, none of them longer than any that could be.
fn bounded(response: Response<'_>) -> Vec<Zeroizing<Vec<u8>>> {
    let bounded = |answer: bytes::Bytes| Zeroizing::new(answer.iter().copied().take(ANSWER).collect());
    response.take(ANSWERS).map(bounded).collect()
}

/// A prompt that asks nothing (RFC 4256 section 3.2 allows it): the client answers with nothing and waits.
pub(super) fn no_question() -> Auth {
    Auth::Partial { name: "".into(), instructions: "".into(), prompts: Vec::new().into() }
}
