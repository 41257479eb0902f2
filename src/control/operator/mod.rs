//! `operator`: people and services, whether they may log in, and what they log in with.
//! It never shows a seed twice, never stores a private key, and never leaves a session running that no longer holds.

mod invite;
mod key;
mod totp;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::time::Duration;

use policy::{OperatorName, RoleName, TenantName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attached::{AttachError, Attached};
use super::caller::{Caller, Need, Role};
use super::reply::{Reply, Trouble};
use super::report::{Form, List, counted, or_dash, thing};
use super::{Done, at};
use crate::bastion::Bastion;
use crate::store::{NewOperator, OperatorState};

pub(super) use key::Unfit;
pub(super) use key::one_key;
pub(super) use totp::qr;

/// What can be asked of operators.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorWord {
    /// Lists everybody, of the access bundle and added here.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one, with keys and authenticators.
    Show {
        /// Who.
        name: OperatorName,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Adds one, while no access bundle names operators.
    Add {
        /// Who.
        name: OperatorName,
        /// A role; may be given several times.
        #[arg(long = "role", value_name = "ROLE")]
        roles: Vec<RoleName>,
        /// The tenant.
        #[arg(long, default_value = "default")]
        tenant: TenantName,
    },
    /// Keeps one out and ends their sessions, until enabled.
    Disable {
        /// Who.
        name: OperatorName,
    },
    /// Lets a disabled one in again.
    Enable {
        /// Who.
        name: OperatorName,
    },
    /// Forgets wrong codes, so that the next try is free.
    Unlock {
        /// Who.
        name: OperatorName,
    },
    /// Ends everything of theirs at once and for ever: sessions, keys, authenticators.
    Revoke {
        /// Who.
        name: OperatorName,
    },
    /// Their public keys.
    #[command(subcommand)]
    Key(key::KeyWord),
    /// Makes a one-time-code authenticator and prints it once.
    Totp {
        /// Who.
        name: OperatorName,
        /// Takes the seed (base32) from this file, or - for standard input, instead of making one.
        #[arg(long, value_name = "FILE", value_parser = Attached::named)]
        secret_file: Option<Attached>,
    },
    /// Prints a one-time token by which one without an authenticator gets in to enrol one.
    Invite {
        /// Who.
        name: OperatorName,
        /// How long it is good.
        #[arg(long, value_name = "SPAN", default_value = "15m", value_parser = invite::valid)]
        valid: Duration,
    },
}

impl OperatorWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        Some(match self {
            Self::List { .. } | Self::Show { .. } => return None,
            Self::Add { .. } => "admin.operator.add",
            Self::Disable { .. } => "admin.operator.disable",
            Self::Enable { .. } => "admin.operator.enable",
            Self::Unlock { .. } => "admin.operator.unlock",
            Self::Revoke { .. } => "admin.operator.revoke",
            Self::Key(word) => return word.event(),
            Self::Totp { .. } => "admin.operator.totp",
            Self::Invite { .. } => "admin.operator.invite",
        })
    }

    pub(super) fn need(&self) -> Need<'_> {
        let reserved = |role: &RoleName| Role::ALL.iter().any(|r| r.as_str() == role.as_str());
        match self {
            // Who may make administrators is an administrator: that step is taken on the machine.
            Self::Add { roles, .. } if roles.iter().any(reserved) => Need::Local,
            _ => Need::OneOf(&[Role::Administrator]),
        }
    }

    pub(super) fn changes(&self) -> Option<&OperatorName> {
        self.event().and(self.name())
    }

    fn name(&self) -> Option<&OperatorName> {
        match self {
            Self::List { .. } => None,
            Self::Show { name, .. }
            | Self::Add { name, .. }
            | Self::Disable { name }
            | Self::Enable { name }
            | Self::Unlock { name }
            | Self::Revoke { name }
            | Self::Totp { name, .. }
            | Self::Invite { name, .. } => Some(name),
            Self::Key(word) => Some(word.name()),
        }
    }

    pub(super) fn attach(&mut self, stdin: &mut dyn Read) -> Result<(), AttachError> {
        match self {
            Self::Key(word) => word.attach(stdin),
            Self::Totp { secret_file: Some(file), .. } => file.read(stdin),
            _ => Ok(()),
        }
    }

    /// Whether it reads standard input, in place of a file.
    pub(super) fn reads(&self) -> bool {
        match self {
            Self::Key(word) => word.reads(),
            Self::Totp { secret_file: Some(file), .. } => file.is_input(),
            _ => false,
        }
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::Add { name, roles, tenant } => {
                json!({ "operator": name, "roles": roles, "tenant": tenant })
            }
            Self::Key(word) => word.facts(),
            Self::Invite { name, valid } => json!({ "operator": name, "valid_s": valid.as_secs() }),
            other => json!({ "operator": other.name() }),
        }
    }
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    word: OperatorWord,
    out: &mut R,
) -> Result<Done, Trouble> {
    match word {
        OperatorWord::List { json } => list(bastion, json, out).await?,
        OperatorWord::Show { name, json } => show(bastion, &name, json, out).await?,
        OperatorWord::Add { name, roles, tenant } => add(bastion, &name, &roles, &tenant, out).await?,
        OperatorWord::Disable { name } => turn(bastion, &name, OperatorState::Disabled, out).await?,
        OperatorWord::Enable { name } => turn(bastion, &name, OperatorState::Active, out).await?,
        OperatorWord::Revoke { name } => turn(bastion, &name, OperatorState::Revoked, out).await?,
        OperatorWord::Unlock { name } => {
            known(bastion, &name).await?;
            if !bastion.store.unlock_totp(name.as_str()).await? {
                let remedy = format!("`bartizan operator totp {name}` makes one");
                return Err(Trouble::said(format!(
                    "operator {name} has no one-time-code authenticator; {remedy}"
                )));
            }
            out.out(&format!("operator {name} unlocked\n")).await?;
        }
        OperatorWord::Key(word) => key::run(bastion, word, out).await?,
        OperatorWord::Totp { name, secret_file } => {
            totp::run(bastion, &name, secret_file.as_ref(), out).await?
        }
        OperatorWord::Invite { name, valid } => invite::run(bastion, caller, &name, valid, out).await?,
    }
    Ok(Done::Well)
}

