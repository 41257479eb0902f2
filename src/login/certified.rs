//! The step of a device's certificate: what it leads to, from the phase that was reached; and the way of a machine that is yet to
//! be enrolled.
//! It never takes a certificate for a person, whoever signed it.

use policy::{LoginName, OperatorName};
use posture::certificate::{Binding, signer};
use ssh_key::Certificate;

use super::answer::Answer;
use super::attempt::{Attempt, Phase, Telling, over, unjudged, used_key};
use super::{LoginError, No, WHAT_KEY};
use crate::device::{self, Accepted, At, Enrolment, Errand, Judged, Unproven};
use crate::refusal::Refusal;
use crate::store::StoreError;

impl Attempt {
    /// A certificate's own key has signed this login, in this name; the transport has verified that signature and the
    /// certificate's. `binding` is what the connection knows of itself.
    pub async fn certified(
        &mut self,
        user: &str,
        certificate: &Certificate,
        binding: &(dyn Binding + Sync),
    ) -> Answer {
        let login = match self.named(user) {
            Ok(login) => login,
            Err(no) => return self.refuse(no),
        };
        let throw_away = ssh_key::PublicKey::new(certificate.public_key().clone(), "");
        let fingerprint = device::fingerprint(&throw_away);
        self.unsigned(Some(&fingerprint));
        if self.used.contains(&fingerprint) {
            return self.refuse(used_key(&fingerprint));
        }
        let at = At { binding, now: self.ground.clock.now() };
        let moved = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Accepted(accepted) => match device::errand_of(&login) {
                Some(Errand::Enrol(token)) => self.enrolling(accepted, token, certificate, at).await,
                Some(Errand::Facts) => self.asking(accepted, &login, certificate, at).await,
                None => self.first_certificate(accepted, &login, certificate, at).await,
            },
            Phase::Identified(identified) if identified.assessed().device().is_none() => {
                self.joining(identified, &login, certificate, at).await
            }
            Phase::Challenged(challenge) if challenge.identified().assessed().device().is_none() => {
                self.joining(challenge.into_identified(), &login, certificate, at).await
            }
            Phase::Over => return self.refuse(over()),
            phase => {
                self.phase = phase;
                let cause = "a certificate, where a plain key belongs".to_owned();
                return self.refuse(No { code: "LOGIN-003", told: WHAT_KEY, cause });
            }
        };
        if matches!(moved, Ok(Answer::Partial { .. } | Answer::Done(_))) {
            self.used.push(fingerprint);
        }
        moved.unwrap_or_else(|why| self.end(unjudged(&why)))
    }

    /// The transport refused a certificate by itself, and nobody was asked. The refusal is to be logged.
    pub fn overheard(&mut self, code: posture::Code) -> Refusal {
        let cause = format!("{}, as the transport found", code.meaning());
        let unproven = Unproven { code, cause };
        let why = self.no_proof(&unproven);
        self.unproven = Some(unproven);
        if !matches!(self.telling, Telling::Begun) {
            self.telling = Telling::Said;
        }
        why
    }

    /// What the next message tells of a key that was told to sign: unless it is this one that has signed, it did not. A wrong
    /// signature is refused by the transport, which asks nobody; so this is where it comes into the log.
    pub(super) fn unsigned(&mut self, signed: Option<&str>) {
        let Some(key) = self.awaited.take().filter(|key| signed != Some(key)) else { return };
        let unproven = unsigned_by(&key);
        self.telling = Telling::TurnedAway(self.no_proof(&unproven));
        self.unproven = Some(unproven);
    }

    /// The refusal of a proof that is none, for the log; on the wire it is that of any key.
    pub(super) fn no_proof(&self, Unproven { code, cause }: &Unproven) -> Refusal {
        self.refusal(No { code: code.as_str(), told: WHAT_KEY, cause: cause.clone() })
    }

    async fn first_certificate(
        &mut self,
        accepted: Accepted,
        login: &LoginName,
        certificate: &Certificate,
        at: At<'_>,
    ) -> Result<Answer, LoginError> {
        let judged = self.judge_certificate(login, certificate, at).await?;
        match self.first_device(accepted, judged).await? {
            Ok(answer) => Ok(answer),
            Err((accepted, unproven)) => {
                self.phase = Phase::Accepted(accepted);
                Ok(self.refuse_proof(unproven))
            }
        }
    }

    async fn joining(
        &mut self,
        identified: super::identified::Identified,
        login: &LoginName,
        certificate: &Certificate,
        at: At<'_>,
    ) -> Result<Answer, LoginError> {
        let judged = self.judge_certificate(login, certificate, at).await?;
        self.later_device(identified, login, judged).await
    }

    /// The machine is nobody's yet: it proves a key, and a token is open for it.
    async fn enrolling(
        &mut self,
        accepted: Accepted,
        token: &str,
        certificate: &Certificate,
        at: At<'_>,
    ) -> Result<Answer, LoginError> {
        let reference = self.ground.reference.clone();
        match Enrolment::begin(&self.ground.store, token, certificate, reference, at).await? {
            Ok(enrolment) => {
                self.device = policy::DeviceName::parse(enrolment.device()).ok();
                Ok(self.said(Answer::EnrolDevice(Box::new(enrolment))))
            }
            Err(unproven) => {
                self.phase = Phase::Accepted(accepted);
                Ok(self.refuse_proof(unproven))
            }
        }
    }

    /// An enrolled device asks, alone, which facts are wanted: judged as with its owner at it, and good for the answer alone.
    async fn asking(
        &mut self,
        accepted: Accepted,
        login: &LoginName,
        certificate: &Certificate,
        at: At<'_>,
    ) -> Result<Answer, LoginError> {
        let known = device::on_record(&self.ground.store, &signer(certificate)).await?;
        let owner = known.and_then(|device| OperatorName::parse(&device.owner).ok());
        let operator = owner.unwrap_or_else(|| login.operator.clone());
        let owner = LoginName { operator, target: None, account: None };
        match self.judge_certificate(&owner, certificate, at).await? {
            Judged::Proven(device) => {
                self.device = Some(device.name().clone());
                Ok(self.said(Answer::TellFacts(Box::new(device))))
            }
            Judged::Barred(finding) => self.bar(accepted, finding).await,
            Judged::NoProof(unproven) => {
                self.phase = Phase::Accepted(accepted);
                Ok(self.refuse_proof(unproven))
            }
        }
    }

    /// A proof of a machine that is none: in the log exactly why, on the wire what every key gets.
    pub(super) fn refuse_proof(&mut self, unproven: Unproven) -> Answer {
        let Unproven { code, cause } = unproven.clone();
        self.unproven = Some(unproven);
        self.refuse(No { code: code.as_str(), told: WHAT_KEY, cause })
    }

    async fn judge_certificate(
        &self,
        login: &LoginName,
        certificate: &Certificate,
        at: At<'_>,
    ) -> Result<Judged, StoreError> {
        let ground = &self.ground;
        let (device, tenant) = self.on_record(login, &signer(certificate)).await?;
        let (config, operator, tenant) = (&ground.device, &login.operator, tenant.as_ref());
        device::judge_certificate(&ground.store, config, certificate, device, operator, tenant, at).await
    }
}

/// A key that was told to sign, and of which no right signature came.
pub(super) fn unsigned_by(key: &str) -> Unproven {
    let cause = format!("key {key} was told to sign, and its signature is wrong or never came");
    Unproven { code: posture::Code::Signature, cause }
}
