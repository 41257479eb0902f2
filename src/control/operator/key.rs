//! `operator key`: the public keys by which an operator logs in.
//! It never takes a private key, and never one that is too weak to prove anything.

use std::io::Read;

use policy::OperatorName;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ssh_key::public::KeyData;
use ssh_key::{HashAlg, PublicKey};

use super::{known, with_row};
use crate::bastion::Bastion;
use crate::control::at;
use crate::control::attached::{AttachError, Attached};
use crate::control::reply::{Reply, Trouble};
use crate::control::report::{Form, List};
use crate::store::{NewKey, OperatorKey};

/// RSA keys between these lengths, in bits, are taken.
const RSA: std::ops::RangeInclusive<usize> = 3072..=8192;

/// What can be asked of an operator's keys.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyWord {
    /// Registers a public key.
    Add {
        /// Whose.
        name: OperatorName,
        /// The public key file, or - for standard input.
        #[arg(default_value = "-", value_parser = Attached::named)]
        file: Attached,
    },
    /// Lists the keys.
    List {
        /// Whose.
        name: OperatorName,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Takes a key away; sessions that rest on it end.
    Remove {
        /// Whose.
        name: OperatorName,
        /// The fingerprint (SHA256:...), the public key file, or - for standard input.
        #[arg(value_parser = Attached::named)]
        key: Attached,
    },
}

impl KeyWord {
    pub(super) fn event(&self) -> Option<&'static str> {
        match self {
            Self::Add { .. } => Some("admin.operator.key.add"),
            Self::Remove { .. } => Some("admin.operator.key.remove"),
            Self::List { .. } => None,
        }
    }

    pub(super) fn name(&self) -> &OperatorName {
        match self {
            Self::Add { name, .. } | Self::List { name, .. } | Self::Remove { name, .. } => name,
        }
    }

    pub(super) fn attach(&mut self, stdin: &mut dyn Read) -> Result<(), AttachError> {
        match self {
            Self::Add { file, .. } => file.read_public(stdin),
            Self::Remove { key, .. } if !key.name().starts_with("SHA256:") => key.read_public(stdin),
            _ => Ok(()),
        }
    }

    pub(super) fn reads(&self) -> bool {
        match self {
            Self::Add { file, .. } => file.is_input(),
            Self::Remove { key, .. } => key.is_input(),
            Self::List { .. } => false,
        }
    }

    pub(super) fn facts(&self) -> Value {
        let fingerprint = match self {
            Self::Add { file, .. } => file.text().ok().and_then(|t| one_key(t).ok()).map(|f| f.fingerprint),
            Self::Remove { key, .. } => named(key).ok(),
            Self::List { .. } => None,
        };
        json!({ "operator": self.name(), "fingerprint": fingerprint })
    }
}

pub(super) async fn run<R: Reply>(bastion: &Bastion, word: KeyWord, out: &mut R) -> Result<(), Trouble> {
    match word {
        KeyWord::Add { name, file } => {
            let key = one_key(file.text()?)?;
            with_row(bastion, &name).await?;
            let new = NewKey {
                operator: name.as_str(),
                fingerprint: &key.fingerprint,
                public_key: &key.public_key,
                comment: &key.comment,
            };
            bastion.store.add_operator_key(&new, bastion.clock.unix_ms()).await?;
            out.out(&format!("key {} added to operator {name}\n", key.fingerprint)).await
        }
        KeyWord::List { name, json } => list(bastion, &name, json, out).await,
        KeyWord::Remove { name, key } => {
            known(bastion, &name).await?;
            let fingerprint = named(&key)?;
            if !bastion.store.remove_operator_key(name.as_str(), &fingerprint).await? {
                let list = format!("`bartizan operator key list {name}`");
                return Err(Trouble::said(format!("operator {name} has no key {fingerprint}; see {list}")));
            }
            bastion.live.redecide(bastion).await;
            out.out(&format!("key {fingerprint} removed from operator {name}\n")).await
        }
    }
}

async fn list<R: Reply>(
    bastion: &Bastion,
    name: &OperatorName,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    known(bastion, name).await?;
    let mut rows = List::new(Form::of(json), &["fingerprint", "type", "comment", "added"]);
    for key in bastion.store.operator_keys(name.as_str()).await? {
        let kind = key.public_key.split(' ').next().unwrap_or_default().to_owned();
        rows.row(out, &value(&key), || {
            vec![key.fingerprint.clone(), kind, key.comment.clone(), at(key.added)]
        })
        .await?;
    }
    rows.end(out, "no keys").await
}