/// An operator as bundle and store together know them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Standing {
    pub(super) name: String,
    pub(super) tenant: String,
    pub(super) roles: Vec<String>,
    pub(super) state: OperatorState,
    /// `bundle`, `local`, or `gone`: known once, in no bundle now.
    pub(super) source: &'static str,
}

pub(super) async fn everybody(bastion: &Bastion) -> Result<Vec<Standing>, Trouble> {
    let bundle = bastion.access.bundle();
    let mut all: BTreeMap<String, Standing> = BTreeMap::new();
    for row in bastion.store.operators().await? {
        let source = if row.local { "local" } else { "gone" };
        let one = Standing {
            name: row.name.clone(),
            tenant: row.tenant,
            roles: row.roles,
            state: row.state,
            source,
        };
        all.insert(row.name, one);
    }
    for operator in bundle.operators() {
        let name = operator.name().to_string();
        let state = all.get(&name).map_or(OperatorState::Active, |row| row.state);
        let roles: BTreeSet<String> = operator.roles().iter().map(ToString::to_string).collect();
        let (tenant, roles) = (operator.tenant().to_string(), roles.into_iter().collect());
        all.insert(name.clone(), Standing { name, tenant, roles, state, source: "bundle" });
    }
    Ok(all.into_values().collect())
}

/// The operator of this name, or the sentence that there is none.
pub(super) async fn known(bastion: &Bastion, name: &OperatorName) -> Result<Standing, Trouble> {
    let found = everybody(bastion).await?.into_iter().find(|o| o.name == name.as_str());
    found.ok_or_else(|| Trouble::said(format!("there is no operator {name}; see `bartizan operator list`")))
}

/// As [`known`], with the row that keys, authenticators and state hang on.
async fn with_row(bastion: &Bastion, name: &OperatorName) -> Result<Standing, Trouble> {
    let standing = known(bastion, name).await?;
    bastion.store.know_operator(name.as_str(), bastion.clock.unix_ms()).await?;
    Ok(standing)
}

