//! The one place that holds "any phase" of a login, and moves from each to the next.
//! It never trusts what the client was told it may do: which proofs count is read from the phase that was reached.

use std::net::SocketAddr;

use ledger::log::Event;
use policy::{DeviceName, LoginName, OperatorName};
use ssh_key::{Algorithm, PublicKey};

use super::answer::{Answer, Methods, Offer};
use super::authenticated::Second;
use super::certified::unsigned_by;
use super::ground::Ground;
use super::identified::Identified;
use super::prompt::{self, Asks, Challenge};
use super::{LoginError, No, WHAT_CODE, WHAT_KEY, invitation, memory};
use crate::config::Require;
use crate::device::{self, Accepted, Assessed, Unproven};
use crate::refusal::Refusal;

/// What is told when nothing can be judged.
const NOT_NOW: &str = "the bastion cannot check logins now; try again in a moment";
/// More messages than any honest login needs; offers that are accepted and prompts that are not answered are counted nowhere
/// else.
const MESSAGES: u32 = 100;
/// The longest user name that is kept to see whether it changes; three names and two separators are 194 bytes.
const LONGEST_USER: usize = 256;

/// One connection's login, from its acceptance to its end.
#[derive(Debug)]
pub struct Attempt {
    pub(super) ground: Ground,
    pub(super) peer: SocketAddr,
    claim: Option<Claim>,
    pub(super) phase: Phase,
    messages: u32,
    /// Fingerprints of keys that have proven something already: each counts once.
    pub(super) used: Vec<String>,
    /// The device that proved itself, for the log.
    pub(super) device: Option<DeviceName>,
    /// A code was not taken in this connection.
    pub(super) mistaken: bool,
    /// Keys that may sign though they are unknown, so far.
    pub(super) signs: u32,
    /// What was wrong with the last proof of a machine that was none.
    pub(super) unproven: Option<Unproven>,
    /// The key that was told to sign as a device's, and has not yet: the transport says nothing of a wrong signature.
    pub(super) awaited: Option<String>,
    /// How far the story of this login has been told to whoever logs it.
    pub(super) telling: Telling,
}

/// What is still to be logged if the connection ends now.
#[derive(Debug)]
pub(super) enum Telling {
    /// Nothing has happened, or it was said.
    Said,
    /// Something was proven, and nothing has come of it.
    Begun,
    /// The last offer was turned away, so that nothing else may come.
    TurnedAway(Refusal),
}

/// Who the client says to be. Nothing is proven for any other name.
#[derive(Debug)]
struct Claim {
    user: String,
    login: Result<LoginName, String>,
}

