//! Words over SSH: `ssh bastion WORD...` on a connection that names no target, carried out by the one dispatcher.
//! Never reaches a target and never opens a file for an operator: what a word needs comes by its channel.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy::{OperatorName, TenantName};
use tokio::runtime::Handle;

use super::asking::Asking;
use super::calling::Client;
use super::outlet::Operator;
use super::picking;
use crate::bastion::Bastion;
use crate::channel::{Asked, Ingress as _, Start};
use crate::control::reply::{Reply as _, Trouble};
use crate::control::{self, Caller, Word};
use crate::live::{Carried, Connection, Cutter, Guest};
use crate::login::{self, Person};
use crate::refusal::Refusal;
use crate::store::StoreError;

/// Words at once of one operator, and of all.
const EACH: usize = 16;
const EVERYBODY: usize = 1024;
/// How long who came by an invitation may stay.
pub(super) const VISIT: Duration = Duration::from_secs(600);
/// Exit status of a line that is no word.
const MISUSED: u8 = 2;
/// What is told to a subsystem where no target is named.
const NO_TARGET: &str = "name a target: ssh operator+account+target@bastion";
const TOO_MANY: &str = "too many commands at once; wait for one to end";
const NOT_NOW: &str = "the bastion cannot check your roles now; try again in a moment";

/// Counts the words that are being said, by operator and over all connections, and has them said where they hold up no connection: a
/// word may be long work on the disk.
#[derive(Default)]
pub(super) struct Talking {
    counts: Mutex<HashMap<OperatorName, usize>>,
    elsewhere: Option<Handle>,
}

/// A word that is being said; counted until it is dropped.
pub(super) struct Turn {
    talking: Arc<Talking>,
    operator: OperatorName,
}

impl Talking {
    /// Words are said on the runtime that this is called on.
    pub(super) fn here() -> Self {
        Self { counts: Mutex::default(), elsewhere: Handle::try_current().ok() }
    }

    /// A turn for this operator, unless they or all together have too many.
    fn turn(self: &Arc<Self>, operator: &OperatorName) -> Option<Turn> {
        let mut counts = self.lock();
        let (own, all) = (counts.get(operator).copied().unwrap_or(0), counts.values().sum::<usize>());
        if own >= EACH || all >= EVERYBODY {
            return None;
        }
        counts.insert(operator.clone(), own + 1);
        Some(Turn { talking: self.clone(), operator: operator.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<OperatorName, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.talking.lock();
        match counts.get_mut(&self.operator) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.operator);
            }
        }
    }
}

/// Who speaks on a connection.
#[derive(Clone)]
pub(super) enum Speaker {
    /// Who logged in.
    Operator(Arc<Connection>),
    /// Who came by an invitation.
    Guest(Arc<Guest>),
}

/// Carries out what a channel asks for, in a task of its own.
pub(super) fn begin(
    bastion: Arc<Bastion>,
    talking: &Arc<Talking>,
    speaker: Speaker,
    asked: Asked,
    mut operator: Operator,
    client: Client,
) {
    // Both counted before the task runs.
    let (turn, carried) = (talking.turn(&speaker.name()), speaker.carry());
    tokio::spawn(async move {
        let _carried = carried;
        operator.accept().await;
        let (start, size) = (asked.start.clone(), asked.terminal.as_ref().map(|terminal| terminal.size));
        let mut asking = Asking::new(bastion.clone(), speaker.clone(), operator, size);
        let Some(mut turn) = turn else {
            return asking.dismiss(&refusal(&bastion, "LIMIT-001", TOO_MANY).line()).await;
        };
        if let (Speaker::Operator(connection), Start::Shell, Some(_)) = (&speaker, &start, size) {
            match picking::pick(&bastion, connection, asked, asking, client, turn).await {
                Some(back) => (asking, turn) = back,
                None => return,
            }
        }
        let elsewhere = turn.talking.elsewhere.clone().unwrap_or_else(Handle::current);
        let saying = elsewhere.spawn(async move {
            converse(&bastion, &speaker, start, asking).await;
            drop(turn);
        });
        let _ = saying.await;
    });
}

impl Speaker {
    fn name(&self) -> OperatorName {
        match self {
            Self::Operator(connection) => connection.authenticated().operator().clone(),
            Self::Guest(guest) => guest.invited.operator().clone(),
        }
    }

    /// While something is carried the connection is not idle. A guest's has a limit of its own.
    fn carry(&self) -> Option<Carried> {
        match self {
            Self::Operator(connection) => Some(connection.carry()),
            Self::Guest(_) => None,
        }
    }

    /// What ends the connection.
    pub(super) fn cutter(&self) -> &Cutter {
        match self {
            Self::Operator(connection) => &connection.cutter,
            Self::Guest(guest) => &guest.cutter,
        }
    }

    /// The speaker with the roles of this moment.
    pub(super) async fn caller(&self, bastion: &Bastion) -> Result<Caller, StoreError> {
        let login = match self {
            Self::Guest(guest) => return Ok(Caller::Guest { invited: guest.invited.clone() }),
            Self::Operator(connection) => connection.authenticated(),
        };
        let name: OperatorName = login.operator().clone();
        let person = login::person(&bastion.store, &bastion.access.bundle(), &name).await?;
        let person = person.filter(Person::enabled);
        let among_others = person.as_ref().is_none_or(|person| among_others(bastion, &person.tenant));
        let roles = person.map_or_else(BTreeSet::new, |person| person.roles);
        Ok(Caller::Operator { name, roles, among_others, login: Some(login) })
    }
}

