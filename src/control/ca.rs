//! `ca`: the public keys of the two certificate authorities, as targets and laptops want them.
//! It never touches a private key.

use serde::{Deserialize, Serialize};

use super::Done;
use super::reply::{Reply, Trouble};
use crate::bastion::Bastion;

/// What can be asked of the authorities.
#[derive(Debug, Clone, clap::Subcommand, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaWord {
    /// Prints the public keys, one a line.
    Show {
        /// user: for sshd's TrustedUserCAKeys. host: for @cert-authority in known_hosts.
        which: Which,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

/// Which authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// Signs the certificates that targets log the bastion in by.
    User,
    /// Signs the bastion's host certificates.
    Host,
}

pub(super) async fn run<R: Reply>(bastion: &Bastion, word: CaWord, out: &mut R) -> Result<Done, Trouble> {
    let CaWord::Show { which, json } = word;
    let key = match which {
        Which::User => bastion.keys.user_ca(),
        Which::Host => bastion.keys.host_ca(),
    };
    let text = key.to_openssh()?;
    if json {
        out.out(&format!("{}\n", serde_json::json!([text]))).await?;
    } else {
        out.out(&format!("{text}\n")).await?;
    }
    Ok(Done::Well)
}
