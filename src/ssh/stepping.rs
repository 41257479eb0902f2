//! More is asked of who is logged in before a connection to a target opens: inside a jump, and where the login names the target.
//! Never asks where no grant names the operator, and takes no answer to a question that was not asked.

use std::sync::Arc;

use policy::{AccountName, LoginName};
use russh::server::Auth;
use russh::{MethodKind, MethodSet};

use super::answering::no_question;
use super::handler::{Handler, Phase};
use super::inner::{Arriving, Outer};
use crate::bastion::Bastion;
use crate::ids::Reference;
use crate::live::{Connection, Cutter, Route};
use crate::login::{self, Authenticated, Ground, Lacking, NotTaken, Round, StepUp, Stepped};
use crate::refusal::Refusal;
use crate::{access, connection};

/// What is told of what was not given, whatever the reason.
const NOT_GIVEN: &str = "what the target asks for was not given";

/// Somebody who is logged in and is asked for more.
pub(super) struct Stepping {
    /// Inside a jump: where it began, to begin again.
    arriving: Option<Box<Arriving>>,
    /// Boxed, as what a handler always has room for is kept small.
    ground: Box<Ground>,
    route: Box<Route>,
    turn: Turn,
}

enum Turn {
    /// Told that more is asked for.
    Told(StepUp),
    /// The questions were sent.
    Asked(Round),
}

impl Stepping {
    fn new(arriving: Option<Box<Arriving>>, ground: Ground, route: Route, turn: Turn) -> Self {
        Self { arriving, ground: Box::new(ground), route: Box::new(route), turn }
    }

    /// Whether this is the name that it began with.
    fn is_for(&self, user: &str) -> bool {
        if self.arriving.is_some() {
            return AccountName::parse(user).ok() == self.route.account;
        }
        LoginName::parse(user).is_ok_and(|name| name == *self.from().login_name())
    }

    fn from(&self) -> &Arc<Authenticated> {
        match &self.turn {
            Turn::Told(step_up) => step_up.from(),
            Turn::Asked(round) => round.from(),
        }
    }

    /// It ended with nothing given.
    pub(super) async fn unfinished(self, bastion: &Bastion) {
        unfinished(bastion, &self.ground, &self.turn.given_up(), &self.route).await;
    }
}

impl Turn {
    /// No answer outlives its question.
    fn given_up(self) -> StepUp {
        match self {
            Self::Told(step_up) => step_up,
            Self::Asked(round) => round.give_up(),
        }
    }
}

