//! `vault add`: a secret from a file, standard input or a question, sealed before it is stored.
//! It never keeps the secret in the clear longer than that takes.

use std::time::Duration;

use keys::{VaultError, VaultKey, VaultKind, VaultPassword};
use zeroize::Zeroizing;

use super::{Addition, none};
use crate::bastion::Bastion;
use crate::control::ask::{Echo, Questions};
use crate::control::caller::Caller;
use crate::control::reply::{Reply, Trouble};
use crate::store::NewVaulted;

/// How long somebody may take to type.
const LIMIT: Duration = Duration::from_secs(120);

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    addition: &Addition,
    out: &mut R,
) -> Result<(), Trouble> {
    let (name, tenant, kind) = (&addition.name, &addition.tenant, addition.secret.kind());
    let (sealed, public_key) = match kind {
        VaultKind::Key => {
            let key = key(addition, out).await?;
            let sealed = bastion.keys.seal_vault_key(tenant.as_str(), name.as_str(), &key)?;
            (sealed, Some(key.public().to_openssh()?.trim().to_owned()))
        }
        VaultKind::Password => {
            let password = password(addition, out).await?;
            (bastion.keys.seal_vault_password(tenant.as_str(), name.as_str(), &password)?, None)
        }
    };
    let new = NewVaulted {
        tenant: tenant.as_str(),
        name: name.as_str(),
        kind,
        public_key: public_key.as_deref(),
        sealed: &sealed,
        by: caller.name(),
    };
    let now = bastion.clock.unix_ms();
    if addition.replace {
        if !bastion.store.replace_vaulted(&new, now).await? {
            return Err(match bastion.store.vaulted(new.tenant, new.name).await? {
                Some(other) => Trouble::said(format!(
                    "{name} is a {}, and a {} does not take its place; remove it first, or choose another name",
                    other.kind,
                    kind.as_str()
                )),
                None => none(name, tenant),
            });
        }
    } else {
        bastion.store.add_vaulted(&new, now).await?;
    }
    // The public half alone on standard output, for scripts.
    if let Some(public_key) = &public_key {
        out.out(&format!("{public_key} bartizan-vault-{name}\n")).await?;
    }
    let kind = kind.as_str();
    out.err(&format!("bartizan: {kind} {name} is in the vault of tenant {tenant}; a target uses it by login = \"{kind}:{name}\"\n"))
        .await
}

async fn key<R: Reply>(addition: &Addition, out: &mut R) -> Result<VaultKey, Trouble> {
    let text = addition.secret.key_file.as_ref().map_or(Ok(""), |file| file.text())?;
    if !addition.secret.is_encrypted() {
        return Ok(VaultKey::read(text, None)?);
    }
    if !out.shape().keys {
        return Err(VaultError::Encrypted.into());
    }
    let passphrase = Questions::within(LIMIT, out)?.line(out, "Passphrase of the key: ", Echo::Off).await?;
    let text = Zeroizing::new(text.to_owned());
    // Its rounds take their time.
    let opening = tokio::task::spawn_blocking(move || VaultKey::read(&text, Some(&passphrase)));
    Ok(opening.await??)
}

async fn password<R: Reply>(addition: &Addition, out: &mut R) -> Result<VaultPassword, Trouble> {
    if let Some(file) = &addition.secret.password_file {
        return Ok(VaultPassword::read(file.text()?)?);
    }
    let mut questions = Questions::within(LIMIT, out)?;
    let once = questions.line(out, "Password: ", Echo::Off).await?;
    let again = questions.line(out, "The same again: ", Echo::Off).await?;
    if once != again {
        return Err(Trouble::said("the two differ; nothing was stored"));
    }
    Ok(VaultPassword::read(&once)?)
}
