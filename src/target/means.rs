//! What the bastion logs in with at a target: a certificate made for the session, or what the vault has for this target.
//! Never takes a secret out before the server has proven itself, never shows one to another target, and nothing of the operator's
//! to any but one that the bundle lets ask.

use keys::{Keys, SessionLogin, VaultError, VaultKey, VaultPassword};
use policy::{AccountName, Target, TargetLogin};
use russh::MethodKind;
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse as Asked};
use ssh_key::HashAlg;

use super::ConnectError;
use super::asks::{self, Asks};
use super::login::{self, Purpose, Signing, Visitor};
use crate::bastion::Bastion;
use crate::store::Vaulted;

/// How often a target may ask before and after it is given the password: PAM says a word of its own now and then.
const ROUNDS: usize = 4;

/// The secret of the vault that the bundle names for a target, still sealed; `None` where the certificate serves.
///
/// # Errors
/// The vault does not have it.
pub(super) async fn vaulted(bastion: &Bastion, target: &Target) -> Result<Option<Vaulted>, ConnectError> {
    let (kind, name) = match target.login() {
        TargetLogin::Certificate | TargetLogin::Ask => return Ok(None),
        TargetLogin::Key(name) => ("key", name),
        TargetLogin::Password(name) => ("password", name),
    };
    let tenant = target.tenant();
    let found = bastion
        .store
        .vaulted(tenant.as_str(), name.as_str())
        .await
        .map_err(|why| ConnectError::Vault { why: why.to_string() })?;
    match found {
        Some(found) if found.kind == kind => Ok(Some(found)),
        Some(found) => Err(ConnectError::Vault {
            why: format!("{name} is a {} in the vault of tenant {tenant}, and no {kind}", found.kind),
        }),
        None => Err(ConnectError::Vault {
            why: format!(
                "the vault of tenant {tenant} has no {kind} {name}; `bartizan vault add {name} --tenant {tenant} --{kind}-file FILE`"
            ),
        }),
    }
}

/// What the bastion logs in with.
pub(super) enum Means {
    /// A certificate of the user CA.
    Certificate(Box<SessionLogin>),
    /// A secret, sealed until it is used.
    Vaulted(Vaulted),
    /// What the operator answers.
    Asking,
}

/// How a try ended.
struct Tried {
    result: AuthResult,
    with: String,
    remedy: String,
}

impl Means {
    /// What there is: the vaulted secret, the operator, or a certificate made now.
    pub(super) fn of(
        bastion: &Bastion,
        target: &Target,
        vaulted: Option<Vaulted>,
        purpose: &Purpose<'_>,
    ) -> Result<Self, ConnectError> {
        match vaulted {
            Some(vaulted) => Ok(Self::Vaulted(vaulted)),
            None if *target.login() == TargetLogin::Ask => Ok(Self::Asking),
            None => Ok(Self::Certificate(Box::new(login::certify(bastion, purpose)?))),
        }
    }

    /// Logs in. The server has shown the registered host key: without it there is no handle.
    pub(super) async fn login(
        self,
        keys: &Keys,
        handle: &mut Handle<Visitor>,
        account: &AccountName,
        asks: Option<&mut dyn Asks>,
    ) -> Result<(), ConnectError> {
        let tried = match self {
            Self::Asking => {
                let result = asks::login(handle, account, asks.ok_or(ConnectError::NoTerminal)?).await?;
                let (with, remedy) = ("the operator's answers".to_owned(), "were they right?".to_owned());
                Tried { result, with, remedy }
            }
            Self::Certificate(certified) => by_certificate(handle, account, &certified).await?,
            Self::Vaulted(item) if item.kind == "key" => {
                let key = keys.unseal_vault_key(&item.tenant, &item.name, &item.sealed).map_err(sealed)?;
                by_key(handle, account, &key, &item.name).await?
            }
            Self::Vaulted(item) => {
                let password =
                    keys.unseal_vault_password(&item.tenant, &item.name, &item.sealed).map_err(sealed)?;
                by_password(handle, account, &password, &item.name).await?
            }
        };
        match tried.result {
            AuthResult::Success => Ok(()),
            AuthResult::Failure { remaining_methods, partial_success } => {
                let takes: Vec<String> = remaining_methods.iter().map(String::from).collect();
                let more = if partial_success { "took it and asks for more" } else { "refused it" };
                Err(ConnectError::Login {
                    account: account.to_string(),
                    with: tried.with,
                    why: format!("it {more}, and would take {}; {}", or_nothing(&takes), tried.remedy),
                })
            }
        }
    }
}

