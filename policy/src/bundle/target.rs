//! `[[target]]`: a server that can be reached, how it proves itself, and the login names on it.
//! Never trusts a host on first use: a target without a host key and without a host CA is refused.

use std::fmt;

use crate::bundle::error::{BundleError, Place};
use crate::bundle::host_key::public_key;
use crate::bundle::operator::tenant;
use crate::bundle::written::{Word, WrittenTarget};
use crate::names::{AccountName, TargetName, TenantName, VaultName};
use crate::network::{Address, Network};
use crate::pattern::{Labels, is_label};

/// The most entries in any list of a target.
const MOST: usize = 64;
/// The most labels.
const MOST_LABELS: usize = 32;

/// What happens when a session's recording cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Recording {
    /// The channel ends.
    Strict,
    /// The channel goes on, and the log says so.
    BestEffort,
}

/// How the bastion logs in at a target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetLogin {
    /// With a certificate of our user CA, made for the session.
    Certificate,
    /// With this private key of the vault of the target's tenant.
    Key(VaultName),
    /// With this password of the vault of the target's tenant.
    Password(VaultName),
    /// With what the target itself asks its operator on their terminal.
    Ask,
}

impl fmt::Display for TargetLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate => f.write_str("certificate"),
            Self::Key(name) => write!(f, "key:{name}"),
            Self::Password(name) => write!(f, "password:{name}"),
            Self::Ask => f.write_str("ask"),
        }
    }
}

/// A registered server.
#[derive(Debug, Clone)]
pub struct Target {
    name: TargetName,
    address: Address,
    host_keys: Vec<String>,
    host_ca: Vec<String>,
    accounts: Vec<AccountName>,
    default_account: Option<AccountName>,
    labels: Labels,
    tenant: TenantName,
    owner: Option<String>,
    source: Vec<Network>,
    login: TargetLogin,
    via: Option<TargetName>,
    recording: Recording,
}

impl Target {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &TargetName {
        &self.name
    }

    /// Where it is. A host name is still to be resolved, once per connection, and checked.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The host keys that are its, as `algorithm base64`.
    #[must_use]
    pub fn host_keys(&self) -> &[String] {
        &self.host_keys
    }

    /// The CAs that may certify its host key, as `algorithm base64`.
    #[must_use]
    pub fn host_ca(&self) -> &[String] {
        &self.host_ca
    }

    /// The login names on it, in the order written.
    #[must_use]
    pub fn accounts(&self) -> &[AccountName] {
        &self.accounts
    }

    /// The account of a login that names none; always one of [`Self::accounts`].
    #[must_use]
    pub fn default_account(&self) -> Option<&AccountName> {
        self.default_account.as_ref()
    }

    /// The labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    /// Who answers for it.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// The addresses the target sees the bastion come from; empty means the socket's own.
    #[must_use]
    pub fn source(&self) -> &[Network] {
        &self.source
    }

    /// How the bastion logs in there.
    #[must_use]
    pub fn login(&self) -> &TargetLogin {
        &self.login
    }

    /// The gateway: a target of the same tenant from which this one is reached. Gateways never lead in a circle.
    #[must_use]
    pub fn via(&self) -> Option<&TargetName> {
        self.via.as_ref()
    }

    /// What happens when a recording cannot be written.
    #[must_use]
    pub fn recording(&self) -> Recording {
        self.recording
    }

    pub(super) fn check(written: &WrittenTarget, place: Place<'_>) -> Result<Self, BundleError> {
        let name = &written.name;
        let (accounts, default_account) = accounts(written, place)?;
        let host_keys = keys(&written.host_keys, "host_keys", place)?;
        let host_ca = keys(&written.host_ca, "host_ca", place)?;
        if host_keys.is_empty() && host_ca.is_empty() {
            let remedy = "give host_keys or host_ca; `bartizan target scan ADDRESS` prints what to paste";
            return Err(place.wrong(Some(name.span()), "has no way to prove itself", remedy));
        }
        limit(&written.source, "source", place)?;
        let source: Vec<Network> = written
            .source
            .iter()
            .map(|word| Network::parse(word.get_ref()).map_err(|e| place.told(word.span(), "source", &e)))
            .collect::<Result<_, _>>()?;
        let (login, via) = (login(written.login.as_ref(), place)?, via(written.via.as_ref(), place)?);
        if let (Some(_), TargetLogin::Certificate, Some(word), true) =
            (&via, &login, &written.via, source.is_empty())
        {
            let problem = "is reached via a gateway and does not say from which address it sees it come";
            let remedy = "write source = [\"...\"] with the gateway's address on the target's side: the certificate is good from there alone";
            return Err(place.wrong(Some(word.span()), problem, remedy));
        }
        Ok(Self {
            name: TargetName::parse(name.get_ref()).map_err(|e| place.told(name.span(), "name", &e))?,
            address: Address::parse(written.address.get_ref())
                .map_err(|e| place.told(written.address.span(), "address", &e))?,
            host_keys,
            host_ca,
            accounts,
            default_account,
            labels: labels(&written.labels, place)?,
            tenant: tenant(written.tenant.as_ref(), place)?,
            owner: owner(written.owner.as_ref(), place)?,
            source,
            login,
            via,
            recording: recording(written.recording.as_ref(), place)?,
        })
    }
}

