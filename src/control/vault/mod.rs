//! `vault`: the secrets by which the bastion logs in at targets that trust no certificate.
//! It never shows one again, never takes one as an argument, and gives a tenant's to that tenant's targets alone.

mod add;
mod named;

use std::io::Read;

use policy::{TenantName, VaultName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::attached::{AttachError, Attached};
use super::caller::Caller;
use super::reply::{Reply, Trouble};
use super::report::{Form, List, or_dash};
use super::{Done, at, with_times};
use crate::bastion::Bastion;
use crate::store::Vaulted;

pub(super) use named::warn_of_missing;

/// What can be asked of the vault.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VaultWord {
    /// Puts a private key or a password in. Of a key the public half is printed, for the target's authorized_keys.
    Add(Addition),
    /// Lists what is in it, and which targets name it.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Takes a secret away; no further login is made with it.
    Remove {
        /// Its name.
        name: VaultName,
        /// Whose it is.
        #[arg(long, default_value = "default")]
        tenant: TenantName,
    },
}

/// A secret to be put in.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub struct Addition {
    /// Its name, as a bundle writes it in `login = "key:NAME"` or `"password:NAME"`.
    name: VaultName,
    /// Whose it is: only targets of this tenant may name it.
    #[arg(long, default_value = "default")]
    tenant: TenantName,
    /// In place of the one of this name and kind.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    secret: Secret,
}

/// Where the secret comes from.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
#[group(required = true, multiple = false)]
pub(super) struct Secret {
    /// A private key file, or - for standard input. Its passphrase, if it has one, is asked for.
    #[arg(long, value_name = "FILE", value_parser = Attached::named)]
    key_file: Option<Attached>,
    /// A file with the password in one line, or - for standard input.
    #[arg(long, value_name = "FILE", value_parser = Attached::named)]
    password_file: Option<Attached>,
    /// Asks for the password on the terminal, where it is not shown.
    #[arg(long)]
    ask_password: bool,
}

impl Secret {
    fn file(&self) -> Option<&Attached> {
        self.key_file.as_ref().or(self.password_file.as_ref())
    }

    fn kind(&self) -> keys::VaultKind {
        if self.key_file.is_some() { keys::VaultKind::Key } else { keys::VaultKind::Password }
    }

    /// Whether it is a key file with a passphrase.
    fn is_encrypted(&self) -> bool {
        let text = self.key_file.as_ref().and_then(|file| file.text().ok());
        text.is_some_and(keys::VaultKey::is_encrypted)
    }
}

impl VaultWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        match self {
            Self::Add(_) => Some("admin.vault.add"),
            Self::Remove { .. } => Some("admin.vault.remove"),
            Self::List { .. } => None,
        }
    }

    pub(super) fn attach(&mut self, stdin: &mut dyn Read) -> Result<(), AttachError> {
        match self {
            Self::Add(Addition { secret, .. }) => {
                let file = secret.key_file.as_mut().or(secret.password_file.as_mut());
                file.map_or(Ok(()), |file| file.read(stdin))
            }
            _ => Ok(()),
        }
    }

    /// Whether it reads standard input, in place of a file.
    pub(super) fn reads(&self) -> bool {
        matches!(self, Self::Add(add) if add.secret.file().is_some_and(Attached::is_input))
    }

    /// Whether it asks a question.
    pub(super) fn listens(&self) -> bool {
        matches!(self, Self::Add(add) if add.secret.ask_password || add.secret.is_encrypted())
    }

    pub(super) fn facts(&self) -> Value {
        match self {
            Self::Add(Addition { name, tenant, replace, secret }) => {
                let kind = secret.kind().as_str();
                json!({ "name": name, "tenant": tenant, "kind": kind, "replace": replace })
            }
            Self::Remove { name, tenant } => json!({ "name": name, "tenant": tenant }),
            Self::List { .. } => json!({}),
        }
    }
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    word: VaultWord,
    out: &mut R,
) -> Result<Done, Trouble> {
    match word {
        VaultWord::Add(addition) => add::run(bastion, caller, &addition, out).await?,
        VaultWord::List { json } => list(bastion, json, out).await?,
        VaultWord::Remove { name, tenant } => remove(bastion, &name, &tenant, out).await?,
    }
    Ok(Done::Well)
}

async fn list<R: Reply>(bastion: &Bastion, json: bool, out: &mut R) -> Result<(), Trouble> {
    let bundle = bastion.access.bundle();
    let columns = &["name", "tenant", "kind", "fingerprint", "added", "by", "targets"];
    let mut rows = List::new(Form::of(json), columns);
    for one in bastion.store.all_vaulted().await? {
        let targets = named::targets(&bundle, &one.tenant, &one.name);
        let print = one.public_key.as_deref().and_then(fingerprint);
        let value = value(&one, print.as_deref(), &targets);
        rows.row(out, &value, || {
            vec![
                one.name.clone(),
                one.tenant.clone(),
                one.kind.clone(),
                or_dash(print),
                at(one.added),
                one.added_by.clone(),
                targets.join(","),
            ]
        })
        .await?;
    }
    rows.end(out, "nothing is in the vault").await
}

fn fingerprint(public_key: &str) -> Option<String> {
    let key = ssh_key::PublicKey::from_openssh(public_key).ok()?;
    Some(key.fingerprint(ssh_key::HashAlg::Sha256).to_string())
}

fn value(one: &Vaulted, print: Option<&str>, targets: &[String]) -> Value {
    let mut value = with_times(one, &["added"]);
    if let Some(members) = value.as_object_mut() {
        members.insert("fingerprint".into(), json!(print));
        members.insert("targets".into(), json!(targets));
    }
    value
}

async fn remove<R: Reply>(
    bastion: &Bastion,
    name: &VaultName,
    tenant: &TenantName,
    out: &mut R,
) -> Result<(), Trouble> {
    if !bastion.store.remove_vaulted(tenant.as_str(), name.as_str()).await? {
        return Err(none(name, tenant));
    }
    out.out(&format!("{name} is no longer in the vault\n")).await?;
    let left = named::targets(&bastion.access.bundle(), tenant.as_str(), name.as_str());
    if !left.is_empty() {
        let left = named::some(&left);
        out.err(&format!("bartizan: {left}: the bundle still logs in there with it, and nobody gets in\n"))
            .await?;
    }
    Ok(())
}

fn none(name: &VaultName, tenant: &TenantName) -> Trouble {
    Trouble::said(format!("the vault of tenant {tenant} has no {name}; see `bartizan vault list`"))
}
