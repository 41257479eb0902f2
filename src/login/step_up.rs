//! Authenticated -> Authenticated: a target needs more than the login gave, and it is asked for: a code, a reason, or both.
//! It never edits: what rests on the old login rests on it still. It asks for exactly what is lacking, in one round.
//!
//! ```text
//!   StepUp --ask--> Round --as many right answers as questions--> Stepped
//!      ^              |
//!      +--------------+  anything else, three times at most
//! ```

use std::sync::Arc;
use std::time::Duration;

use policy::{AccountName, TargetName};

use super::authenticated::{Authenticated, Second};
use super::ground::Ground;
use super::reason::Reason;
use super::{LoginError, No, Unjudged, WHAT_CODE, again, attempt, memory, person};
use crate::refusal::Refusal;

/// Rounds that may go wrong; the throttle counts wrong codes besides, over all connections.
const ROUNDS: u32 = 3;

/// What a target needs that can be typed and was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lacking {
    /// A code, fresher than the one that counts.
    pub code: bool,
    /// A reason.
    pub reason: bool,
}

impl Lacking {
    /// Whether there is anything to be asked.
    #[must_use]
    pub fn anything(self) -> bool {
        self.code || self.reason
    }

    /// In words, for people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match (self.code, self.reason) {
            (true, true) => "a one-time code and a reason",
            (true, false) => "a one-time code",
            (false, true) => "a reason",
            (false, false) => "nothing",
        }
    }
}

/// One question of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// The prompt, as scripts expect it.
    pub prompt: &'static str,
    /// Whether what is typed is shown.
    pub echo: bool,
}

/// Somebody who is logged in and of whom more is to be asked.
#[derive(Debug)]
pub struct StepUp {
    from: Arc<Authenticated>,
    lacking: Lacking,
    wrong: u32,
    instructions: &'static str,
}

/// The questions were sent; it waits for exactly as many answers.
#[derive(Debug)]
pub struct Round(StepUp);

/// All that was lacking is there.
#[derive(Debug)]
pub struct Stepped {
    /// The login, with the new code where one was asked for.
    pub authenticated: Arc<Authenticated>,
    /// Why they go there, where that was asked.
    pub reason: Option<Reason>,
    /// What was asked for.
    pub lacking: Lacking,
}

/// The answers were not taken.
#[derive(Debug)]
pub struct NotTaken {
    /// Why, to be logged.
    pub why: Refusal,
    /// Another round, while there is one.
    pub again: Option<StepUp>,
}

impl StepUp {
    /// Of whom what is to be asked.
    #[must_use]
    pub fn new(from: Arc<Authenticated>, lacking: Lacking) -> Self {
        Self { from, lacking, wrong: 0, instructions: "" }
    }

    /// The same for another login or another thing, with the rounds that went before.
    #[must_use]
    pub fn now(self, from: Arc<Authenticated>, lacking: Lacking) -> Self {
        Self { from, lacking, ..self }
    }

    /// Who is asked.
    #[must_use]
    pub fn from(&self) -> &Arc<Authenticated> {
        &self.from
    }

    /// What is asked for.
    #[must_use]
    pub fn lacking(&self) -> Lacking {
        self.lacking
    }

    /// Rounds that went wrong.
    #[must_use]
    pub fn wrong(&self) -> u32 {
        self.wrong
    }

    /// Shown above the questions; may be empty.
    #[must_use]
    pub fn instructions(&self) -> &'static str {
        self.instructions
    }

    /// The questions, in order.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let code = self.lacking.code.then_some(Question { prompt: "One-time code: ", echo: false });
        let reason = self.lacking.reason.then_some(Question { prompt: "Reason: ", echo: true });
        code.into_iter().chain(reason).collect()
    }

    /// The questions are being sent.
    #[must_use]
    pub fn ask(self) -> Round {
        Round(self)
    }
}

impl Round {
    /// Who was asked.
    #[must_use]
    pub fn from(&self) -> &Arc<Authenticated> {
        self.0.from()
    }

