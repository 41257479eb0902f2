//! An operator on a terminal picks a target, is asked for what it asks for, and is carried there on the same channel.
//! Never decides: what is picked is a wish like any login name's, and goes the way of one.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::asking::Asking;
use super::calling::Client;
use super::picker::{Came, Picker};
use super::stepping::{current, lacking, unfinished};
use super::words::{Turn, host, refusal};
use crate::bastion::Bastion;
use crate::channel::Asked;
use crate::control::ask::{Echo, Questions};
use crate::control::reply::{Heard, Reply as _, Trouble};
use crate::control::{ENTER, LEAVE, Word};
use crate::live::{Connection, Cutter, Route};
use crate::login::{Authenticated, Ground, NotTaken, Reason, StepUp};
use crate::{access, connection, session};

/// How long the questions of a target may take to be answered.
const ANSWERS: Duration = Duration::from_secs(120);
/// What is told when the login no longer holds, or cannot be judged.
const NOT_NOW: &str = "this login does not lead there now; connect again";

/// From the list to the end of what was picked. Gives the channel back where there is nothing to pick from.
pub(super) async fn pick(
    bastion: &Arc<Bastion>,
    outer: &Arc<Connection>,
    asked: Asked,
    mut asking: Asking,
    client: Client,
    turn: Turn,
) -> Option<(Asking, Turn)> {
    asking.listens(&Word::Targets { json: false });
    let reached = access::reach(bastion, &outer.authenticated()).await;
    let Some(reached) = reached.ok().filter(|reached| !reached.all.is_empty()) else {
        return Some((asking, turn));
    };
    let shape = asking.shape();
    let title = title(bastion, outer, reached.whole);
    let picker = Picker::new(title, &reached.all, (shape.columns, shape.rows));
    let (route, mut ahead) = match choose(picker, &mut asking).await {
        Ok(Some(picked)) => picked,
        // Whoever leaves a list has done nothing wrong.
        Ok(None) => {
            asking.end(0).await;
            return None;
        }
        Err(_) => {
            asking.leave(bastion).await;
            return None;
        }
    };
    match entered(bastion, outer, route, &mut asking, &mut ahead).await {
        Ok(connection) => {
            // From here on it is a session and no word.
            drop(turn);
            let (operator, asked) = asking.onward(asked, ahead);
            session::run(bastion.clone(), connection.carry(), Box::new(asked), operator, client).await;
            connection::leave(bastion.clone(), connection).await;
        }
        Err(Trouble::Said(line)) => asking.dismiss(&line).await,
        Err(Trouble::Gone) => asking.leave(bastion).await,
    }
    None
}

fn title(bastion: &Bastion, outer: &Connection, whole: bool) -> String {
    let more = if whole { "" } else { "; the list is not whole, name what is missing" };
    format!("{} at {}: where to{more}", outer.authenticated().operator(), host(bastion))
}

/// Shows the list until something is picked: the way there, and what was typed after it; `None` when the operator leaves it.
async fn choose(mut picker: Picker, asking: &mut Asking) -> Result<Option<(Route, String)>, Trouble> {
    asking.out(ENTER).await?;
    let picked = loop {
        asking.out(&picker.drawn()).await?;
        match asking.heard().await {
            Heard::Keys(typed) => match picker.typed(&typed) {
                Came::Nothing => {}
                Came::Left => break None,
                Came::Picked(target, account) => break Some((target, account)),
            },
            Heard::Size(columns, rows) => picker.resize(columns, rows),
            Heard::Gone => return Err(Trouble::Gone),
        }
    };
    asking.out(LEAVE).await?;
    let Some((target, account)) = picked else { return Ok(None) };
    asking.out(&format!("{account}@{target}\n")).await?;
    let route = Route { target: Some(target), account: Some(account), reason: None };
    Ok(Some((route, picker.into_ahead())))
}

/// A connection to what was picked, after what it asks for beyond the login was given.
async fn entered(
    bastion: &Arc<Bastion>,
    outer: &Arc<Connection>,
    route: Route,
    asking: &mut Asking,
    ahead: &mut String,
) -> Result<Arc<Connection>, Trouble> {
    let not_now = || Trouble::Said(refusal(bastion, "LOGIN-011", NOT_NOW).line());
    let ground = Ground { reference: outer.reference.clone(), ..Ground::of(bastion) };
    let from = current(bastion, &ground, outer, &route).await.ok_or_else(not_now)?;
    let (authenticated, reason) = match lacking(bastion, &from, &route).await {
        None => (from, None),
        Some(lacking) => {
            // What was typed before the questions were known is neither their answer nor the program's.
            ahead.clear();
            stepped_up(bastion, &ground, StepUp::new(from, lacking), &route, asking, ahead).await?
        }
    };
    let route = Route { reason, ..route };
    // The same socket: what ends this session ends the connection that it is seen through.
    let cutter = Cutter::new(outer.cutter.gone().clone());
    connection::enter_inner(bastion, outer, authenticated, route, cutter).await.ok_or_else(not_now)
}

/// Asks until what the target asks for is given, or no more answers are taken.
async fn stepped_up(
    bastion: &Bastion,
    ground: &Ground,
    mut step_up: StepUp,
    route: &Route,
    asking: &mut Asking,
    ahead: &mut String,
) -> Result<(Arc<Authenticated>, Option<Reason>), Trouble> {
    let mut typing = Questions::within(ANSWERS, asking)?;
    loop {
        let answers = match answered(&step_up, &mut typing, asking).await {
            Ok(answers) => answers,
            Err(trouble) => {
                unfinished(bastion, ground, &step_up, route).await;
                return Err(trouble);
            }
        };
        let given: Vec<&[u8]> = answers.iter().map(|answer| answer.as_bytes()).collect();
        let from = step_up.from().clone();
        match step_up.ask().answers(ground, &given).await {
            Ok(stepped) => {
                connection::stepped_up(bastion, &stepped, route).await?;
                ahead.push_str(&typing.into_ahead());
                return Ok((stepped.authenticated, stepped.reason));
            }
            Err(NotTaken { why, again }) => {
                connection::not_stepped_up(bastion, &from, route, &why).await;
                let Some(again) = again else { return Err(Trouble::Said(why.line())) };
                asking.out(&format!("{}\n", why.line())).await?;
                step_up = again;
            }
        }
    }
}

/// What was answered to what is asked now.
async fn answered(
    step_up: &StepUp,
    typing: &mut Questions,
    asking: &mut Asking,
) -> Result<Vec<Zeroizing<String>>, Trouble> {
    asking.out(&format!("{}\n", step_up.instructions())).await?;
    let mut answers = Vec::new();
    for question in step_up.questions() {
        let echo = if question.echo { Echo::On } else { Echo::Off };
        answers.push(typing.line(asking, question.prompt, echo).await?);
    }
    Ok(answers)
}