pub(super) fn value(key: &OperatorKey) -> Value {
    crate::control::with_times(key, &["added"])
}

/// The fingerprint that was given, or that of the key that was.
fn named(key: &Attached) -> Result<String, Trouble> {
    if key.name().starts_with("SHA256:") {
        return Ok(key.name().to_owned());
    }
    Ok(one_key(key.text()?)?.fingerprint)
}

/// A public key that may prove something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::control) struct Fit {
    /// `SHA256:...`
    pub(in crate::control) fingerprint: String,
    /// `algorithm base64`, without the comment.
    pub(in crate::control) public_key: String,
    /// For people; bounded and cleaned.
    pub(in crate::control) comment: String,
}

/// Why a key is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing but blank lines and remarks.
    #[error("there is no public key in it; give a file such as ~/.ssh/id_ed25519.pub")]
    None,
    /// More than one line.
    #[error("there is more than one line in it; give one public key a file")]
    Several,
    /// Something else.
    #[error(
        "it is no public key of the kind `algorithm base64 comment`; give a file such as ~/.ssh/id_ed25519.pub"
    )]
    NotAKey,
    /// A certificate.
    #[error("it is a certificate; give the public key itself")]
    Certificate,
    /// Too short, or absurdly long; bits.
    #[error("it is an RSA key of {0} bits; 3072 to 8192 are taken, or make one with `ssh-keygen -t ed25519`")]
    Rsa(usize),
    /// Another algorithm.
    #[error("{0} keys are not taken; make one with `ssh-keygen -t ed25519`")]
    Kind(String),
}

/// Reads the one public key in `text`.
pub(in crate::control) fn one_key(text: &str) -> Result<Fit, Unfit> {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let line = lines.next().ok_or(Unfit::None)?;
    if lines.next().is_some() {
        return Err(Unfit::Several);
    }
    if line.split(' ').next().is_some_and(|kind| kind.contains("-cert-")) {
        return Err(Unfit::Certificate);
    }
    let key = PublicKey::from_openssh(line).map_err(|_| Unfit::NotAKey)?;
    match key.key_data() {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) | KeyData::SkEd25519(_) | KeyData::SkEcdsaSha2NistP256(_) => {
        }
        KeyData::Rsa(rsa) => {
            let bits = rsa.key_size() as usize;
            if !RSA.contains(&bits) {
                return Err(Unfit::Rsa(bits));
            }
        }
        _ => return Err(Unfit::Kind(key.algorithm().to_string())),
    }
    let comment = key.comment().as_str_lossy().chars().take(200).collect::<String>();
    let bare = PublicKey::from(key.key_data().clone());
    Ok(Fit {
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
        public_key: bare.to_openssh().map_err(|_| Unfit::NotAKey)?.trim().to_owned(),
        comment: crate::control::clean::line(&comment).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti ana@laptop";

    #[test]
    fn a_key_is_named_by_its_fingerprint_and_stored_without_its_comment() {
        let key = one_key(&format!("# my key\n\n{ED25519}\n")).expect("key");
        assert_eq!(key.comment, "ana@laptop");
        assert_eq!(key.public_key, ED25519.rsplit_once(' ').expect("comment").0);
        assert!(key.fingerprint.starts_with("SHA256:"));
    }

    #[test]
    fn what_is_no_single_strong_public_key_is_refused() {
        assert_eq!(one_key("\n# nothing\n"), Err(Unfit::None));
        assert_eq!(one_key(&format!("{ED25519}\n{ED25519}")), Err(Unfit::Several));
        assert_eq!(one_key("ssh-ed25519-cert-v01@openssh.com AAAA"), Err(Unfit::Certificate));
        assert_eq!(one_key("command=\"x\" ssh-ed25519 AAAA"), Err(Unfit::NotAKey));
        let dsa = "ssh-dss AAAAB3NzaC1kc3MAAAAVAQ==";
        assert!(matches!(one_key(dsa), Err(Unfit::NotAKey | Unfit::Kind(_))));
    }

    #[test]
    fn a_comment_cannot_command_a_terminal() {
        let key = one_key(&format!("{ED25519}\u{9b}2J\u{202e}")).expect("key");
        assert!(!key.comment.chars().any(crate::control::clean::commands));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256|)( [A-Za-z0-9+/=]{0,80}| \\PC{0,20}){0,3}") {
            let _ = one_key(&text);
        }
    }
}
