//! The words that people and scripts say, one file a noun, and the one dispatcher behind `control.sock`, the command line and SSH.
//! A word never runs before its caller may say it and, where it changes or reveals something, before the log has its beginning.

mod access;
pub mod ask;
pub mod attached;
mod audit;
mod ca;
mod caller;
mod check;
pub mod clean;
mod device;
mod door;
pub mod lock;
mod mfa;
mod operator;
mod recording;
pub mod reply;
mod report;
mod session;
mod ssh_config;
mod target;
mod targets;
mod unread;
mod vault;
mod whoami;
pub mod wire;

use std::io::Read;
use std::sync::Arc;

use ledger::log::Event;
use policy::OperatorName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::audit::{Outcome, State};
use crate::bastion::Bastion;

pub use attached::{AttachError, Attached};
pub use caller::{Caller, Forbidden, Need, Role, account_name};
pub use check::{Line, offline, say as say_checks, writable};
pub use door::{Door, DoorError, PATH_MAX, SOCKET, converse};
pub use recording::{ENTER, LEAVE};
use reply::{Reply, Trouble};
pub use ssh_config::SshConfigWord;
pub use unread::{Unread, parse, read};

/// Every command that the running server answers.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// People and their authenticators.
    #[command(subcommand)]
    Operator(operator::OperatorWord),
    /// Enrolled machines.
    #[command(subcommand)]
    Device(device::DeviceWord),
    /// The servers that can be reached.
    #[command(subcommand)]
    Target(target::TargetWord),
    /// Who is where.
    #[command(subcommand)]
    Session(session::SessionWord),
    /// What was done.
    #[command(subcommand)]
    Recording(recording::RecordingWord),
    /// The log of everything that happened.
    #[command(subcommand)]
    Audit(audit::AuditWord),
    /// The access bundle: who may do what.
    #[command(subcommand)]
    Access(access::AccessWord),
    /// Keys and passwords of targets that trust no certificate.
    #[command(subcommand)]
    Vault(vault::VaultWord),
    /// The certificate authorities that targets and laptops trust.
    #[command(subcommand)]
    Ca(ca::CaWord),
    /// Says who you are here, and how that was proven.
    Whoami {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists what you may reach now.
    Targets {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Your own authenticator and recovery codes.
    #[command(subcommand)]
    Mfa(mfa::MfaWord),
    /// Prints what a laptop's ~/.ssh/config needs to reach an operator's targets.
    SshConfig(ssh_config::SshConfigWord),
    /// Looks at config, keys, bundle, store, recording folder, clock and sandbox: each line ok or what is wrong.
    Check {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Exits 0 when the server answers.
    Health,
}

/// What a word came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// As asked.
    Well,
    /// The answer is no: something is broken or not permitted.
    No,
}

impl Word {
    /// The audit event of a word that changes or reveals something; `None` for one that only lists.
    pub fn event(&self) -> Option<&'static str> {
        match self {
            Self::Operator(word) => word.event(),
            Self::Device(word) => word.event(),
            Self::Target(word) => word.event(),
            Self::Session(word) => word.event(),
            Self::Recording(word) => word.event(),
            Self::Audit(word) => word.event(),
            Self::Access(word) => word.event(),
            Self::Vault(word) => word.event(),
            Self::Mfa(word) => word.event(),
            Self::Ca(_) | Self::Check { .. } | Self::Health => None,
            Self::Whoami { .. } | Self::Targets { .. } | Self::SshConfig(_) => None,
        }
    }

    /// What it asks of an operator.
    pub fn need(&self) -> Need<'_> {
        match self {
            Self::Operator(word) => word.need(),
            Self::Device(_) | Self::Target(_) | Self::Vault(_) => Need::OneOf(&[Role::Administrator]),
            Self::Session(word) => word.need(),
            Self::Recording(_) | Self::Audit(_) => Need::OneOf(&[Role::Auditor]),
            Self::Access(word) => word.need(),
            Self::Check { .. } => Need::OneOf(&[Role::Administrator]),
            Self::SshConfig(word) => word.need(),
            Self::Whoami { .. } | Self::Targets { .. } | Self::Mfa(_) => Need::Nothing,
            Self::Ca(_) | Self::Health => Need::Nothing,
        }
    }

    /// The operator whose standing it changes.
    pub fn changes(&self) -> Option<&OperatorName> {
        match self {
            Self::Operator(word) => word.changes(),
            Self::Device(word) => word.changes(),
            _ => None,
        }
    }

    /// Whether it only takes away: such a word is obeyed also when it cannot be logged.
    fn protects(&self) -> bool {
        self.event().is_some_and(|kind| {
            matches!(
                kind,
                "admin.session.kill"
                    | "admin.operator.disable"
                    | "admin.operator.revoke"
                    | "admin.device.lock"
                    | "admin.device.lost"
                    | "admin.device.retire"
                    | "admin.vault.remove"
            )
        })
    }

    /// Reads the files it names. Done where the command is typed, never where it is carried out.
    pub fn attach(&mut self, stdin: &mut dyn Read) -> Result<(), AttachError> {
        match self {
            Self::Operator(word) => word.attach(stdin),
            Self::Device(word) => word.attach(stdin),
            Self::Vault(word) => word.attach(stdin),
            Self::Access(word) => word.attach(),
            _ => Ok(()),
        }
    }

    /// Whether it reads standard input, in place of a file: then what comes in is given to [`Word::attach`].
    pub fn reads(&self) -> bool {
        match self {
            Self::Operator(word) => word.reads(),
            Self::Device(word) => word.reads(),
            Self::Vault(word) => word.reads(),
            _ => false,
        }
    }

    /// The file its output goes to, on the asking side.
    pub fn output(&self) -> Option<&std::path::Path> {
        match self {
            Self::Recording(word) => word.output(),
            Self::SshConfig(word) => word.output(),
            _ => None,
        }
    }

    /// Whether its output may take the place of a file that is there.
    pub fn replaces(&self) -> bool {
        matches!(self, Self::Recording(word) if word.replaces())
    }

    /// Where it names a recording by its file: the bastion's directory that this lies in.
    pub fn place(&mut self) -> Option<std::path::PathBuf> {
        match self {
            Self::Recording(word) => word.place(),
            _ => None,
        }
    }

    /// Whether it draws on the whole terminal.
    pub fn draws(&self) -> bool {
        matches!(self, Self::Recording(word) if word.listens())
            || matches!(self, Self::Session(word) if word.listens())
    }

    /// Whether it names a file on the asking side for its output, which is not reached over SSH.
    pub fn names_output(&self) -> bool {
        self.output().is_some() || matches!(self, Self::SshConfig(word) if word.names_a_file())
    }

    /// Whether it listens to keys while it runs.
    pub fn listens(&self) -> bool {
        match self {
            Self::Recording(word) => word.listens(),
            Self::Session(word) => word.listens(),
            Self::Mfa(word) => word.listens(),
            Self::Vault(word) => word.listens(),
            _ => false,
        }
    }

    /// Whether it may be said by who came by an invitation.
    fn is_for_guests(&self) -> bool {
        matches!(self, Self::Whoami { .. } | Self::Mfa(mfa::MfaWord::Enroll(_)))
    }

    /// What a shell asks for over SSH: what may be reached; of who came by an invitation, the enrolment.
    pub fn of_shell(caller: &Caller) -> Self {
        match caller {
            Caller::Guest { .. } => Self::Mfa(mfa::MfaWord::Enroll(mfa::What::Totp)),
            Caller::Local { .. } | Caller::Operator { .. } => Self::Targets { json: false },
        }
    }

    /// Its facts for the log: names only, never what a file held.
    fn facts(&self) -> Value {
        match self {
            Self::Operator(word) => word.facts(),
            Self::Device(word) => word.facts(),
            Self::Target(word) => word.facts(),
            Self::Session(word) => word.facts(),
            Self::Recording(word) => word.facts(),
            Self::Audit(word) => word.facts(),
            Self::Access(word) => word.facts(),
            Self::Vault(word) => word.facts(),
            Self::Mfa(word) => word.facts(),
            Self::SshConfig(word) => word.facts(),
            Self::Whoami { .. } | Self::Targets { .. } => json!({}),
            Self::Ca(_) | Self::Check { .. } | Self::Health => json!({}),
        }
    }
}