async fn by_certificate(
    handle: &mut Handle<Visitor>,
    account: &AccountName,
    certified: &SessionLogin,
) -> Result<Tried, ConnectError> {
    let certificate = certified.certificate().clone();
    let mut signing = Signing(certified);
    let result = handle
        .authenticate_certificate_with(account.as_str(), certificate, None, &mut signing)
        .await
        .map_err(ConnectError::protocol)?;
    let remedy = "does it trust the user CA (`bartizan ca show user`)?".to_owned();
    Ok(Tried { result, with: "a certificate".to_owned(), remedy })
}

async fn by_key(
    handle: &mut Handle<Visitor>,
    account: &AccountName,
    key: &VaultKey,
    name: &str,
) -> Result<Tried, ConnectError> {
    let with = format!("the vaulted key {name} ({})", key.public().fingerprint(HashAlg::Sha256));
    let hash = match key.public().key_data().is_rsa() {
        // RFC 8332: one who does not say what it takes is tried with what RSA keys sign by today.
        true => match handle.best_supported_rsa_hash().await.map_err(ConnectError::protocol)? {
            None => Some(HashAlg::Sha512),
            Some(Some(hash)) => Some(hash),
            Some(None) => {
                let why = "it takes RSA keys with SHA-1 alone; give it an Ed25519 key".to_owned();
                return Err(ConnectError::Login { account: account.to_string(), with, why });
            }
        },
        false => None,
    };
    let mut signing = Signing(&(key, hash));
    let result = handle
        .authenticate_publickey_with(account.as_str(), key.public().clone(), hash, &mut signing)
        .await
        .map_err(ConnectError::protocol)?;
    let remedy = "is its public half in the account's authorized_keys there?".to_owned();
    Ok(Tried { result, with, remedy })
}

/// By the method of that name; where the target only has prompts, by the answer to the one that is not shown.
async fn by_password(
    handle: &mut Handle<Visitor>,
    account: &AccountName,
    password: &VaultPassword,
    name: &str,
) -> Result<Tried, ConnectError> {
    let mut result = handle
        .authenticate_password(account.as_str(), password.lend())
        .await
        .map_err(ConnectError::protocol)?;
    if let AuthResult::Failure { remaining_methods, .. } = &result
        && remaining_methods.contains(&MethodKind::KeyboardInteractive)
        && !remaining_methods.contains(&MethodKind::Password)
    {
        result = by_prompt(handle, account, password).await?;
    }
    let remedy =
        format!("has it been changed there? `bartizan vault add {name} --replace` puts a new one in");
    Ok(Tried { result, with: format!("the vaulted password {name}"), remedy })
}

/// Answers one hidden prompt, once, with the password, and nothing else that is asked.
async fn by_prompt(
    handle: &mut Handle<Visitor>,
    account: &AccountName,
    password: &VaultPassword,
) -> Result<AuthResult, ConnectError> {
    let mut given = false;
    let starting = handle.authenticate_keyboard_interactive_start(account.as_str(), None);
    let mut asked = starting.await.map_err(ConnectError::protocol)?;
    for _ in 0..ROUNDS {
        let prompts = match asked {
            Asked::Success => return Ok(AuthResult::Success),
            Asked::Failure { remaining_methods, partial_success } => {
                return Ok(AuthResult::Failure { remaining_methods, partial_success });
            }
            Asked::InfoRequest { prompts, .. } => prompts,
        };
        let answers = match prompts.as_slice() {
            [] => Vec::new(),
            [one] if !one.echo && !given => {
                given = true;
                vec![password.lend().to_owned()]
            }
            _ => break,
        };
        asked = handle
            .authenticate_keyboard_interactive_respond(answers)
            .await
            .map_err(ConnectError::protocol)?;
    }
    Err(ConnectError::Login {
        account: account.to_string(),
        with: "the vaulted password".to_owned(),
        why: "it asks for more than one password, which nobody answers".to_owned(),
    })
}

fn or_nothing(takes: &[String]) -> String {
    if takes.is_empty() { "nothing else".to_owned() } else { takes.join(" or ") }
}

fn sealed(why: VaultError) -> ConnectError {
    ConnectError::Vault { why: why.to_string() }
}
