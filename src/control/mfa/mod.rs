//! `mfa`: what an operator does with their own authenticator.
//! It never changes one for somebody who has not just shown that they hold the present one, or were invited to make the first.

mod enroll;
mod proof;

use keys::written::{Kind, Written};
use policy::OperatorName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::caller::Caller;
use super::reply::{Reply, Trouble};
use super::report::{or_dash, thing};
use super::{Done, at};
use crate::bastion::Bastion;

/// Recovery codes of one authenticator.
const CODES: usize = 10;

/// What an operator can ask of their own authenticator.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MfaWord {
    /// Shows what is enrolled.
    Show {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Enrols an authenticator, the first or in place of the present one; asks, so use `ssh -t`.
    #[command(subcommand)]
    Enroll(What),
    /// Makes new recovery codes in place of all old ones and shows them once.
    Recovery,
    /// Forgets the codes given on this device: the next login asks again.
    Forget,
}

/// What can be enrolled.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// One-time codes of an authenticator app.
    Totp,
}

impl MfaWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        match self {
            Self::Show { .. } => None,
            Self::Enroll(What::Totp) => Some("admin.mfa.enroll"),
            Self::Recovery => Some("admin.mfa.recovery"),
            Self::Forget => Some("admin.mfa.forget"),
        }
    }

    /// Whether it asks questions.
    pub(super) fn listens(&self) -> bool {
        matches!(self, Self::Enroll(_) | Self::Recovery)
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::Enroll(What::Totp) => json!({ "kind": "totp" }),
            _ => json!({}),
        }
    }
}

/// Only one's own: the machine's administrator has other words for it.
fn own(caller: &Caller) -> Result<&OperatorName, Trouble> {
    caller.operator().ok_or_else(|| {
        Trouble::said("`mfa` is an operator's own, over SSH: `ssh -t bastion mfa ...`; here use `bartizan operator totp NAME`")
    })
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    word: MfaWord,
    out: &mut R,
) -> Result<Done, Trouble> {
    let operator = own(caller)?;
    match word {
        MfaWord::Show { json } => show(bastion, operator, json, out).await?,
        MfaWord::Enroll(What::Totp) => enroll::totp(bastion, caller, operator, out).await?,
        MfaWord::Recovery => recovery(bastion, caller, operator, out).await?,
        MfaWord::Forget => forget(bastion, caller, operator, out).await?,
    }
    Ok(Done::Well)
}

async fn show<R: Reply>(
    bastion: &Bastion,
    operator: &OperatorName,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let totp = bastion.store.totp(operator.as_str()).await?;
    let left = match &totp {
        Some(totp) => bastion.store.recovery_left(totp.id).await?,
        None => 0,
    };
    let codes = totp
        .as_ref()
        .map(|totp| json!({ "kind": "totp", "added": at(totp.added), "disabled": totp.disabled() }));
    let value = json!({ "operator": operator, "codes": codes, "recovery_left": left });
    let since = totp.as_ref().map(|totp| format!("since {}", at(totp.added)));
    thing(out, json, &value, vec![("codes", or_dash(since)), ("recovery codes left", left.to_string())]).await
}

/// The remedy of somebody whose authenticator is not there.
fn none_there() -> Trouble {
    Trouble::said("you have no authenticator any more; ask an administrator for `operator invite`")
}

async fn recovery<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    operator: &OperatorName,
    out: &mut R,
) -> Result<(), Trouble> {
    let totp = proof::of_holder(bastion, caller, operator, out).await?.ok_or_else(none_there)?;
    let codes = fresh_codes()?;
    let digests = digests(bastion, operator, &codes)?;
    bastion.store.set_recovery(totp, &digests, bastion.clock.unix_ms()).await?;
    show_codes(&codes, out).await
}

async fn forget<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    operator: &OperatorName,
    out: &mut R,
) -> Result<(), Trouble> {
    let device = caller.login().and_then(|login| login.device());
    let device = device.ok_or_else(|| Trouble::said("nothing is remembered without a device"))?;
    bastion.store.forget_device(device.as_str(), Some(operator.as_str())).await?;
    out.out(&format!("the codes given on device {device} are forgotten\n")).await
}

fn fresh_codes() -> Result<Vec<Written>, Trouble> {
    Ok((0..CODES).map(|_| Written::generate(Kind::Recovery)).collect::<Result<_, _>>()?)
}

fn digests(bastion: &Bastion, operator: &OperatorName, codes: &[Written]) -> Result<Vec<[u8; 32]>, Trouble> {
    Ok(codes.iter().map(|code| bastion.keys.digest(operator.as_str(), code)).collect::<Result<_, _>>()?)
}

async fn show_codes<R: Reply>(codes: &[Written], out: &mut R) -> Result<(), Trouble> {
    out.out(
        "Recovery codes. Each stands in for a one-time code, once: type ? when you are asked for one.\n\n",
    )
    .await?;
    for code in codes {
        let line = Zeroizing::new(format!("    {}\n", code.shown().as_str()));
        out.out(&line).await?;
    }
    out.out(
        "\nKeep them where your phone is not. They are not shown again, and older ones no longer count.\n",
    )
    .await
}
