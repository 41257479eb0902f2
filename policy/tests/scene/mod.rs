//! A bundle and a person in front of it, for the tests of decisions.
//! Never a shortcut into the crate: everything goes through its public face.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use policy::{
    AccountName, Bundle, ChannelKind, Decision, DeviceFacts, DeviceName, Evidence, Factor, Held, Level,
    OperatorName, Request, RoleName, SourceFile, TenantName, decide,
};

pub(crate) mod laptop;

pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFGX0ClJqFtS6uTaOpbUaZGGOjq+WeBmm8tPQWs6Rr/n";

pub(crate) fn file(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

/// A target with a key, on which `deploy` (the default) and `root` exist.
pub(crate) fn target(name: &str, more: &str) -> String {
    format!(
        "[[target]]\nname = \"{name}\"\naddress = \"10.0.0.5:22\"\nhost_keys = [\"{KEY}\"]\n\
         accounts = [\"deploy\", \"root\"]\ndefault_account = \"deploy\"\n{more}\n"
    )
}

/// A grant for the role `sre` to use a shell as `deploy` on `web-1`, with what `more` changes or adds.
pub(crate) fn grant(name: &str, more: &str) -> String {
    let mut text = format!("[[grant]]\nname = \"{name}\"\n");
    let given = |key: &str| more.lines().any(|line| line.starts_with(key));
    if !given("roles") && !given("operators") {
        text.push_str("roles = [\"sre\"]\n");
    }
    if !given("targets") && !given("labels") {
        text.push_str("targets = [\"web-1\"]\n");
    }
    if !given("accounts") {
        text.push_str("accounts = [\"deploy\"]\n");
    }
    if !given("allow") {
        text.push_str("allow = [\"shell\"]\n");
    }
    text + more + "\n"
}

pub(crate) fn bundle(toml: &str) -> Bundle {
    Bundle::parse(&[file("a.toml", toml)]).unwrap()
}

pub(crate) fn ruled(toml: &str, cedar: &str) -> Bundle {
    Bundle::parse(&[file("a.toml", toml), file("r.cedar", cedar)]).unwrap()
}

/// Somebody who asks: to begin with alice, an sre with key and code, from a managed device, for a shell on web-1, on a
/// Monday at noon UTC.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) operator: OperatorName,
    pub(crate) roles: BTreeSet<RoleName>,
    pub(crate) tenant: TenantName,
    pub(crate) enabled: bool,
    pub(crate) device: Option<DeviceFacts>,
    pub(crate) target: String,
    pub(crate) account: Option<AccountName>,
    pub(crate) kind: ChannelKind,
    pub(crate) factors: Vec<Held>,
    pub(crate) assurance: u8,
    pub(crate) source: IpAddr,
    pub(crate) reason: Option<String>,
    pub(crate) approvals: u32,
    pub(crate) now: Timestamp,
    pub(crate) since: Option<Timestamp>,
}

pub(crate) fn held(factor: Factor, seconds: u64) -> Held {
    Held { factor, age: Duration::from_secs(seconds) }
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn alice() -> Asker {
    let tenant = TenantName::default();
    let device = DeviceFacts {
        name: DeviceName::parse("lt-0421").unwrap(),
        tenant: tenant.clone(),
        levels: BTreeSet::from([Level::managed()]),
        evidence: Evidence::Key,
    };
    Asker {
        operator: OperatorName::parse("alice").unwrap(),
        roles: BTreeSet::from([RoleName::parse("sre").unwrap()]),
        tenant,
        enabled: true,
        device: Some(device),
        target: "web-1".to_owned(),
        account: None,
        kind: ChannelKind::Shell,
        factors: vec![held(Factor::Key, 60), held(Factor::Code, 60)],
        assurance: 1,
        source: "10.1.2.3".parse().unwrap(),
        reason: None,
        approvals: 0,
        now: at("2026-11-23T12:00:00Z"),
        since: None,
    }
}

impl Asker {
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            operator: &self.operator,
            roles: &self.roles,
            tenant: &self.tenant,
            enabled: self.enabled,
            device: self.device.as_ref(),
            target: &self.target,
            account: self.account.as_ref(),
            kind: &self.kind,
            factors: &self.factors,
            assurance: self.assurance,
            source: self.source,
            reason: self.reason.as_deref(),
            approvals: self.approvals,
            now: self.now,
            since: self.since,
        }
    }

    pub(crate) fn ask(&self, bundle: &Bundle) -> Decision {
        decide(bundle, &self.request())
    }
}