async fn list<R: Reply>(bastion: &Bastion, json: bool, out: &mut R) -> Result<(), Trouble> {
    let mut rows =
        List::new(Form::of(json), &["name", "tenant", "roles", "state", "source", "keys", "codes"]);
    for one in everybody(bastion).await? {
        let keys = bastion.store.operator_keys(&one.name).await?.len();
        let codes = bastion.store.totp(&one.name).await?.is_some();
        let value = json!({
            "name": one.name, "tenant": one.tenant, "roles": one.roles, "state": one.state, "source": one.source,
            "keys": keys, "codes": codes,
        });
        let cells = || {
            let (state, codes) = (one.state.as_str().to_owned(), if codes { "yes" } else { "no" }.to_owned());
            let roles = one.roles.join(",");
            vec![
                one.name.clone(),
                one.tenant.clone(),
                roles,
                state,
                one.source.to_owned(),
                keys.to_string(),
                codes,
            ]
        };
        rows.row(out, &value, cells).await?;
    }
    rows.end(out, "no operators").await
}

async fn show<R: Reply>(
    bastion: &Bastion,
    name: &OperatorName,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let one = known(bastion, name).await?;
    let keys = bastion.store.operator_keys(name.as_str()).await?;
    let totp = bastion.store.totp(name.as_str()).await?;
    let devices: Vec<String> = bastion
        .store
        .devices()
        .await?
        .into_iter()
        .filter(|d| d.operator == name.as_str())
        .map(|d| format!("{} ({})", d.name, d.state.as_str()))
        .collect();
    let codes = totp.as_ref().map(|t| {
        json!({ "added": at(t.added), "failures": t.failures, "disabled": t.disabled(),
                "locked_until": (t.locked_until > 0).then(|| at(t.locked_until)) })
    });
    let value = json!({
        "name": one.name, "tenant": one.tenant, "roles": one.roles, "state": one.state, "source": one.source,
        "keys": keys.iter().map(key::value).collect::<Vec<_>>(), "codes": codes, "devices": devices,
    });
    let locked = totp.as_ref().map(|t| match () {
        () if t.disabled() => "disabled after too many wrong codes; `operator unlock` helps".to_owned(),
        () if t.locked_until > bastion.clock.unix_ms() => format!("no try before {}", at(t.locked_until)),
        () => format!("since {}, {}", at(t.added), counted(t.failures.unsigned_abs(), "wrong code")),
    });
    let lines = vec![
        ("name", one.name.clone()),
        ("tenant", one.tenant.clone()),
        ("roles", one.roles.join(", ")),
        ("state", one.state.as_str().to_owned()),
        ("source", one.source.to_owned()),
        (
            "keys",
            keys.iter().map(|k| format!("{} {}", k.fingerprint, k.comment)).collect::<Vec<_>>().join("\n"),
        ),
        ("codes", or_dash(locked)),
        ("devices", devices.join("\n")),
    ];
    thing(out, json, &value, lines).await
}

async fn add<R: Reply>(
    bastion: &Bastion,
    name: &OperatorName,
    roles: &[RoleName],
    tenant: &TenantName,
    out: &mut R,
) -> Result<(), Trouble> {
    if bastion.access.bundle().names_operators() {
        return Err(Trouble::said(format!(
            "the access bundle names the operators, so {name} belongs there; add [[operator]] and run `bartizan access apply`"
        )));
    }
    if name.is_reserved() {
        return Err(Trouble::said(format!(
            "{name} is the login of machines to be enrolled; choose another name"
        )));
    }
    let roles: BTreeSet<String> = roles.iter().map(ToString::to_string).collect();
    let roles: Vec<String> = roles.into_iter().collect();
    let new = NewOperator { name: name.as_str(), tenant: tenant.as_str(), roles: &roles };
    bastion.store.add_operator(&new, bastion.clock.unix_ms()).await?;
    out.out(&format!("operator {name} added; next: `bartizan operator key add {name} FILE`, `bartizan operator invite {name}`\n"))
        .await
}

async fn turn<R: Reply>(
    bastion: &Bastion,
    name: &OperatorName,
    to: OperatorState,
    out: &mut R,
) -> Result<(), Trouble> {
    with_row(bastion, name).await?;
    let changed = bastion.store.set_operator_state(name.as_str(), to, bastion.clock.unix_ms()).await?;
    // Also when nothing changed: whoever asks wants it to hold now.
    bastion.live.redecide(bastion).await;
    let already = if changed { "" } else { " already" };
    out.out(&format!("operator {name} is{already} {}\n", to.as_str())).await
}
