//! The one place that holds "any phase" of a login, and moves from each to the next.
//! It never trusts what the client was told it may do: which proofs count is read from the phase that was reached.

use std::net::SocketAddr;

use ledger::log::Event;
use policy::{Factor, LoginName, OperatorName};
use ssh_key::{Algorithm, PublicKey};

use super::answer::{Answer, Methods, Offer};
use super::authenticated::{Authenticated, Incomplete};
use super::code::{self, Challenge, CodeProof};
use super::ground::Ground;
use super::identified::Identified;
use super::{LoginError, No, WHAT_CODE, WHAT_KEY, assurance, key, memory, person};
use crate::config::Require;
use crate::device::{self, Accepted, Assessed, Judged, Proven, Remediation};
use crate::refusal::Refusal;
use crate::store::StoreError;

/// What is told when nothing can be judged.
const NOT_NOW: &str = "the bastion cannot check logins now; try again in a moment";
/// Shown above the prompt after a code was not taken.
const AGAIN: &str = "The code was not accepted. Wait for the next one.";
/// The longest user name that is kept to see whether it changes; three names and two separators are 194 bytes.
const LONGEST_USER: usize = 256;

/// One connection's login, from its acceptance to its end.
#[derive(Debug)]
pub struct Attempt {
    ground: Ground,
    peer: SocketAddr,
    claim: Option<Claim>,
    phase: Phase,
    /// Fingerprints of keys that have proven something already: each counts once.
    used: Vec<String>,
    /// A code was not taken in this connection.
    mistaken: bool,
    /// Why the last offer was turned away, until something is logged.
    turned_away: Option<Refusal>,
}

/// Who the client says to be. Nothing is proven for any other name.
#[derive(Debug)]
struct Claim {
    user: String,
    login: Result<LoginName, String>,
}

#[derive(Debug)]
enum Phase {
    Accepted(Accepted),
    Assessed(Assessed),
    Identified(Identified),
    Challenged(Challenge),
    Over,
}

impl Attempt {
    /// Starts with nothing proven; the connection was accepted at this moment.
    pub fn new(ground: Ground, peer: SocketAddr) -> Self {
        let phase = Phase::Accepted(Accepted::new(peer, ground.clock.now()));
        Self { ground, peer, claim: None, phase, used: Vec::new(), mistaken: false, turned_away: None }
    }

    /// A key is offered without proof (or before its proof is checked): may it sign? Changes nothing that was proven, unless
    /// the offer is made in another operator's name.
    pub async fn offered(&mut self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> Offer {
        let answer = match self.named(user) {
            Ok(login) => self.look(&login, key, algorithm).await,
            Err(no) => Ok(Err(no)),
        };
        let no = match answer {
            Ok(Ok(())) => return Offer::Sign,
            Ok(Err(no)) => self.refusal(no),
            Err(why) => self.refusal(unjudged(&why)),
        };
        self.turned_away = Some(no);
        Offer::Refuse { methods: self.methods() }
    }

    /// A key has signed this login, in this name; the transport has verified the signature.
    pub async fn proved(&mut self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> Answer {
        let login = match self.named(user) {
            Ok(login) => login,
            Err(no) => return self.refuse(no),
        };
        let fingerprint = device::fingerprint(key);
        if self.used.contains(&fingerprint) {
            return self.refuse(used_key(&fingerprint));
        }
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        let moved = match phase {
            Phase::Accepted(accepted) => self.first_key(accepted, &login, key, algorithm).await,
            Phase::Assessed(assessed) => self.person_key(assessed, &login, key, algorithm).await,
            Phase::Identified(identified) => self.second_key(identified, &login, key, algorithm).await,
            Phase::Challenged(challenge) => {
                self.second_key(challenge.into_identified(), &login, key, algorithm).await
            }
            Phase::Over => return self.refuse(over()),
        };
        moved.unwrap_or_else(|why| self.end(unjudged(&why)))
    }

    /// The client asks for a prompt (keyboard-interactive begins).
    pub async fn prompt(&mut self, user: &str) -> Answer {
        let login = match self.named(user) {
            Ok(login) => login,
            Err(no) => return self.refuse(no),
        };
        let identified = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Identified(identified) => identified,
            Phase::Challenged(challenge) => challenge.into_identified(),
            Phase::Accepted(_) if self.ground.device.require == Require::Managed => {
                return self.end_without_device();
            }
            Phase::Over => return self.refuse(over()),
            phase => {
                self.phase = phase;
                let cause = "a prompt was asked for before a key of the operator was proven".to_owned();
                return self.refuse(No { code: "LOGIN-003", told: WHAT_KEY, cause });
            }
        };
        // Another login from this device may have given the code since this one was told to ask.
        let remembered = memory::recall(&self.ground, &login, &identified).await;
        match remembered {
            Ok(None) => {
                self.phase = Phase::Challenged(Challenge::new(identified));
                let instructions = if self.mistaken { AGAIN } else { "" };
                Answer::Ask { instructions, prompt: code::PROMPT }
            }
            Ok(Some(code)) => {
                let finished = self.finish(identified, Some(code), &login).await;
                finished.unwrap_or_else(|why| self.end(unjudged(&why)))
            }
            Err(why) => self.end(unjudged(&why)),
        }
    }

    /// The answers to the prompt: as many as came, of which one is right.
    pub async fn answers(&mut self, user: &str, given: &[&[u8]]) -> Answer {
        let login = match self.named(user) {
            Ok(login) => login,
            Err(no) => return self.refuse(no),
        };
        let identified = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Challenged(challenge) => challenge.into_identified(),
            Phase::Over => return self.refuse(over()),
            phase => {
                self.phase = phase;
                let cause = "an answer to no prompt".to_owned();
                return self.refuse(No { code: "LOGIN-010", told: WHAT_CODE, cause });
            }
        };
        let answered = self.answer(identified, given, &login).await;
        answered.unwrap_or_else(|why| self.end(unjudged(&why)))
    }