impl Handler {
    /// The `none` of an inner login: in, or told that more is asked for. The user name is the account.
    pub(super) async fn arrive(&mut self, user: &str) -> Auth {
        // What is no name changes nothing, not even the count of what went wrong.
        let Ok(account) = AccountName::parse(user) else {
            self.no_account().await;
            return Auth::reject();
        };
        let (arriving, before) = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Arriving(arriving) => (arriving, None),
            Phase::Stepping(Stepping { arriving: Some(arriving), turn, .. }) => {
                (arriving, Some(turn.given_up()))
            }
            other => {
                self.phase = other;
                return Auth::reject();
            }
        };
        let outer = match &arriving.outer {
            Outer::Remediation(text) => {
                self.phase = Phase::remediation(text.clone(), arriving.kill.clone());
                self.finished();
                return Auth::Accept;
            }
            Outer::Open(outer) => outer.clone(),
        };
        let ground = Ground { reference: arriving.reference.clone(), ..Ground::of(&self.bastion) };
        let route = Route { target: Some(arriving.name.clone()), account: Some(account), reason: None };
        let Some(from) = current(&self.bastion, &ground, &outer, &route).await else {
            self.phase = Phase::Arriving(arriving);
            return Auth::reject();
        };
        let Some(lacking) = lacking(&self.bastion, &from, &route).await else {
            return self.enter_inner(&outer, from, route).await;
        };
        let step_up = match before {
            Some(before) => before.now(from, lacking),
            None => StepUp::new(from, lacking),
        };
        let turn = Turn::Told(step_up);
        self.phase = Phase::Stepping(Stepping::new(Some(arriving), ground, route, turn));
        ask_by_prompt(false)
    }

    /// Logs that the user name of an inner login is no account's: once a connection is enough.
    async fn no_account(&mut self) {
        let (Phase::Arriving(arriving) | Phase::Stepping(Stepping { arriving: Some(arriving), .. })) =
            &mut self.phase
        else {
            return;
        };
        if let Outer::Open(outer) = &arriving.outer
            && !std::mem::replace(&mut arriving.refused, true)
        {
            connection::refuse_account(&self.bastion, outer, &arriving.name).await;
        }
    }

    async fn enter_inner(&mut self, outer: &Connection, from: Arc<Authenticated>, route: Route) -> Auth {
        let cutter = Cutter::new(self.kill.clone());
        let entered = connection::enter_inner(&self.bastion, outer, from, route, cutter).await;
        self.opened(entered)
    }

    /// A finished login, unless its target asks for more.
    pub(super) async fn open(&mut self, authenticated: Arc<Authenticated>) -> Auth {
        let Phase::Login(attempt) = &self.phase else { return Auth::reject() };
        let reference = attempt.reference().clone();
        let name = authenticated.login_name();
        let route = Route { target: name.target.clone(), account: name.account.clone(), reason: None };
        let Some(lacking) = lacking(&self.bastion, &authenticated, &route).await else {
            return self.enter(authenticated, route, reference).await;
        };
        let step_up = StepUp::new(authenticated, lacking);
        let ground = Ground { reference, ..Ground::of(&self.bastion) };
        self.phase = Phase::Stepping(Stepping::new(None, ground, route, Turn::Told(step_up)));
        ask_by_prompt(true)
    }

    async fn enter(&mut self, authenticated: Arc<Authenticated>, route: Route, reference: Reference) -> Auth {
        let (cutter, reason) = (Cutter::new(self.kill.clone()), route.reason);
        let entered =
            connection::enter(&self.bastion, authenticated, reason, self.peer, cutter, reference).await;
        self.opened(entered)
    }

    fn opened(&mut self, entered: Option<Arc<Connection>>) -> Auth {
        if let Some(connection) = &entered {
            let limit = self.bastion.config.ssh.idle_timeout;
            tokio::spawn(connection::idle_out(connection.clone(), limit));
        }
        self.entered(entered.map(Phase::Open))
    }

    /// The questions, where there still are any.
    pub(super) async fn ask_more(&mut self, user: &str) -> Auth {
        if !self.still_named(user).await {
            return Auth::reject();
        }
        // Another connection may have given the code since this one was told.
        if matches!(&self.phase, Phase::Stepping(stepping) if stepping.arriving.is_some()) {
            let auth = self.arrive(user).await;
            if !matches!(self.phase, Phase::Stepping(_)) {
                return auth;
            }
        }
        let Phase::Stepping(stepping) = std::mem::replace(&mut self.phase, Phase::Ended) else {
            return Auth::reject();
        };
        let step_up = stepping.turn.given_up();
        let prompts: Vec<_> =
            step_up.questions().into_iter().map(|question| (question.prompt.into(), question.echo)).collect();
        let instructions = step_up.instructions().into();
        self.phase = Phase::Stepping(Stepping { turn: Turn::Asked(step_up.ask()), ..stepping });
        Auth::Partial { name: "".into(), instructions, prompts: prompts.into() }
    }

    /// The answers to the questions.
    pub(super) async fn answer_more(&mut self, user: &str, given: &[&[u8]]) -> Auth {
        if !self.still_named(user).await {
            return Auth::reject();
        }
        let Phase::Stepping(stepping) = std::mem::replace(&mut self.phase, Phase::Ended) else {
            return Auth::reject();
        };
        let Turn::Asked(round) = stepping.turn else {
            self.phase = Phase::Stepping(stepping);
            return Auth::reject();
        };
        let (from, route) = (round.from().clone(), *stepping.route);
        match round.answers(&stepping.ground, given).await {
            Ok(stepped) => {
                if let Err(why) = connection::stepped_up(&self.bastion, &stepped, &route).await {
                    tracing::error!(%why, "a step-up was refused because it cannot be logged");
                    return Auth::reject();
                }
                let route = Route { reason: stepped.reason, ..route };
                match stepping.arriving.map(|arriving| arriving.outer) {
                    None => self.enter(stepped.authenticated, route, stepping.ground.reference).await,
                    Some(Outer::Open(outer)) => self.enter_inner(&outer, stepped.authenticated, route).await,
                    Some(Outer::Remediation(_)) => Auth::reject(),
                }
            }
            Err(NotTaken { why, again }) => {
                connection::not_stepped_up(&self.bastion, &from, &route, &why).await;
                let Some(step_up) = again else {
                    self.disconnect(why.line());
                    // After a failure a client tries what is left; after no question at all it waits, and reads.
                    return no_question();
                };
                self.phase = Phase::Stepping(Stepping {
                    turn: Turn::Told(step_up),
                    route: Box::new(route),
                    ..stepping
                });
                ask_by_prompt(false)
            }
        }
    }

    /// Another name than the one it began with ends all of it.
    async fn still_named(&mut self, user: &str) -> bool {
        let Phase::Stepping(stepping) = &self.phase else { return false };
        if stepping.is_for(user) {
            return true;
        }
        let (told, cause) = (NOT_GIVEN, "another name in the middle of what was asked");
        let why = Refusal::new("LOGIN-009", told, cause, stepping.ground.reference.clone());
        connection::not_stepped_up(&self.bastion, stepping.from(), &stepping.route, &why).await;
        self.phase = Phase::Ended;
        false
    }
}

