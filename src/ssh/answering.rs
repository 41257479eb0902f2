//! What the login answered, carried out on the wire: refused, asked for more, opened, told, or ended.
//! Never answers before what is to be logged is logged, and never says more than the answer holds.

use russh::server::Auth;
use russh::{Disconnect, MethodKind, MethodSet};

use super::device_enrolment::Enrolment;
use super::handler::{Handler, Phase};
use super::words::VISIT;
use crate::live::{Cut, Cutter};
use crate::login::{Answer, Authenticated, Invited, Methods};
use crate::refusal::Refusal;
use crate::{connection, device};

impl Handler {
    /// Carries out what the login answered, after it is logged.
    pub(super) async fn answer(&mut self, answer: Answer) -> Auth {
        match answer {
            Answer::Refuse { methods, why } => {
                self.refused(&why).await;
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: false }
            }
            Answer::Pass { methods, .. } => {
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: false }
            }
            Answer::Partial { methods } => {
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: true }
            }
            Answer::Ask { instructions, prompt } => Auth::Partial {
                name: "".into(),
                instructions: instructions.into(),
                prompts: vec![(prompt.into(), false)].into(),
            },
            Answer::Done(authenticated) => self.open(*authenticated).await,
            Answer::Enrol(invited) => self.receive(*invited).await,
            Answer::Remediate(remediation) => self.remediate(&remediation).await,
            Answer::EnrolDevice(enrolment) => {
                self.phase = Phase::DeviceEnrolment(Enrolment::new(*enrolment, self.peer, self.kill.clone()));
                self.finished();
                Auth::Accept
            }
            Answer::Disconnect { text, why } => {
                self.refused(&why).await;
                self.disconnect(text);
                Auth::reject()
            }
        }
    }

    async fn refused(&self, why: &Refusal) {
        let Phase::Login(attempt) = &self.phase else { return };
        connection::refused(&self.bastion, attempt, why, "auth.login").await;
    }

    async fn open(&mut self, authenticated: Authenticated) -> Auth {
        let Phase::Login(attempt) = &self.phase else { return Auth::reject() };
        let (cutter, reference) = (Cutter::new(self.kill.clone()), attempt.reference().clone());
        let entered = connection::enter(&self.bastion, authenticated, self.peer, cutter, reference).await;
        if let Some(connection) = &entered {
            let limit = self.bastion.config.ssh.idle_timeout;
            tokio::spawn(connection::idle_out(connection.clone(), limit));
        }
        self.entered(entered.map(Phase::Open))
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

    fn entered(&mut self, phase: Option<Phase>) -> Auth {
        let Some(phase) = phase else {
            self.phase = Phase::Ended;
            return Auth::reject();
        };
        self.phase = phase;
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
        if let Some(place) = &mut self.place {
            place.authenticated();
        }
    }

    fn disconnect(&mut self, text: String) {
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
pub(super) fn advertised(methods: Methods) -> MethodSet {
    let mut kinds = Vec::with_capacity(2);
    if methods.publickey {
        kinds.push(MethodKind::PublicKey);
    }
    if methods.keyboard_interactive {
        kinds.push(MethodKind::KeyboardInteractive);
    }
    MethodSet::from(&kinds[..])
}

/// A prompt that asks nothing (RFC 4256 section 3.2 allows it): the client answers with nothing and waits.
pub(super) fn no_question() -> Auth {
    Auth::Partial { name: "".into(), instructions: "".into(), prompts: Vec::new().into() }
}