    /// Why the connection ended without a login, when no answer has said so yet: the client was told that none of its keys need
    /// sign, and went. To be logged when the connection ends in this state.
    pub fn unfinished(&self) -> Option<&Refusal> {
        self.turned_away.as_ref()
    }

    /// Who the client says to be, where that is a name.
    pub fn claimed(&self) -> Option<&OperatorName> {
        let login = self.claim.as_ref()?.login.as_ref().ok()?;
        Some(&login.operator)
    }

    /// Writes who and from where into an event about this login: the operator as claimed, the device as proven.
    pub fn describe(&self, event: &mut Event) {
        event.operator = self.claimed().map(ToString::to_string);
        event.device = self.assessed().and_then(Assessed::device).map(|device| device.name().to_string());
        event.detail.insert("peer".to_owned(), self.peer.to_string().into());
    }

    /// Every message bears a name: the first one is the claim, another one drops all that was proven for it.
    fn named(&mut self, user: &str) -> Result<LoginName, No> {
        let kept = user.get(..LONGEST_USER.min(user.len())).unwrap_or_default();
        let changed = self.claim.as_ref().is_some_and(|claim| claim.user != kept);
        if changed || self.claim.is_none() {
            let login = LoginName::parse(user).map_err(|why| why.to_string());
            self.claim = Some(Claim { user: kept.to_owned(), login });
        }
        if changed {
            self.phase = Phase::Accepted(Accepted::new(self.peer, self.ground.clock.now()));
            self.used.clear();
            self.mistaken = false;
            let cause = "another operator's name within one login: all that was proven is dropped".to_owned();
            return Err(No { code: "LOGIN-009", told: WHAT_KEY, cause });
        }
        match self.claim.as_ref().map(|claim| &claim.login) {
            Some(Ok(login)) => Ok(login.clone()),
            Some(Err(why)) => Err(No { code: "LOGIN-007", told: WHAT_KEY, cause: why.clone() }),
            None => Err(over()),
        }
    }

    /// Reads what an offered key would be good for.
    async fn look(
        &self,
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
        if device_may_follow && device::may_prove(&self.ground.store, &self.ground.device, key).await? {
            return Ok(Ok(()));
        }
        if person_may_follow {
            return Ok(key::find(&self.ground, &login.operator, key, algorithm).await?.map(drop));
        }
        let cause = format!("key {fingerprint} is not that of an active device");
        Ok(Err(No { code: "POSTURE-002", told: WHAT_KEY, cause }))
    }