/// Any phase of a login.
#[derive(Debug)]
pub(super) enum Phase {
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
        Self {
            ground,
            peer,
            claim: None,
            phase,
            messages: 0,
            used: Vec::new(),
            device: None,
            mistaken: false,
            signs: 0,
            unproven: None,
            awaited: None,
            telling: Telling::Said,
        }
    }

    /// A key is offered without proof (or before its proof is checked): may it sign? Changes nothing that was proven, unless
    /// the offer is made in another operator's name.
    pub async fn offered(&mut self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> Offer {
        self.unsigned(None);
        let answer = match self.named(user) {
            Ok(login) => self.look(&login, key, algorithm).await,
            Err(no) => Ok(Err(no)),
        };
        let no = match answer {
            Ok(Ok(())) => return Offer::Sign,
            Ok(Err(no)) => self.refusal(no),
            Err(why) => self.refusal(unjudged(&why)),
        };
        self.telling = Telling::TurnedAway(no);
        Offer::Refuse { methods: self.methods() }
    }

    /// A key has signed this login, in this name; the transport has verified the signature.
    pub async fn proved(&mut self, user: &str, key: &PublicKey, algorithm: &Algorithm) -> Answer {
        let login = match self.named(user) {
            Ok(login) => login,
            Err(no) => return self.refuse(no),
        };
        let fingerprint = device::fingerprint(key);
        self.unsigned(Some(&fingerprint));
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
        self.unsigned(None);
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
        let asked = self.ask(identified, &login).await;
        asked.unwrap_or_else(|why| self.end(unjudged(&why)))
    }

    /// Asks for what is still to be given. Another login from this device may have given the code since this one was told
    /// to ask; then nothing is.
    async fn ask(&mut self, identified: Identified, login: &LoginName) -> Result<Answer, LoginError> {
        if let Some(code) = memory::recall(&self.ground, login, &identified).await? {
            return self.finish(identified, Some(Second::Code(code)), login).await;
        }
        let invited = invitation::is_open(&self.ground, &login.operator).await?;
        let asks = if invited { Asks::Invitation } else { Asks::Code };
        let instructions = if self.mistaken { asks.again() } else { "" };
        Ok(self.challenge(identified, asks, instructions))
    }

    fn challenge(&mut self, identified: Identified, asks: Asks, instructions: &'static str) -> Answer {
        self.phase = Phase::Challenged(Challenge::new(identified, asks));
        Answer::Ask { instructions, prompt: asks.prompt() }
    }

    /// The answers to the prompt: as many as came, of which one is right.
    pub async fn answers(&mut self, user: &str, given: &[&[u8]]) -> Answer {
        let login = match self.named(user) {
            Ok(login) => login,
            Err(no) => return self.refuse(no),
        };
        let challenge = match std::mem::replace(&mut self.phase, Phase::Over) {
            Phase::Challenged(challenge) => challenge,
            Phase::Over => return self.refuse(over()),
            phase => {
                self.phase = phase;
                let cause = "an answer to no prompt".to_owned();
                return self.refuse(No { code: "LOGIN-010", told: WHAT_CODE, cause });
            }
        };
        let (asks, identified) = (challenge.asks(), challenge.into_identified());
        if asks == Asks::Code && prompt::wants_recovery(given) {
            return self.challenge(identified, Asks::Recovery, "");
        }
        let answered = self.answer(identified, asks, given, &login).await;
        answered.unwrap_or_else(|why| self.end(unjudged(&why)))
    }

    /// Why the connection ended without a login, where no answer has said so: the client was told that none of its keys need
    /// sign, or did not give the code it was asked for, and went. To be logged when the connection ends in this state.
    pub fn unfinished(&self) -> Option<Refusal> {
        if let Some(unproven) = self.awaited.as_deref().map(unsigned_by) {
            return Some(self.no_proof(&unproven));
        }
        match &self.telling {
            Telling::Said => None,
            Telling::TurnedAway(refusal) => Some(refusal.clone()),
            Telling::Begun => {
                let cause = "the client left before the login was finished".to_owned();
                Some(self.refusal(No { code: "LOGIN-012", told: WHAT_KEY, cause }))
            }
        }
    }

    /// Who the client says to be, where that is a name.
    pub fn claimed(&self) -> Option<&OperatorName> {
        let login = self.claim.as_ref()?.login.as_ref().ok()?;
        Some(&login.operator)
    }

    /// Writes who and from where into an event about this login: the operator as claimed, the device as proven.
    pub fn describe(&self, event: &mut Event) {
        event.operator = self.claimed().map(ToString::to_string);
        event.device = self.device.as_ref().map(ToString::to_string);
        event.detail.insert("peer".to_owned(), self.peer.to_string().into());
    }

    /// Every message bears a name: the first one is the claim, another one drops all that was proven for it.
    pub(super) fn named(&mut self, user: &str) -> Result<LoginName, No> {
        self.messages = self.messages.saturating_add(1);
        if self.messages > MESSAGES {
            self.phase = Phase::Over;
            let cause = format!("more than {MESSAGES} messages in one login");
            return Err(No { code: "LIMIT-001", told: WHAT_KEY, cause });
        }
        let kept = user.get(..LONGEST_USER.min(user.len())).unwrap_or_default();
        let changed = self.claim.as_ref().is_some_and(|claim| claim.user != kept);
        if changed || self.claim.is_none() {
            let login = LoginName::parse(user).map_err(|why| why.to_string());
            self.claim = Some(Claim { user: kept.to_owned(), login });
        }
        if changed {
            self.phase = Phase::Accepted(Accepted::new(self.peer, self.ground.clock.now()));
            self.used.clear();
            self.device = None;
            self.unproven = None;
            self.awaited = None;
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

    fn assessed(&self) -> Option<&Assessed> {
        match &self.phase {
            Phase::Assessed(assessed) => Some(assessed),
            Phase::Identified(identified) => Some(identified.assessed()),
            Phase::Challenged(challenge) => Some(challenge.identified().assessed()),
            Phase::Accepted(_) | Phase::Over => None,
        }
    }

    /// A device may still prove itself after the person.
    pub(super) fn may_join(&self) -> bool {
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

    pub(super) fn partial(&mut self, methods: Methods) -> Answer {
        self.telling = Telling::Begun;
        Answer::Partial { methods }
    }

    /// An answer that says for the log what became of the login.
    pub(super) fn said(&mut self, answer: Answer) -> Answer {
        self.telling = Telling::Said;
        answer
    }

    pub(super) fn refuse(&mut self, no: No) -> Answer {
        let (methods, why) = (self.methods(), self.refusal(no));
        self.said(Answer::Refuse { methods, why })
    }

    /// A key that proves nothing yet and may be another's turn later: told to the log only if nothing comes of this login.
    pub(super) fn pass(&mut self, unproven: &Unproven) -> Answer {
        let (methods, why) = (self.methods(), self.no_proof(unproven));
        if self.unproven.is_none() {
            self.telling = Telling::TurnedAway(why.clone());
        }
        Answer::Pass { methods, why }
    }

    pub(super) fn end(&mut self, no: No) -> Answer {
        self.phase = Phase::Over;
        let why = self.refusal(no);
        self.said(Answer::Disconnect { text: why.line(), why })
    }

    /// The first prompt without a device: one constant text, whoever was named and whatever was offered.
    fn end_without_device(&mut self) -> Answer {
        let (code, cause) = match (&self.unproven, &self.telling) {
            (Some(unproven), _) => (unproven.code, unproven.cause.as_str()),
            (None, Telling::TurnedAway(refusal)) => (posture::Code::Enrolment, refusal.cause()),
            (None, Telling::Said | Telling::Begun) => (posture::Code::Enrolment, "no device key was offered"),
        };
        let why = device::no_proof(code, cause, self.ground.reference.clone());
        self.said(Answer::Disconnect { text: why.line(), why })
    }

    pub(super) fn refusal(&self, no: No) -> Refusal {
        Refusal::new(no.code, no.told, no.cause, self.ground.reference.clone())
    }
}

pub(super) fn used_key(fingerprint: &str) -> No {
    No {
        code: "LOGIN-003",
        told: WHAT_KEY,
        cause: format!("key {fingerprint} was used in this login already"),
    }
}

pub(super) fn over() -> No {
    No { code: "LOGIN-010", told: WHAT_KEY, cause: "a message after the login was over".to_owned() }
}

pub(super) fn unjudged(why: &dyn std::error::Error) -> No {
    No { code: "LOGIN-011", told: NOT_NOW, cause: why.to_string() }
}