/// Logs that nothing was given; where wrong answers were, they have been logged already.
pub(super) async fn unfinished(bastion: &Bastion, ground: &Ground, step_up: &StepUp, route: &Route) {
    if step_up.wrong() > 0 {
        return;
    }
    let cause = format!("it ended without {}", step_up.lacking().as_str());
    let why = Refusal::new("ACCESS-005", NOT_GIVEN, cause, ground.reference.clone());
    connection::not_stepped_up(bastion, step_up.from(), route, &why).await;
}

/// The outer login as it stands now, or with a newer code that was given in another connection.
pub(super) async fn current(
    bastion: &Bastion,
    ground: &Ground,
    outer: &Connection,
    route: &Route,
) -> Option<Arc<Authenticated>> {
    let from = outer.authenticated();
    let (target, account) = (route.target.as_ref()?, route.account.as_ref());
    match login::recalled(ground, &from, target, account).await {
        Ok(None) => Some(from),
        Ok(Some(authenticated)) => {
            let stepped = Stepped { authenticated, reason: None, lacking: Lacking::default() };
            let logged = connection::stepped_up(bastion, &stepped, route).await;
            logged.is_ok().then_some(stepped.authenticated)
        }
        Err(why) => {
            tracing::error!(%why, "what was given in other connections cannot be read");
            Some(from)
        }
    }
}

/// What is lacking on the way there and can be typed; none where the channel is to say it. What cannot be read now the channel
/// cannot read either.
pub(super) async fn lacking(bastion: &Bastion, from: &Authenticated, route: &Route) -> Option<Lacking> {
    let found = access::askable(bastion, from, route.target.as_ref()?, route.account.as_ref()).await;
    found.ok().flatten().filter(|lacking| lacking.anything())
}

/// Failure, and the one way on; `partial` where what was proven so far stands.
fn ask_by_prompt(partial: bool) -> Auth {
    let methods = MethodSet::from(&[MethodKind::KeyboardInteractive][..]);
    Auth::Reject { proceed_with_methods: Some(methods), partial_success: partial }
}