fn limit(list: &[Word], key: &str, place: Place<'_>) -> Result<(), BundleError> {
    match list.get(MOST) {
        Some(word) => {
            let problem = format_args!("has more than {MOST} {key}");
            Err(place.wrong(Some(word.span()), problem, "remove some"))
        }
        None => Ok(()),
    }
}

type Accounts = (Vec<AccountName>, Option<AccountName>);

fn accounts(written: &WrittenTarget, place: Place<'_>) -> Result<Accounts, BundleError> {
    limit(&written.accounts, "accounts", place)?;
    let mut accounts = Vec::new();
    for word in &written.accounts {
        let account =
            AccountName::parse(word.get_ref()).map_err(|e| place.told(word.span(), "account", &e))?;
        if accounts.contains(&account) {
            let problem = format_args!("names the account \"{account}\" twice");
            return Err(place.wrong(Some(word.span()), problem, "remove one"));
        }
        accounts.push(account);
    }
    if accounts.is_empty() {
        let remedy = "write accounts = [\"...\"] with the login names on it";
        return Err(place.wrong(Some(written.name.span()), "has no accounts", remedy));
    }
    let Some(word) = &written.default_account else { return Ok((accounts, None)) };
    match accounts.iter().find(|account| account.as_str() == word.get_ref()) {
        Some(found) => {
            let default = found.clone();
            Ok((accounts, Some(default)))
        }
        None => {
            let problem =
                format_args!("has a default_account {:?} that is not one of its accounts", word.get_ref());
            Err(place.wrong(Some(word.span()), problem, "add it to accounts or name one of them"))
        }
    }
}

/// Labels of a target or a grant.
pub(super) fn labels(
    written: &std::collections::BTreeMap<Word, Word>,
    place: Place<'_>,
) -> Result<Labels, BundleError> {
    let mut labels = Labels::new();
    for (key, value) in written {
        for word in [key, value] {
            if !is_label(word.get_ref()) {
                let problem = format_args!("has a wrong label {:?}", word.get_ref());
                let remedy = "use 1 to 64 of A-Z, a-z, 0-9, '.', '_', '/', '-'";
                return Err(place.wrong(Some(word.span()), problem, remedy));
            }
        }
        labels.insert(key.get_ref().clone(), value.get_ref().clone());
        if labels.len() > MOST_LABELS {
            let problem = format_args!("has more than {MOST_LABELS} labels");
            return Err(place.wrong(Some(key.span()), problem, "remove some"));
        }
    }
    Ok(labels)
}

fn owner(word: Option<&Word>, place: Place<'_>) -> Result<Option<String>, BundleError> {
    match word {
        Some(word) if !is_label(word.get_ref()) => {
            let problem = format_args!("has a wrong owner {:?}", word.get_ref());
            Err(place.wrong(Some(word.span()), problem, "use 1 to 64 of A-Z, a-z, 0-9, '.', '_', '/', '-'"))
        }
        other => Ok(other.map(|word| word.get_ref().clone())),
    }
}

fn login(word: Option<&Word>, place: Place<'_>) -> Result<TargetLogin, BundleError> {
    let Some(word) = word else { return Ok(TargetLogin::Certificate) };
    let vaulted = |name: &str| VaultName::parse(name).map_err(|e| place.told(word.span(), "login", &e));
    match word.get_ref().split_once(':') {
        None if word.get_ref() == "certificate" => Ok(TargetLogin::Certificate),
        None if word.get_ref() == "ask" => Ok(TargetLogin::Ask),
        Some(("key", name)) => vaulted(name).map(TargetLogin::Key),
        Some(("password", name)) => vaulted(name).map(TargetLogin::Password),
        _ => {
            let problem = format_args!("has a login {:?} that is not known", word.get_ref());
            let remedy = "write \"certificate\", \"key:NAME\", \"password:NAME\" or \"ask\", or leave it out";
            Err(place.wrong(Some(word.span()), problem, remedy))
        }
    }
}

fn via(word: Option<&Word>, place: Place<'_>) -> Result<Option<TargetName>, BundleError> {
    word.map(|word| TargetName::parse(word.get_ref()).map_err(|e| place.told(word.span(), "via", &e)))
        .transpose()
}

fn recording(word: Option<&Word>, place: Place<'_>) -> Result<Recording, BundleError> {
    match word.map(|word| word.get_ref().as_str()) {
        None | Some("strict") => Ok(Recording::Strict),
        Some("best-effort") => Ok(Recording::BestEffort),
        Some(other) => {
            let problem = format_args!("has a recording {other:?} that is not known");
            Err(place.wrong(word.map(Word::span), problem, "write \"strict\" or \"best-effort\""))
        }
    }
}

fn keys(list: &[Word], key: &str, place: Place<'_>) -> Result<Vec<String>, BundleError> {
    limit(list, key, place)?;
    list.iter()
        .map(|word| {
            public_key(word.get_ref()).ok_or_else(|| {
                let problem = format_args!("has a wrong entry in {key}: it is no public key");
                let remedy = "write it as in known_hosts without the host, like \"ssh-ed25519 AAAA...\"";
                place.wrong(Some(word.span()), problem, remedy)
            })
        })
        .collect()
}
