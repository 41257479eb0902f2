//! `device`: the machines that may come as far as a person's login.
//! It never brings a retired one back, and never leaves a session running from a device that was locked.

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
use crate::store::{Device, DeviceState, NewDevice};

/// What can be asked of devices.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceWord {
    /// Enrols a machine by its plain device key.
    Register {
        /// The machine.
        name: DeviceName,
        /// Who uses it.
        #[arg(long)]
        operator: OperatorName,
        /// Its public key file, or - for standard input.
        #[arg(long, value_name = "FILE", value_parser = Attached::named)]
        key: Attached,
        /// It belongs to the person, not to the company.
        #[arg(long)]
        personal: bool,
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
            Self::Register { key, .. } => key.read_public(stdin),
            _ => Ok(()),
        }
    }

    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::Register { key, .. } if key.is_input())
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::Register { name, operator, key, personal } => {
                let fingerprint = key.text().ok().and_then(|t| one_key(t).ok()).map(|f| f.fingerprint);
                json!({ "device": name, "operator": operator, "fingerprint": fingerprint, "personal": personal })
            }
            Self::Show { name, .. } | Self::Lock { name } | Self::Unlock { name } | Self::Retire { name } => {
                json!({ "device": name })
            }
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
        DeviceWord::Register { name, operator, key, personal } => {
            let key = one_key(key.text()?)?;
            let owner = known(bastion, &operator).await?;
            let new = NewDevice {
                name: name.as_str(),
                operator: operator.as_str(),
                tenant: &owner.tenant,
                state: DeviceState::Active,
                personal,
                key: Some((&key.fingerprint, &key.public_key)),
                by: caller.name(),
            };
            bastion.store.add_device(&new, bastion.clock.unix_ms()).await?;
            out.out(&format!(
                "device {name} registered for operator {operator} with key {}\n",
                key.fingerprint
            ))
            .await?;
        }
        DeviceWord::List { json } => list(bastion, json, out).await?,
        DeviceWord::Show { name, json } => show(&find(bastion, &name).await?, json, out).await?,
        DeviceWord::Lock { name } => turn(bastion, caller, &name, DeviceState::Locked, out).await?,
        DeviceWord::Unlock { name } => turn(bastion, caller, &name, DeviceState::Active, out).await?,
        DeviceWord::Retire { name } => turn(bastion, caller, &name, DeviceState::Retired, out).await?,
    }
    Ok(Done::Well)
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
    if to == DeviceState::Active
        && matches!(caller, Caller::Operator { name, .. } if name.as_str() == device.operator)
    {
        return Err(Forbidden::Oneself.into());
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
                kind(&device).to_owned(),
                or_dash(device.fingerprint.as_deref()),
                at(device.registered),
            ]
        };
        rows.row(out, &value(&device), cells).await?;
    }
    rows.end(out, "no devices").await
}

async fn show<R: Reply>(device: &Device, json: bool, out: &mut R) -> Result<(), Trouble> {
    let lines = vec![
        ("name", device.name.clone()),
        ("operator", device.operator.clone()),
        ("tenant", device.tenant.clone()),
        ("state", device.state.as_str().to_owned()),
        ("kind", kind(device).to_owned()),
        ("key", or_dash(device.fingerprint.as_deref())),
        ("registered", format!("{} by {}", at(device.registered), device.registered_by)),
        (
            "approved",
            or_dash(
                device.approved.map(|t| format!("{} by {}", at(t), or_dash(device.approved_by.as_deref()))),
            ),
        ),
        ("changed", at(device.changed)),
    ];
    thing(out, json, &value(device), lines).await
}

fn kind(device: &Device) -> &'static str {
    if device.personal { "personal" } else { "managed" }
}

fn value(device: &Device) -> Value {
    with_times(device, &["registered", "approved", "changed"])
}