    /// The first key: a device's; or, where none is required, a person's.
    async fn first_key(
        &mut self,
        accepted: Accepted,
        login: &LoginName,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Answer, LoginError> {
        let finding = match self.judge(login, key, algorithm).await? {
            Judged::Proven(device) => {
                self.used.push(device.fingerprint().to_owned());
                self.phase = Phase::Assessed(Assessed::proven(accepted, device));
                return Ok(self.partial(Methods::KEY));
            }
            Judged::Barred(finding) => return self.bar(accepted, finding).await,
            Judged::NoProof(finding) => finding,
        };
        match Assessed::unproven(accepted, &self.ground.device) {
            Ok(assessed) => self.person_key(assessed, login, key, algorithm).await,
            Err(accepted) => {
                self.phase = Phase::Accepted(accepted);
                let code = finding.code().as_str();
                Ok(self.refuse(No { code, told: WHAT_KEY, cause: finding.to_string() }))
            }
        }
    }

    /// The person's key, once the machine has been judged.
    async fn person_key(
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
    async fn second_key(
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
        match self.judge(login, key, algorithm).await? {
            Judged::Proven(device) => {
                self.used.push(device.fingerprint().to_owned());
                self.advance(identified.joined_by(device), login).await
            }
            Judged::Barred(finding) => {
                self.bar(identified.into_assessed().into_accepted(), finding).await
            }
            Judged::NoProof(finding) => {
                self.phase = Phase::Identified(identified);
                let code = finding.code().as_str();
                Ok(self.refuse(No { code, told: WHAT_KEY, cause: finding.to_string() }))
            }
        }
    }

    /// Key and perhaps device are proven: done if that, and what is remembered, is enough; else the code is next.
    async fn advance(&mut self, identified: Identified, login: &LoginName) -> Result<Answer, LoginError> {
        let required = self.ground.bundle.login().factors();
        if !required.contains(&Factor::Code) {
            return self.finish(identified, None, login).await;
        }
        if let Some(code) = memory::recall(&self.ground, login, &identified).await? {
            return self.finish(identified, Some(code), login).await;
        }
        let methods = if identified.assessed().device().is_some() { Methods::PROMPT } else { Methods::BOTH };
        self.phase = Phase::Identified(identified);
        Ok(self.partial(methods))
    }

    async fn answer(
        &mut self,
        identified: Identified,
        given: &[&[u8]],
        login: &LoginName,
    ) -> Result<Answer, LoginError> {
        let checked = match code::read(given) {
            Ok(code) => code::check(&self.ground, login.operator.as_str(), self.peer.ip(), &code).await?,
            Err(no) => Err(no),
        };
        match checked {
            Ok(code) => self.finish(identified, Some(code), login).await,
            Err(no) => {
                self.phase = Phase::Identified(identified);
                self.mistaken = true;
                Ok(self.refuse(no))
            }
        }
    }

    /// The last step: everything is looked at once more, since a prompt may have waited for minutes.
    async fn finish(
        &mut self,
        identified: Identified,
        code: Option<CodeProof>,
        login: &LoginName,
    ) -> Result<Answer, LoginError> {
        let now = person(&self.ground.store, &self.ground.bundle, &login.operator).await?;
        if !now.is_some_and(|now| now.enabled()) {
            let cause = format!("operator {} was disabled while logging in", login.operator);
            return Ok(self.refuse(No { code: "LOGIN-002", told: WHAT_KEY, cause }));
        }
        if let Some(device) = identified.assessed().device()
            && !device.still_holds(&self.ground.store).await?
        {
            let cause = format!("device {} changed while logging in", device.name());
            return Ok(self.refuse(No { code: "POSTURE-006", told: WHAT_KEY, cause }));
        }
        if let Some(code) = &code {
            let held = [Factor::Key, Factor::Code].into();
            memory::remember(&self.ground, &identified, code, assurance::of(&held)).await?;
        }
        let required = self.ground.bundle.login().factors();
        match Authenticated::new(identified, code, login, required) {
            Ok(authenticated) => {
                self.turned_away = None;
                Ok(Answer::Done(Box::new(authenticated)))
            }
            Err(Incomplete { missing, .. }) => {
                let missing: Vec<&str> = missing.iter().map(|factor| factor.as_str()).collect();
                let cause = format!("the bundle's [login] demands {}, which cannot be given here", missing.join(", "));
                Ok(self.refuse(No { code: "ACCESS-005", told: WHAT_KEY, cause }))
            }
        }
    }

    async fn judge(
        &self,
        login: &LoginName,
        key: &PublicKey,
        algorithm: &Algorithm,
    ) -> Result<Judged, StoreError> {
        let device = device::on_record(&self.ground.store, key).await?;
        let theirs = device.as_ref().is_some_and(|device| device.owner == login.operator.as_str());
        // Looked up for a proven device's own operator alone: strangers never cause a look-up of a person.
        let owner =
            if theirs { person(&self.ground.store, &self.ground.bundle, &login.operator).await? } else { None };
        let tenant = owner.as_ref().map(|owner| &owner.tenant);
        device::judge(&self.ground.device, key, algorithm, device, &login.operator, tenant)
    }

    async fn bar(&mut self, accepted: Accepted, finding: posture::Finding) -> Result<Answer, LoginError> {
        if let Some(device) = finding.device().filter(|_| finding.code() == posture::Code::Standing) {
            // A device that is out of order starts afresh when it is in order again.
            self.ground.store.forget_device(&device.name, None).await?;
        }
        self.turned_away = None;
        let remediation = Remediation::new(accepted, finding, self.ground.reference.clone());
        Ok(Answer::Remediate(Box::new(remediation)))
    }

    fn assessed(&self) -> Option<&Assessed> {
        match &self.phase {
            Phase::Assessed(assessed) => Some(assessed),
            Phase::Identified(identified) => Some(identified.assessed()),
            Phase::Challenged(challenge) => Some(challenge.identified().assessed()),
            Phase::Accepted(_) | Phase::Over => None,
        }
    }

    /// A device may still prove itself after the person.
    fn may_join(&self) -> bool {
        self.assessed().is_some_and(|assessed| assessed.device().is_none())
    }

    /// What leads on from here. The same for every name.
    fn methods(&self) -> Methods {
        match &self.phase {
            Phase::Accepted(_) if self.ground.device.require == Require::Managed => Methods::BOTH,
            Phase::Accepted(_) | Phase::Assessed(_) => Methods::KEY,
            Phase::Identified(_) | Phase::Challenged(_) if self.may_join() => Methods::BOTH,
            Phase::Identified(_) | Phase::Challenged(_) => Methods::PROMPT,
            Phase::Over => Methods::NONE,
        }
    }

    fn partial(&mut self, methods: Methods) -> Answer {
        self.turned_away = None;
        Answer::Partial { methods }
    }

    fn refuse(&mut self, no: No) -> Answer {
        self.turned_away = None;
        Answer::Refuse { methods: self.methods(), why: self.refusal(no) }
    }

    fn end(&mut self, no: No) -> Answer {
        self.phase = Phase::Over;
        self.turned_away = None;
        let why = self.refusal(no);
        Answer::Disconnect { text: why.line(), why }
    }

    /// The first prompt without a device: one constant text, whoever was named and whatever was offered.
    fn end_without_device(&mut self) -> Answer {
        let cause = match self.turned_away.take() {
            Some(refusal) => refusal.cause().to_owned(),
            None => "no device key was offered".to_owned(),
        };
        let why = device::no_proof(posture::Code::Enrolment, cause, self.ground.reference.clone());
        Answer::Disconnect { text: why.line(), why }
    }

    fn refusal(&self, no: No) -> Refusal {
        Refusal::new(no.code, no.told, no.cause, self.ground.reference.clone())
    }
}

fn used_key(fingerprint: &str) -> No {
    No { code: "LOGIN-003", told: WHAT_KEY, cause: format!("key {fingerprint} was used in this login already") }
}

fn over() -> No {
    No { code: "LOGIN-010", told: WHAT_KEY, cause: "a message after the login was over".to_owned() }
}

fn unjudged(why: &dyn std::error::Error) -> No {
    No { code: "LOGIN-011", told: NOT_NOW, cause: why.to_string() }
}
