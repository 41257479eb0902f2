//! The steps of a login: what a key, an answer or what is remembered leads to, from the phase that was reached.
//! It never takes a step from a phase that is not handed in by value.

use policy::{DeviceName, Factor, LoginName, TenantName};
use ssh_key::{Algorithm, PublicKey};

use super::answer::{Answer, Methods};
use super::attempt::{Attempt, Phase, over, used_key};
use super::authenticated::{Authenticated, Incomplete, Second};
use super::identified::Identified;
use super::invitation::{Invited, Taken};
use super::prompt::Asks;
use super::{LoginError, No, WHAT_KEY, code, invitation, key, memory, person, recovery};
use crate::config::Require;
use crate::device::{self, Accepted, Assessed, Judged, Proven, Remediation, Unproven};
use crate::store::StoreError;

/// Keys that may sign though nobody looked whose they are: more than any agent offers that a login could still succeed with.
const UNKNOWN_KEYS: u32 = 24;

impl Attempt {
    /// Reads what an offered key would be good for.
    pub(super) async fn look(
        &mut self,
        login: &LoginName,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Result<(), No>, StoreError> {
        let fingerprint = device::fingerprint(key);
        if self.used.contains(&fingerprint) {
            return Ok(Err(used_key(&fingerprint)));
        }
        let (device_may_follow, person_may_follow) = match &self.phase {
            Phase::Accepted(_) => (true, self.ground.device.require == Require::Any),
            Phase::Assessed(_) => (false, true),
            Phase::Identified(_) | Phase::Challenged(_) => (self.may_join(), false),
            Phase::Over => return Ok(Err(over())),
        };
        if let Err(refused) = posture::acceptable(key, Some(algorithm)) {
            return Ok(Err(No { code: "LOGIN-003", told: WHAT_KEY, cause: refused.to_string() }));
        }
        if device_may_follow
            && (self.may_be_thrown_away(key)
                || device::may_prove(&self.ground.store, &self.ground.device, key).await?)
        {
            let needed = self.ground.device.require == Require::Managed;
            self.awaited = needed.then_some(fingerprint);
            return Ok(Ok(()));
        }
        if person_may_follow {
            return Ok(key::find(&self.ground, &login.operator, key, algorithm).await?.map(drop));
        }
        let cause = format!("key {fingerprint} is not that of an active device");
        Ok(Err(No { code: "POSTURE-002", told: WHAT_KEY, cause }))
    }

    /// Of a certificate only its own key is offered, one that nobody knows, and it looks like any other: so every key of that kind
    /// may sign, known or not, without a look-up. So many and no more.
    fn may_be_thrown_away(&mut self, key: &PublicKey) -> bool {
        let may = key.algorithm() == Algorithm::Ed25519 && self.signs < UNKNOWN_KEYS;
        self.signs += u32::from(may);
        may
    }

    /// The first key: a device's; or, where none is required, a person's.
    pub(super) async fn first_key(
        &mut self,
        accepted: Accepted,
        login: &LoginName,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Answer, LoginError> {
        let judged = self.judge(login, key, algorithm).await?;
        let (accepted, unproven) = match self.first_device(accepted, judged).await? {
            Ok(answer) => return Ok(answer),
            Err(unproven) => unproven,
        };
        match Assessed::unproven(accepted, &self.ground.device) {
            Ok(assessed) => self.person_key(assessed, login, key, algorithm).await,
            Err(accepted) => {
                self.phase = Phase::Accepted(accepted);
                Ok(match unproven.code {
                    // Most likely a person's key that came before the device's: nobody is told, unless nothing comes of it.
                    posture::Code::Enrolment => self.pass(&unproven),
                    _ => self.refuse_proof(unproven),
                })
            }
        }
    }

    /// What a machine's proof leads to while nothing else is proven; back what came in where it is none.
    pub(super) async fn first_device(
        &mut self,
        accepted: Accepted,
        judged: Judged,
    ) -> Result<Result<Answer, (Accepted, Unproven)>, LoginError> {
        match judged {
            Judged::Proven(device) => Ok(Ok(match self.below(accepted, &device) {
                Err(remediation) => self.remediate(remediation),
                Ok(accepted) => {
                    self.met(&device);
                    self.phase = Phase::Assessed(Assessed::proven(accepted, device));
                    self.partial(Methods::KEY)
                }
            })),
            Judged::Barred(finding) => self.bar(accepted, finding).await.map(Ok),
            Judged::NoProof(unproven) => Ok(Err((accepted, unproven))),
        }
    }

    /// The person's key, once the machine has been judged.
    pub(super) async fn person_key(
        &mut self,
        assessed: Assessed,
        login: &LoginName,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Answer, LoginError> {
        match key::find(&self.ground, &login.operator, key, algorithm).await? {
            Ok(person) => {
                let fingerprint = device::fingerprint(key);
                self.used.push(fingerprint.clone());
                let identified = Identified::new(assessed, person, fingerprint, self.ground.clock.now());
                self.advance(identified, login).await
            }
            Err(no) => {
                // Without a device nothing was reached: the next key may be a device's or a person's as before.
                self.phase = if assessed.device().is_some() {
                    Phase::Assessed(assessed)
                } else {
                    Phase::Accepted(assessed.into_accepted())
                };
                Ok(self.refuse(no))
            }
        }
    }

    /// A key after the person's: a device's, where the person came first.
    pub(super) async fn second_key(
        &mut self,
        identified: Identified,
        login: &LoginName,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Answer, LoginError> {
        if identified.assessed().device().is_some() {
            self.phase = Phase::Identified(identified);
            let cause = "a third key, where a code is asked for".to_owned();
            return Ok(self.refuse(No { code: "LOGIN-003", told: WHAT_KEY, cause }));
        }
        let judged = self.judge(login, key, algorithm).await?;
        self.later_device(identified, login, judged).await
    }

    /// What a machine's proof leads to where the person came first.
    pub(super) async fn later_device(
        &mut self,
        identified: Identified,
        login: &LoginName,
        judged: Judged,
    ) -> Result<Answer, LoginError> {
        match judged {
            Judged::Proven(device) => {
                // Back to the beginning only where it goes no further.
                let accepted = Accepted::new(self.peer, self.ground.clock.now());
                if let Err(remediation) = self.below(accepted, &device) {
                    return Ok(self.remediate(remediation));
                }
                self.met(&device);
                self.advance(identified.joined_by(device), login).await
            }
            Judged::Barred(finding) => self.bar(identified.into_assessed().into_accepted(), finding).await,
            Judged::NoProof(unproven) => {
                self.phase = Phase::Identified(identified);
                Ok(self.refuse_proof(unproven))
            }
        }
    }

    /// Key and perhaps device are proven: done if that, and what is remembered, is enough; else the code is next.
    pub(super) async fn advance(
        &mut self,
        identified: Identified,
        login: &LoginName,
    ) -> Result<Answer, LoginError> {
        let required = self.ground.bundle.login().factors();
        if !required.contains(&Factor::Code) {
            return self.finish(identified, None, login).await;
        }
        if let Some(code) = memory::recall(&self.ground, login, &identified).await? {
            return self.finish(identified, Some(Second::Code(code)), login).await;
        }
        let methods = if identified.assessed().device().is_some() { Methods::PROMPT } else { Methods::BOTH };
        self.phase = Phase::Identified(identified);
        Ok(self.partial(methods))
    }

    /// The answer to a prompt, as what was asked for.
    pub(super) async fn answer(
        &mut self,
        identified: Identified,
        asks: Asks,
        given: &[&[u8]],
        login: &LoginName,
    ) -> Result<Answer, LoginError> {
        let (ground, operator, peer) = (&self.ground, login.operator.as_str(), self.peer.ip());
        let second = match asks {
            Asks::Code => match code::read(given) {
                Ok(code) => code::check(ground, operator, peer, &code).await?.map(Second::Code),
                Err(no) => Err(no),
            },
            Asks::Recovery => recovery::check(ground, operator, peer, given).await?.map(Second::Recovery),
            Asks::Invitation => match invitation::check(ground, operator, peer, given).await? {
                Ok(taken) => return self.finish_invited(identified, &taken, login).await,
                Err(no) => Err(no),
            },
        };
        match second {
            Ok(second) => self.finish(identified, Some(second), login).await,
            Err(no) => {
                self.phase = Phase::Identified(identified);
                self.mistaken = true;
                Ok(self.refuse(no))
            }
        }
    }

    /// The last step: everything is looked at once more, since a prompt may have waited for minutes.
    pub(super) async fn finish(
        &mut self,
        identified: Identified,
        second: Option<Second>,
        login: &LoginName,
    ) -> Result<Answer, LoginError> {
        if let Some(no) = self.changed(&identified, login).await? {
            return Ok(self.refuse(no));
        }
        let required = self.ground.bundle.login().factors();
        match Authenticated::new(identified, second.as_ref(), login, required) {
            Ok(authenticated) => {
                if let Some(code) = second.as_ref().and_then(Second::code) {
                    memory::remember(&self.ground, &authenticated, code).await?;
                }
                Ok(self.said(Answer::Done(Box::new(authenticated))))
            }
            Err(Incomplete { missing }) => {
                let missing: Vec<&str> = missing.iter().map(|factor| factor.as_str()).collect();
                let cause = format!(
                    "the bundle's [login] demands {}, which cannot be given here",
                    missing.join(", ")
                );
                Ok(self.refuse(No { code: "ACCESS-005", told: WHAT_KEY, cause }))
            }
        }
    }

    /// The last step of who came by an invitation.
    async fn finish_invited(
        &mut self,
        identified: Identified,
        taken: &Taken,
        login: &LoginName,
    ) -> Result<Answer, LoginError> {
        if let Some(no) = self.changed(&identified, login).await? {
            return Ok(self.refuse(no));
        }
        Ok(self.said(Answer::Enrol(Box::new(Invited::new(identified, taken, login)))))
    }

    /// What has changed of operator or device since they were proven.
    async fn changed(&self, identified: &Identified, login: &LoginName) -> Result<Option<No>, StoreError> {
        let no = |code, cause| Ok(Some(No { code, told: WHAT_KEY, cause }));
        let now = person(&self.ground.store, &self.ground.bundle, &login.operator).await?;
        if !now.is_some_and(|now| now.enabled()) {
            return no("LOGIN-002", format!("operator {} was disabled while logging in", login.operator));
        }
        if let Some(device) = identified.assessed().device()
            && !device.still_holds(&self.ground.store, &login.operator).await?
        {
            return no("POSTURE-006", format!("device {} changed while logging in", device.name()));
        }
        Ok(None)
    }

    /// Its key counts once.
    fn met(&mut self, device: &Proven) {
        self.used.push(device.fingerprint().to_owned());
        self.device = Some(device.name().clone());
    }

    async fn judge(
        &self,
        login: &LoginName,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Judged, StoreError> {
        let (device, tenant) = self.on_record(login, key).await?;
        device::judge(&self.ground.device, key, algorithm, device, &login.operator, tenant.as_ref())
    }

    /// What is on record of the machine with this key, and of its owner's tenant where they are the one who was named: strangers
    /// never cause a look-up of a person.
    pub(super) async fn on_record(
        &self,
        login: &LoginName,
        key: &PublicKey,
    ) -> Result<(Option<posture::Device>, Option<TenantName>), StoreError> {
        let device = device::on_record(&self.ground.store, key).await?;
        let theirs = device.as_ref().is_some_and(|device| device.owner == login.operator.as_str());
        let owner = if theirs {
            person(&self.ground.store, &self.ground.bundle, &login.operator).await?
        } else {
            None
        };
        Ok((device, owner.map(|owner| owner.tenant)))
    }

    pub(super) async fn bar(
        &mut self,
        accepted: Accepted,
        finding: posture::Finding,
    ) -> Result<Answer, LoginError> {
        if let Some(device) = finding.device().filter(|_| finding.code() == posture::Code::Standing) {
            // A device that is out of order starts afresh when it is in order again.
            self.ground.store.forget_device(&device.name, None).await?;
        }
        let remediation = Remediation::new(accepted, &finding, self.ground.reference.clone());
        Ok(self.remediate(Box::new(remediation)))
    }

    /// The device's facts against the level that every login asks for; the targets may ask for more.
    fn below(&self, accepted: Accepted, device: &Proven) -> Result<Accepted, Box<Remediation>> {
        let Some(level) = self.ground.bundle.login().posture() else { return Ok(accepted) };
        let now = self.ground.clock.now();
        let assessment = device.known().assess(&self.ground.bundle, now, now);
        if assessment.levels.contains(level) {
            return Ok(accepted);
        }
        let reference = self.ground.reference.clone();
        Err(Box::new(Remediation::below(accepted, device, &assessment, level, reference)))
    }

    fn remediate(&mut self, remediation: Box<Remediation>) -> Answer {
        self.device = remediation.device().and_then(|name| DeviceName::parse(name).ok());
        self.said(Answer::Remediate(remediation))
    }
}
