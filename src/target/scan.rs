//! Looks at targets without opening a session on them: which host keys a server shows, and whether a registered one lets us in.
//! Never sends anything to a server whose host key is not the registered one, and runs nothing on any.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keys::Allow;
use policy::{AccountName, Address, Target};
use russh::client;
use russh::keys::PublicKeyOrCertificate;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::arrivals::Expects;
use super::hostkey::KnownHost;
use super::visit::{self, Errand};
use super::{ConnectError, algorithms, dial};
use crate::bastion::Bastion;
use crate::recording::Reached;

/// The longest that a server may take to show one key.
const SHOWING: Duration = Duration::from_secs(10);

/// The host keys that the server at `address` (`host`, `host:port` or `[address]:port`) shows, one of each kind.
///
/// # Errors
/// When nobody answers there, or not as an SSH server.
pub async fn scan(address: &str) -> Result<Vec<PublicKey>, ConnectError> {
    let parsed = Address::parse(address).or_else(|_| Address::parse(&format!("{address}:22")));
    let address = parsed.map_err(|why| ConnectError::Address { why: why.to_string() })?.to_string();
    let kinds = [
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    ];
    let mut keys = Vec::new();
    let mut last = None;
    for kind in kinds {
        match show(&address, kind).await {
            Ok(key) => keys.push(key),
            // A server that is not there will not be there for the next kind either.
            Err(why @ (ConnectError::Address { .. } | ConnectError::Unreachable { .. })) => return Err(why),
            Err(why) => last = Some(why),
        }
    }
    match last {
        Some(why) if keys.is_empty() => Err(why),
        _ => Ok(keys),
    }
}

async fn show(address: &str, kind: Algorithm) -> Result<PublicKey, ConnectError> {
    let (stream, _) = dial::dial(address).await?;
    let nobody = KnownHost { keys: Vec::new(), authorities: Vec::new(), names: Vec::new() };
    let mut config = algorithms::config(&nobody);
    config.preferred.key = vec![kind].into();
    let shown = Arc::new(OnceLock::new());
    let looking = client::connect_stream(Arc::new(config), stream, Onlooker(shown.clone()));
    let ended = timeout(SHOWING, looking)
        .await
        .map_err(|_| ConnectError::Timeout { step: "showing its host key" })?;
    let why = ended.err().map_or_else(|| "it showed no key".to_owned(), |why| why.to_string());
    shown.get().cloned().ok_or(ConnectError::Protocol { why })
}

/// Notes the key a server shows, and leaves.
struct Onlooker(Arc<OnceLock<PublicKey>>);

impl client::Handler for Onlooker {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = shown {
            let _ = self.0.set(PublicKey::from(key.key_data().clone()));
        }
        Ok(false)
    }
}

/// Dials a registered target, checks its host key and logs in as `account`; says how it was reached.
///
/// # Errors
/// The first step that failed.
pub async fn check(
    bastion: &Bastion,
    target: &Target,
    account: &AccountName,
) -> Result<Reached, ConnectError> {
    let bundle = bastion.access.bundle();
    let errand = Errand {
        bundle: &bundle,
        target,
        account,
        key_id: "bartizan check".to_owned(),
        allow: Allow::default(),
        expects: Expects::default(),
        is_gateway: false,
    };
    let visit = visit::open(bastion, errand, CancellationToken::new(), None).await?;
    let reached = visit.reached.clone();
    visit.leave().await;
    Ok(reached)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_and_a_port_where_nobody_listens_are_named() {
        assert!(matches!(scan("no host/").await, Err(ConnectError::Address { .. })));
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(scan(&free.to_string()).await, Err(ConnectError::Unreachable { .. })));
    }
}