/// Carries a word out and says its answer; gives the exit code.
pub async fn dispatch<R: Reply>(bastion: &Arc<Bastion>, caller: &Caller, word: Word, out: &mut R) -> u8 {
    let said = match answer(bastion, caller, word, out).await {
        Ok(Done::Well) => return 0,
        Ok(Done::No) => return 1,
        Err(Trouble::Gone) => return 1,
        Err(Trouble::Said(what)) => what,
    };
    let _ = out.err(&format!("bartizan: {}\n", clean::line(&said))).await;
    1
}

async fn answer<R: Reply>(
    bastion: &Arc<Bastion>,
    caller: &Caller,
    word: Word,
    out: &mut R,
) -> Result<Done, Trouble> {
    let mut detail = Map::new();
    detail.insert("by".into(), caller.detail());
    detail.insert("word".into(), word.facts());
    if let Err(forbidden) = caller.may(&word) {
        let kind = word.event().unwrap_or("admin.refused");
        let event = Event {
            outcome: Some("refused".into()),
            reason: Some(forbidden.to_string()),
            ..event(bastion, caller, kind, detail)
        };
        bastion.audit.note(event).await?;
        return Err(forbidden.into());
    }
    let Some(kind) = word.event() else { return run(bastion, caller, word, out).await };
    let protects = word.protects();
    let opened = match bastion.audit.open(event(bastion, caller, kind, detail)).await {
        Ok(opened) => opened,
        // A full disk must not keep anybody from ending a session.
        Err(why) if protects => {
            let done = run(bastion, caller, word, out).await;
            out.err(&format!("bartizan: it was done, and not logged: {}\n", clean::line(&why.to_string())))
                .await?;
            return done;
        }
        Err(why) => return Err(why.into()),
    };
    let done = run(bastion, caller, word, out).await;
    let outcome = match &done {
        Ok(Done::Well) => Outcome::Ok,
        Ok(Done::No) => failed("the answer was no".to_owned()),
        Err(trouble) => failed(trouble.to_string()),
    };
    opened.close(outcome, Map::new()).await?;
    done
}

