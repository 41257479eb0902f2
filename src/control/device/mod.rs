//! `device`: the machines that may come as far as a person's login.
//! It never brings a retired one back, and never leaves a session running from a device that was locked or lost.

mod register;

use std::io::Read;

use policy::{DeviceName, OperatorName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attached::{AttachError, Attached};
use super::caller::{Caller, Forbidden};
use super::operator::{known, one_key};
use super::reply::{Reply, Trouble};
use super::report::{Form, List, or_dash, thing};
use super::{Done, at, with_times};
use crate::bastion::Bastion;
use crate::store::{Device, DeviceKind, DeviceState, NewDevice};

/// What can be asked of devices.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceWord {
    /// Registers a machine and prints a token by which it enrols itself once, within 15 minutes.
    Register {
        /// The machine.
        name: DeviceName,
        /// Who uses it.
        #[arg(long)]
        operator: OperatorName,
        /// Takes its plain public key instead, from this file or - for standard input: no token, in use at once.
        #[arg(long, value_name = "FILE", value_parser = Attached::named)]
        key: Option<Attached>,
        /// What it is.
        #[arg(long, default_value = "laptop", value_parser = ["laptop", "host"])]
        kind: String,
        /// It belongs to the person, not to the company.
        #[arg(long)]
        personal: bool,
        /// You vouch for it: once it has proven its key it is in use, without a second person.
        #[arg(long, conflicts_with = "key")]
        imported: bool,
        /// How the machine reaches the bastion, HOST or HOST:PORT; by default the first of [ssh] names, at the port it listens on.
        #[arg(long, value_name = "ADDRESS", conflicts_with = "key")]
        address: Option<String>,
    },
    /// Lets a machine in that has proven its key, as the second person after who registered it.
    Approve {
        /// Which.
        name: DeviceName,
    },
    /// Lists machines.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one.
    Show {
        /// Which.
        name: DeviceName,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Keeps it out and ends the sessions from it, until unlocked.
    Lock {
        /// Which.
        name: DeviceName,
    },
    /// Lets a locked one in again.
    Unlock {
        /// Which.
        name: DeviceName,
    },
    /// It is out of its owner's hands: keeps it out and ends the sessions from it, until it is registered and enrolled again.
    Lost {
        /// Which.
        name: DeviceName,
    },
    /// Keeps it out for ever.
    Retire {
        /// Which.
        name: DeviceName,
    },
}

impl DeviceWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        match self {
            Self::Register { .. } => Some("admin.device.register"),
            Self::Lock { .. } => Some("admin.device.lock"),
            Self::Unlock { .. } => Some("admin.device.unlock"),
            Self::Approve { .. } => Some("admin.device.approve"),
            Self::Lost { .. } => Some("admin.device.lost"),
            Self::Retire { .. } => Some("admin.device.retire"),
            Self::List { .. } | Self::Show { .. } => None,
        }
    }

    pub(super) fn changes(&self) -> Option<&OperatorName> {
        match self {
            Self::Register { operator, .. } => Some(operator),
            _ => None,
        }
    }

    pub(super) fn attach(&mut self, stdin: &mut dyn Read) -> Result<(), AttachError> {
        match self {
            Self::Register { key: Some(key), .. } => key.read_public(stdin),
            _ => Ok(()),
        }
    }

    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::Register { key: Some(key), .. } if key.is_input())
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::Register { name, operator, key, kind, personal, imported, .. } => {
                let text = key.as_ref().and_then(|key| key.text().ok());
                let fingerprint = text.and_then(|text| one_key(text).ok()).map(|key| key.fingerprint);
                json!({ "device": name, "operator": operator, "fingerprint": fingerprint, "kind": kind,
                        "personal": personal, "imported": imported })
            }
            Self::Show { name, .. }
            | Self::Approve { name }
            | Self::Lock { name }
            | Self::Unlock { name }
            | Self::Lost { name }
            | Self::Retire { name } => json!({ "device": name }),
            Self::List { .. } => json!({}),
        }
    }
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    word: DeviceWord,
    out: &mut R,
) -> Result<Done, Trouble> {
    match word {
        DeviceWord::Register { name, operator, key, kind, personal, imported, address } => {
            let wanted = Wanted { name, operator, kind: kind.parse()?, personal, imported };
            match key {
                Some(key) => with_key(bastion, caller, &wanted, key.text()?, out).await?,
                None => register::with_token(bastion, caller, &wanted, address.as_deref(), out).await?,
            }
        }
        DeviceWord::Approve { name } => approve(bastion, caller, &name, out).await?,
        DeviceWord::List { json } => list(bastion, json, out).await?,
        DeviceWord::Show { name, json } => show(bastion, &find(bastion, &name).await?, json, out).await?,
        DeviceWord::Lock { name } => turn(bastion, caller, &name, DeviceState::Locked, out).await?,
        DeviceWord::Unlock { name } => turn(bastion, caller, &name, DeviceState::Active, out).await?,
        DeviceWord::Lost { name } => turn(bastion, caller, &name, DeviceState::Lost, out).await?,
        DeviceWord::Retire { name } => turn(bastion, caller, &name, DeviceState::Retired, out).await?,
    }
    Ok(Done::Well)
}

/// A machine as it is to be registered.
struct Wanted {
    name: DeviceName,
    operator: OperatorName,
    kind: DeviceKind,
    personal: bool,
    imported: bool,
}

