//! `whoami`: what the bastion knows of whoever asks, and how it was proven.
//! It never tells of anybody else.

use policy::Factor;
use serde_json::json;

use super::caller::Caller;
use super::reply::{Reply, Trouble};
use super::report::{moment, or_dash, thing};
use crate::bastion::Bastion;
use crate::device::Proven;
use crate::login::{Authenticated, Invited};

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    match caller {
        Caller::Local { uid, name } => {
            let value = json!({ "local": name, "uid": uid });
            let role = "administrator of this machine's bastion".to_owned();
            thing(out, json, &value, vec![("local", format!("{name} (user id {uid})")), ("role", role)]).await
        }
        Caller::Operator { name, roles, login, .. } => {
            let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
            match login {
                Some(login) => operator(bastion, login, &roles, json, out).await,
                None => {
                    thing(
                        out,
                        json,
                        &json!({ "operator": name, "roles": roles }),
                        vec![("operator", name.to_string())],
                    )
                    .await
                }
            }
        }
        Caller::Guest { invited } => guest(invited, json, out).await,
    }
}

async fn operator<R: Reply>(
    bastion: &Bastion,
    login: &Authenticated,
    roles: &[String],
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let now = bastion.clock.now();
    let device = login.proven().map(|device| {
        let known = device.known();
        known.facts(&known.assess(&bastion.access.bundle(), now, now))
    });
    let factors: Vec<_> =
        login.factors().iter().map(|(factor, at)| json!({ "factor": factor.as_str(), "at": at })).collect();
    let levels: Vec<String> =
        device.iter().flat_map(|device| &device.levels).map(ToString::to_string).collect();
    let value = json!({
        "operator": login.operator(), "roles": roles, "device": device.as_ref().map(|device| &device.name),
        "evidence": device.as_ref().map(|device| device.evidence), "levels": levels, "key": login.key(),
        "factors": factors, "remembered": login.remembered(), "assurance": login.assurance(), "from": login.peer().to_string(),
    });
    let said = |factor: Factor| match factor {
        Factor::Code if login.remembered() => "a remembered code",
        Factor::Code => "a code",
        Factor::Recovery => "a recovery code",
        Factor::Key => "a key",
        Factor::Password => "a password",
        Factor::Presence => "a touch",
    };
    let proofs: Vec<String> =
        login.factors().iter().map(|&(factor, at)| format!("{}, {}", said(factor), moment(at))).collect();
    let lines = vec![
        ("operator", login.operator().to_string()),
        ("roles", roles.join(", ")),
        (
            "device",
            or_dash(
                device.map(|device| format!("{} ({} {})", device.name, levels.join(" "), device.evidence)),
            ),
        ),
        ("key", login.key().to_owned()),
        ("proven by", proofs.join("\n")),
        ("assurance", login.assurance().to_string()),
        ("from", login.peer().to_string()),
    ];
    thing(out, json, &value, lines).await
}

async fn guest<R: Reply>(invited: &Invited, json: bool, out: &mut R) -> Result<(), Trouble> {
    let device = invited.proven().map(Proven::name);
    let value = json!({
        "operator": invited.operator(), "device": device, "key": invited.key(), "from": invited.peer().to_string(),
        "invited": true,
    });
    let lines = vec![
        ("operator", invited.operator().to_string()),
        ("device", or_dash(device)),
        ("key", invited.key().to_owned()),
        ("from", invited.peer().to_string()),
        ("may", "`mfa enroll totp` and nothing else, by invitation".to_owned()),
    ];
    thing(out, json, &value, lines).await
}