    /// The round is over, answered or abandoned: each answer needs a question of its own.
    #[must_use]
    pub fn give_up(self) -> StepUp {
        self.0
    }

    /// Tries the answers: as many as came, in the order of the questions.
    ///
    /// # Errors
    /// Why they are not taken, or cannot be judged.
    pub async fn answers(self, ground: &Ground, given: &[&[u8]]) -> Result<Stepped, NotTaken> {
        let step_up = self.0;
        let no = match step_up.judged(ground, given).await {
            Ok(Ok(stepped)) => return Ok(stepped),
            Ok(Err(no)) => no,
            Err(why) => attempt::unjudged(&why),
        };
        let why = Refusal::new(no.code, no.told, no.cause, ground.reference.clone());
        let instructions = if no.code == "LOGIN-014" {
            "The reason was not accepted. Write one line, at most 400 bytes."
        } else {
            "The code was not accepted. Wait for the next one."
        };
        let wrong = step_up.wrong.saturating_add(1);
        let again = (wrong < ROUNDS).then_some(StepUp { wrong, instructions, ..step_up });
        Err(NotTaken { why, again })
    }
}

impl StepUp {
    async fn judged(&self, ground: &Ground, given: &[&[u8]]) -> Result<Result<Stepped, No>, LoginError> {
        let Lacking { code, reason } = self.lacking;
        let (typed, why) = match (code, reason, given) {
            (true, true, &[typed, why]) => (Some(typed), Some(why)),
            (true, false, &[typed]) => (Some(typed), None),
            (false, true, &[why]) => (None, Some(why)),
            _ => {
                let cause = format!("{} answers to {} questions", given.len(), self.questions().len());
                return Ok(Err(No { code: "LOGIN-010", told: WHAT_CODE, cause }));
            }
        };
        // The reason first: a code is spent only where nothing else is wrong.
        let reason = match why.map(Reason::read).transpose() {
            Ok(reason) => reason,
            Err(no) => return Ok(Err(no)),
        };
        let authenticated = match typed {
            None => self.from.clone(),
            Some(typed) => match self.second(ground, typed).await? {
                Ok(authenticated) => Arc::new(authenticated),
                Err(no) => return Ok(Err(no)),
            },
        };
        Ok(Ok(Stepped { authenticated, reason, lacking: self.lacking }))
    }

    async fn second(&self, ground: &Ground, typed: &[u8]) -> Result<Result<Authenticated, No>, LoginError> {
        let second = match again::second(ground, self.from.operator(), self.from.source(), typed).await? {
            Ok(second) => second,
            Err(no) => return Ok(Err(no)),
        };
        let authenticated = self.from.stepped_up(&second);
        if let Some(code) = second.code() {
            memory::remember(ground, &authenticated, code).await?;
        }
        Ok(Ok(authenticated))
    }
}

/// The login with a newer code that its operator gave on the same device, in another connection, where the one that counts
/// is older than some grant on this account asks for: then nobody need be asked.
///
/// # Errors
/// When the store cannot be read.
pub async fn recalled(
    ground: &Ground,
    from: &Authenticated,
    target: &TargetName,
    account: Option<&AccountName>,
) -> Result<Option<Arc<Authenticated>>, Unjudged> {
    let (operator, bundle) = (from.operator(), &ground.bundle);
    let (Some(device), Some(second)) = (from.proven(), from.second()) else { return Ok(None) };
    let person = person(&ground.store, bundle, operator).await.map_err(LoginError::from)?;
    let Some(person) = person else { return Ok(None) };
    let fresh = policy::login_fresh(bundle, operator, &person.roles, Some(target.as_str()), account);
    let age = Duration::try_from(ground.clock.now().duration_since(second)).unwrap_or(Duration::MAX);
    if age <= fresh {
        return Ok(None);
    }
    let found = memory::recall_within(ground, operator, device, fresh).await.map_err(LoginError::from)?;
    let newer = found.filter(|code| code.at() > second).map(Second::Code);
    Ok(newer.map(|code| Arc::new(from.stepped_up(&code))))
}