async fn with_key<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    wanted: &Wanted,
    key: &str,
    out: &mut R,
) -> Result<(), Trouble> {
    let key = one_key(key)?;
    let owner = known(bastion, &wanted.operator).await?;
    let new = NewDevice {
        state: DeviceState::Active,
        key: Some((&key.fingerprint, &key.public_key)),
        ..wanted.row(&owner.tenant, caller)
    };
    bastion.store.add_device(&new, bastion.clock.unix_ms()).await?;
    let Wanted { name, operator, .. } = wanted;
    out.out(&format!("device {name} registered for operator {operator} with key {}\n", key.fingerprint)).await
}

impl Wanted {
    /// As it is stored, without a key.
    fn row<'a>(&'a self, tenant: &'a str, caller: &'a Caller) -> NewDevice<'a> {
        NewDevice {
            name: self.name.as_str(),
            operator: self.operator.as_str(),
            tenant,
            state: DeviceState::Registered,
            kind: self.kind,
            personal: self.personal,
            imported: self.imported,
            key: None,
            by: caller.name(),
        }
    }
}

async fn approve<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    name: &DeviceName,
    out: &mut R,
) -> Result<(), Trouble> {
    let device = find(bastion, name).await?;
    not_ones_own(caller, &device)?;
    bastion.store.approve_device(name.as_str(), caller.name(), bastion.clock.unix_ms()).await?;
    bastion.live.redecide(bastion).await;
    out.out(&format!("device {name} is active\n")).await
}

fn not_ones_own(caller: &Caller, device: &Device) -> Result<(), Forbidden> {
    let own = matches!(caller, Caller::Operator { name, .. } if name.as_str() == device.operator);
    if own { Err(Forbidden::Oneself) } else { Ok(()) }
}

async fn find(bastion: &Bastion, name: &DeviceName) -> Result<Device, Trouble> {
    let found = bastion.store.device(name.as_str()).await?;
    found.ok_or_else(|| Trouble::said(format!("there is no device {name}; see `bartizan device list`")))
}

async fn turn<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    name: &DeviceName,
    to: DeviceState,
    out: &mut R,
) -> Result<(), Trouble> {
    let device = find(bastion, name).await?;
    // Locking one's own is no gain; bringing it back would be.
    if to == DeviceState::Active {
        not_ones_own(caller, &device)?;
    }
    let changed = bastion.store.set_device_state(name.as_str(), to, bastion.clock.unix_ms()).await?;
    bastion.live.redecide(bastion).await;
    let already = if changed { "" } else { " already" };
    out.out(&format!("device {name} is{already} {}\n", to.as_str())).await
}

async fn list<R: Reply>(bastion: &Bastion, json: bool, out: &mut R) -> Result<(), Trouble> {
    let mut rows =
        List::new(Form::of(json), &["name", "operator", "tenant", "state", "kind", "key", "registered"]);
    for device in bastion.store.devices().await? {
        let cells = || {
            vec![
                device.name.clone(),
                device.operator.clone(),
                device.tenant.clone(),
                device.state.as_str().to_owned(),
                kind(&device),
                or_dash(device.fingerprint.as_deref()),
                at(device.registered),
            ]
        };
        rows.row(out, &value(&device), cells).await?;
    }
    rows.end(out, "no devices").await
}

async fn show<R: Reply>(bastion: &Bastion, device: &Device, json: bool, out: &mut R) -> Result<(), Trouble> {
    let last = bastion.store.last_report(&device.name).await?;
    let report: Option<Value> = last.as_ref().and_then(|last| serde_json::from_str(&last.report).ok());
    let mut value = value(device);
    if let Some(members) = value.as_object_mut() {
        let proven = last.as_ref().and_then(|last| jiff::Timestamp::from_millisecond(last.proven).ok());
        members.insert("proven".to_owned(), json!(proven));
        members.insert("report".to_owned(), json!(report));
    }
    let lines = vec![
        ("name", device.name.clone()),
        ("operator", device.operator.clone()),
        ("tenant", device.tenant.clone()),
        ("state", device.state.as_str().to_owned()),
        ("kind", kind(device)),
        ("key", or_dash(device.fingerprint.as_deref())),
        ("registered", format!("{} by {}", at(device.registered), device.registered_by)),
        (
            "approved",
            or_dash(
                device.approved.map(|t| format!("{} by {}", at(t), or_dash(device.approved_by.as_deref()))),
            ),
        ),
        ("changed", at(device.changed)),
        ("proven", or_dash(last.as_ref().map(|last| at(last.proven)))),
        (
            "keeper",
            or_dash(report.as_ref().and_then(|report| report.pointer("/agent/key")).and_then(Value::as_str)),
        ),
        ("facts", or_dash(report.as_ref().map(facts))),
    ];
    thing(out, json, &value, lines).await
}

/// The tables of a report, one a line.
fn facts(report: &Value) -> String {
    let tables = report.get("facts").and_then(Value::as_object);
    tables.into_iter().flatten().map(|(name, rows)| format!("{name} {rows}")).collect::<Vec<_>>().join("\n")
}

fn kind(device: &Device) -> String {
    format!("{} {}", if device.personal { "personal" } else { "managed" }, device.kind)
}

fn value(device: &Device) -> Value {
    with_times(device, &["registered", "approved", "changed"])
}