fn failed(reason: String) -> Outcome {
    Outcome::Failed { code: None, reason }
}

fn event(bastion: &Bastion, caller: &Caller, kind: &str, detail: Map<String, Value>) -> Event {
    let (operator, device) =
        (caller.operator().map(ToString::to_string), caller.device().map(ToString::to_string));
    Event { operator, device, detail, ..bastion.audit.event(kind) }
}

async fn run<R: Reply>(
    bastion: &Arc<Bastion>,
    caller: &Caller,
    word: Word,
    out: &mut R,
) -> Result<Done, Trouble> {
    match word {
        Word::Operator(word) => operator::run(bastion, caller, word, out).await,
        Word::Device(word) => device::run(bastion, caller, word, out).await,
        Word::Target(word) => target::run(bastion, word, out).await,
        Word::Session(word) => session::run(bastion, word, out).await,
        Word::Recording(word) => recording::run(bastion, word, out).await,
        Word::Audit(word) => audit::run(bastion, word, out).await,
        Word::Access(word) => access::run(bastion, caller, word, out).await,
        Word::Vault(word) => vault::run(bastion, caller, word, out).await,
        Word::Ca(word) => ca::run(bastion, word, out).await,
        Word::Mfa(word) => mfa::run(bastion, caller, word, out).await,
        Word::SshConfig(word) => ssh_config::run(bastion, caller, &word, out).await.map(|()| Done::Well),
        Word::Whoami { json } => whoami::run(bastion, caller, json, out).await.map(|()| Done::Well),
        Word::Targets { json } => targets::run(bastion, caller, json, out).await.map(|()| Done::Well),
        Word::Check { json } => check::run(bastion, json, out).await,
        Word::Health => {
            let remedy = match *bastion.audit.state().borrow() {
                State::Open => None,
                State::Full | State::Mended(_) => Some("it goes on by itself once there is room"),
                State::Broken => Some("mend the disk and restart the server"),
            };
            if let Some(remedy) = remedy {
                return Err(Trouble::said(format!("the audit log cannot be written; {remedy}")));
            }
            out.out("ok\n").await?;
            Ok(Done::Well)
        }
    }
}

/// Whether a public key line is one that an operator or a device may have.
pub fn fits_operator(line: &str) -> bool {
    operator::one_key(line).is_ok()
}

/// The fingerprint (`SHA256:...`) of the one public key in `text`.
///
/// # Errors
/// Why it is not one that may prove anything.
pub fn fingerprint(text: &str) -> Result<String, operator::Unfit> {
    operator::one_key(text).map(|key| key.fingerprint)
}

/// A stored moment (ms since 1970) for people.
fn at(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| "-".to_owned(), report::moment)
}

/// A row for scripts: as stored, with its moments written as RFC 3339.
fn with_times(row: &impl Serialize, moments: &[&str]) -> Value {
    let mut value = serde_json::to_value(row).unwrap_or_default();
    for name in moments {
        if let Some(member) = value.get_mut(name)
            && let Some(at) = member.as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        {
            *member = json!(at);
        }
    }
    value
}

#[cfg(test)]
mod tests;
