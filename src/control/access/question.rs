//! `access who-can` and `access explain`: what the engine that decides would say, and why.
//! It never decides anything that opens a channel; it answers for those who write and review the bundle.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use jiff::Timestamp;
use policy::{
    AccountName, Answer, ChannelKind, DeviceFacts, DeviceName, Explanation, Held, OperatorName, Person,
    Reach, Request, TargetName, TenantName,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bastion::Bastion;
use crate::control::Done;
use crate::control::operator::{Standing, everybody, known};
use crate::control::reply::{Reply, Trouble};
use crate::control::report::{Form, List, or_dash, thing};
use crate::device::Known;
use crate::store::{DeviceState, OperatorState};

/// What `explain` is asked.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub struct Question {
    /// Who.
    operator: OperatorName,
    /// Which target.
    target: String,
    /// On which account; else the target's default.
    #[arg(long)]
    account: Option<AccountName>,
    /// To do what: shell, exec, sftp, subsystem:NAME, forward:HOST:PORT, forward:unix:/PATH, reverse-forward, agent or x11.
    #[arg(long = "do", value_name = "KIND", default_value = "shell", value_parser = kind)]
    what: String,
    /// When, such as 2026-03-01T09:00:00Z; else now.
    #[arg(long)]
    at: Option<Timestamp>,
    /// From this device; else the operator's first active one.
    #[arg(long)]
    device: Option<DeviceName>,
    /// From this address.
    #[arg(long)]
    from: Option<IpAddr>,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

fn kind(text: &str) -> Result<String, policy::WordError> {
    ChannelKind::parse(text).map(|_| text.to_owned())
}

pub(super) fn person(standing: &Standing) -> Option<Person> {
    Some(Person {
        name: OperatorName::parse(&standing.name).ok()?,
        roles: standing.roles.iter().filter_map(|r| policy::RoleName::parse(r).ok()).collect(),
        tenant: TenantName::parse(&standing.tenant).ok()?,
        enabled: standing.state == OperatorState::Active,
    })
}

pub(super) async fn who_can<R: Reply>(
    bastion: &Bastion,
    target: &TargetName,
    account: Option<&AccountName>,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let bundle = bastion.access.bundle();
    if bundle.target(target).is_none() {
        return Err(Trouble::said(format!("there is no target {target}; see `bartizan target list`")));
    }
    let people: Vec<Person> =
        everybody(bastion).await?.iter().filter(|s| s.source != "gone").filter_map(person).collect();
    let reach = policy::who_can(&bundle, &people, target.as_str(), account, bastion.clock.now());
    let mut rows = List::new(Form::of(json), &["operator", "account", "may", "by grant", "needs"]);
    for one in &reach {
        let (grant, needs) = terms(one);
        let cells =
            || vec![one.operator.to_string(), one.account.to_string(), one.kind.to_string(), grant, needs];
        rows.row(out, one, cells).await?;
    }
    rows.end(out, "nobody").await
}

fn terms(reach: &Reach) -> (String, String) {
    match &reach.answer {
        Answer::Needs { grant, missing } => {
            let needs: Vec<String> = missing.iter().map(ToString::to_string).collect();
            (grant.to_string(), needs.join(", "))
        }
        Answer::HeldBack { rule } => ("-".to_owned(), format!("held back by rule {rule}")),
    }
}

/// Answers as if the operator had just logged in as `[login]` asks, and exits 1 when the answer is no.
pub(super) async fn explain<R: Reply>(
    bastion: &Bastion,
    asked: &Question,
    out: &mut R,
) -> Result<Done, Trouble> {
    let bundle = bastion.access.bundle();
    let standing = known(bastion, &asked.operator).await?;
    let person = person(&standing)
        .ok_or_else(|| Trouble::said("the operator's row does not read; run `bartizan check`"))?;
    let device = device(bastion, asked).await?;
    let kind = ChannelKind::parse(&asked.what)?;
    let factors: Vec<Held> =
        bundle.login().factors().iter().map(|&factor| Held { factor, age: Duration::ZERO }).collect();
    let now = asked.at.unwrap_or_else(|| bastion.clock.now());
    let request = Request {
        operator: &asked.operator,
        roles: &person.roles,
        tenant: &person.tenant,
        enabled: person.enabled,
        device: device.as_ref(),
        target: &asked.target,
        account: asked.account.as_ref(),
        kind: &kind,
        factors: &factors,
        assurance: 1,
        source: asked.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        reason: None,
        approvals: 0,
        now,
        since: None,
    };
    let explanation = policy::explain(&bundle, &request);
    say(asked, &request, &explanation, out).await?;
    Ok(if explanation.decision.is_ok() { Done::Well } else { Done::No })
}

async fn say<R: Reply>(
    asked: &Question,
    request: &Request<'_>,
    explanation: &Explanation,
    out: &mut R,
) -> Result<(), Trouble> {
    let (code, answer, told) = match &explanation.decision {
        Ok(permit) => {
            let until = permit.ends().map_or_else(String::new, |t| format!(", to be asked again at {t}"));
            (None, format!("yes, by grant {}{until}", permit.grant()), None)
        }
        Err(denial) => {
            (Some(denial.code()), format!("no: {denial}"), Some((denial.told_code(), denial.told())))
        }
    };
    let held: Vec<String> = request.factors.iter().map(|h| h.factor.to_string()).collect();
    let device = request.device.map(|d| d.name.to_string());
    let value = json!({
        "permitted": explanation.decision.is_ok(), "code": code, "answer": answer, "operator": asked.operator,
        "target": asked.target, "account": explanation.account, "kind": request.kind, "at": request.now,
        "considered": explanation.considered, "rules": explanation.rules,
        "told": told.as_ref().map(|(code, line)| json!({ "code": code, "line": line })),
        "assumed": { "factors": held, "device": device, "source": request.source, "assurance": request.assurance },
    });
    let mut considered: Vec<String> = explanation.considered.iter().map(consideration).collect();
    if considered.is_empty() {
        considered.push("none names this operator for this target".to_owned());
    }
    let assumed = format!(
        "just logged in with {}, device {}, from {}",
        held.join(" and "),
        or_dash(device),
        request.source
    );
    let mut lines = vec![
        ("answer", answer),
        ("code", or_dash(code)),
        ("account", or_dash(explanation.account.as_ref())),
        ("at", request.now.to_string()),
        ("grants", considered.join("\n")),
        ("rules", explanation.rules.join(", ")),
        ("assumed", assumed),
    ];
    if let Some((code, line)) = told {
        lines.push(("told", format!("{line} [{code}]")));
    }
    thing(out, asked.json, &value, lines).await
}

fn consideration(one: &policy::Considered) -> String {
    let mut lacks: Vec<String> = one.missing.iter().map(|m| format!("missing {m}")).collect();
    if !one.account {
        lacks.push("not for this account".to_owned());
    }
    lacks.extend(one.not_allowed.iter().map(|c| format!("does not allow {c}")));
    lacks.extend((one.not_allowed.is_empty() && !one.leads_there).then(|| "does not lead there".to_owned()));
    let lacks = if lacks.is_empty() { "fits".to_owned() } else { lacks.join(", ") };
    format!("{}: {lacks}", one.grant)
}

async fn device(bastion: &Bastion, asked: &Question) -> Result<Option<DeviceFacts>, Trouble> {
    let all = bastion.store.devices().await?;
    let found = match &asked.device {
        Some(name) => {
            let found = all.into_iter().find(|d| d.name == name.as_str());
            Some(found.ok_or_else(|| {
                Trouble::said(format!("there is no device {name}; see `bartizan device list`"))
            })?)
        }
        None => {
            all.into_iter().find(|d| d.operator == asked.operator.as_str() && d.state == DeviceState::Active)
        }
    };
    let Some(device) = found.filter(|d| d.state == DeviceState::Active) else { return Ok(None) };
    let last = bastion.store.last_report(&device.name).await?;
    let known = Known::by_last_report(device, last.as_ref().map(|last| last.report.as_str()))?;
    // As if the facts had been collected just now, for it is the rules that are asked about.
    let asked = last.and_then(|last| Timestamp::from_millisecond(last.proven).ok());
    let now = bastion.clock.now();
    let assessment = known.assess(&bastion.access.bundle(), asked.unwrap_or(now), now);
    Ok(Some(known.facts(&assessment)))
}