/// Whether the bundle knows people or things of another tenant than this one.
fn among_others(bastion: &Bastion, tenant: &TenantName) -> bool {
    let bundle = bastion.access.bundle();
    bundle.operators().any(|operator| operator.tenant() != tenant)
        || bundle.targets().any(|target| target.tenant() != tenant)
}

/// One channel, from what it asks for to its exit status.
async fn converse(bastion: &Arc<Bastion>, speaker: &Speaker, start: Start, mut asking: Asking) {
    let caller = match speaker.caller(bastion).await {
        Ok(caller) => caller,
        Err(why) => {
            tracing::error!(%why, "the roles of an operator cannot be read");
            return asking.dismiss(&refusal(bastion, "LOGIN-011", NOT_NOW).line()).await;
        }
    };
    let status = match word(bastion, &caller, &start) {
        Heading::Word(word) => carry_out(bastion, &caller, *word, start == Start::Shell, &mut asking).await,
        Heading::Elsewhere => return asking.dismiss(&refusal(bastion, "ACCESS-009", NO_TARGET).line()).await,
        Heading::Nowhere(unread) => {
            let said = if unread.asked_for {
                asking.out(&unread.text).await
            } else {
                asking.err(&unread.text).await
            };
            if unread.asked_for && said.is_ok() { 0 } else { MISUSED }
        }
    };
    match asking.cut() {
        Some(_) => asking.leave(bastion).await,
        None => asking.end(status).await,
    }
}

/// Where a channel's request leads.
enum Heading {
    Word(Box<Word>),
    Nowhere(control::Unread),
    Elsewhere,
}

fn word(bastion: &Bastion, caller: &Caller, start: &Start) -> Heading {
    let read = match start {
        Start::Shell => return Heading::Word(Box::new(Word::of_shell(caller))),
        Start::Exec(line) => control::read(&program(bastion), line),
        _ => return Heading::Elsewhere,
    };
    match read {
        Ok(word) => Heading::Word(Box::new(word)),
        Err(unread) => Heading::Nowhere(unread),
    }
}

/// Has the dispatcher do it, to its end: when the operator goes, the word notices by what it says and hears, so that what
/// it changes is never left half done.
async fn carry_out(
    bastion: &Arc<Bastion>,
    caller: &Caller,
    mut word: Word,
    shell: bool,
    asking: &mut Asking,
) -> u8 {
    if let Err(text) = complete(&mut word, asking).await {
        let _ = asking.err(&format!("bartizan: {text}\n")).await;
        return MISUSED;
    }
    asking.speaks(&word);
    let status = control::dispatch(bastion, caller, word, asking).await;
    if shell && status == 0 {
        let _ = how_to_go_on(bastion, caller, asking).await;
    }
    status
}

/// Brings along what the word reads. Files lie on the operator's machine and come by standard input.
async fn complete(word: &mut Word, asking: &mut Asking) -> Result<(), String> {
    if word.names_output() {
        return Err("a file is written on your side; leave the option out and write `> FILE`".to_owned());
    }
    if !word.reads() {
        return Ok(());
    }
    if asking.shape().terminal {
        return Err("this reads standard input; connect without `-t` and write `< FILE`".to_owned());
    }
    let input = asking.input().await.ok_or("standard input did not end in time, or is too long")?;
    word.attach(&mut input.as_slice()).map_err(|why| why.to_string())
}

async fn how_to_go_on(bastion: &Bastion, caller: &Caller, asking: &mut Asking) -> Result<(), Trouble> {
    let (Caller::Operator { name, .. }, host) = (caller, host(bastion)) else { return Ok(()) };
    asking
        .out(&format!(
            "\nGo on with  ssh -J {name}@{host} ACCOUNT@TARGET\n        or  ssh {name}+ACCOUNT+TARGET@{host}\n\
             Words here  ssh {name}@{host} help\n"
        ))
        .await
}

/// What the bastion is called.
pub(super) fn host(bastion: &Bastion) -> &str {
    bastion.config.ssh.names.first().map_or("bastion", String::as_str)
}

fn program(bastion: &Bastion) -> String {
    format!("ssh {}", host(bastion))
}

/// What is told to whom no session is bound.
pub(super) fn refusal(bastion: &Bastion, code: &'static str, told: &str) -> Refusal {
    Refusal::new(code, told, told, bastion.ids.reference(bastion.clock.now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_operator_cannot_take_all_turns_and_each_is_given_back() {
        let talking = Arc::new(Talking::default());
        let [ana, bob] = ["ana", "bob"].map(|name| OperatorName::parse(name).unwrap());
        let turns: Vec<_> = (0..100).filter_map(|_| talking.turn(&ana)).collect();
        assert_eq!(turns.len(), EACH);
        assert!(talking.turn(&bob).is_some());
        drop(turns);
        assert!(talking.lock().is_empty());
    }
}
