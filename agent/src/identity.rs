//! The device identity for one SSH connection: a report, a number, a throw-away key and its certificate.
//! It never makes one but for a connection that is bound to the bastion, and signs nothing but that connection's login.

use std::sync::Arc;

use ed25519_dalek::Signer as _;
use posture::certificate::{Fresh, IssueError, Issued, VALID_AFTER, issue};
use posture::report::{Agent, Bind, DeviceSays, Hex, Report, Text, WordError};
use ssh_key::PrivateKey;
use ssh_key::encoding::Encode as _;
use zeroize::Zeroizing;

use crate::bind::Bound;
use crate::config::Config;
use crate::environment::{Clock, random};
use crate::facts::{FactsError, Snapshot, Watch};
use crate::files::FileError;
use crate::host::Host;
use crate::key::KeyStore;
use crate::serial::Serials;
use crate::wire::Login;

/// How often one identity signs: once, and again where a server makes the client go round.
const MOST_SIGNATURES: u8 = 8;
/// The algorithm of every throw-away certificate.
const ALGORITHM: &[u8] = b"ssh-ed25519-cert-v01@openssh.com";
/// What `ssh-add -L` and `ssh -v` show beside it.
const COMMENT: &str = "bartizan device";

/// Makes device identities.
pub(crate) struct Maker {
    pub(crate) key: Arc<dyn KeyStore>,
    pub(crate) serials: Serials,
    pub(crate) watch: Arc<Watch>,
    pub(crate) config: Arc<Config>,
    pub(crate) host: Host,
    pub(crate) clock: Arc<dyn Clock>,
}

/// A device identity on offer to one SSH connection.
pub(crate) struct Offer {
    key: PrivateKey,
    certificate: Vec<u8>,
    bound: Bound,
    until: u64,
    signatures: u8,
}

/// Why there is no device identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OfferError {
    #[error(transparent)]
    Facts(#[from] FactsError),
    #[error("the certificate's number cannot be kept: {0}")]
    Serial(#[from] FileError),
    #[error("a value of the report is impossible: {0}")]
    Word(#[from] WordError),
    #[error("the system gives no randomness")]
    Random,
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("the certificate cannot be written: {0}")]
    Library(#[from] ssh_key::Error),
    #[error("a thread of the agent ended early")]
    Thread,
}

/// Why a signature was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignRefused {
    #[error("it is not over a login")]
    NoLogin,
    #[error("it is over another connection, key or server")]
    Elsewhere,
    #[error("its certificate has expired or has signed often enough")]
    Spent,
    #[error("the library refused")]
    Library,
}

impl Maker {
    /// Makes an identity for this connection; its number is on disk before it is used.
    pub(crate) async fn offer(&self, bound: &Bound) -> Result<Offer, OfferError> {
        let snapshot = self.watch.fresh(self.clock.unix()).await?;
        let (serials, now) = (self.serials.clone(), self.clock.unix());
        let serial = tokio::task::spawn_blocking(move || serials.next(now)).await;
        let serial = serial.map_err(|_| OfferError::Thread)??;
        let report = self.report(&snapshot, &bound.session_id, &bound.host_key_sha256, serial)?;
        let mut fresh = Fresh { seed: Zeroizing::new([0; 32]), nonce: [0; 32] };
        if !(random(fresh.seed.as_mut_slice()) && random(&mut fresh.nonce)) {
            return Err(OfferError::Random);
        }
        let Issued { key, certificate } = issue(self.key.as_ref(), &report, serial, now, &fresh)?;
        let until = now.saturating_add(VALID_AFTER);
        Ok(Offer { key, certificate: certificate.to_bytes()?, bound: bound.clone(), until, signatures: 0 })
    }

    /// The report for a connection with this session identifier and host key.
    pub(crate) fn report(
        &self,
        snapshot: &Snapshot,
        session_id: &[u8],
        host_key_sha256: &[u8],
        seq: u64,
    ) -> Result<Report, OfferError> {
        let config = &self.config;
        let device = DeviceSays {
            uid: Text::parse(&config.device)?,
            hostname: self.host.name.clone(),
            kind: Text::parse(&config.kind)?,
            is_managed: !config.personal,
            is_personal: config.personal,
            serial: self.host.serial.clone(),
            owner: Text::parse(&config.owner)?,
        };
        let bind = Bind {
            session_id: Hex::new(session_id)?,
            hostkey_sha256: Hex::new(host_key_sha256)?,
            is_forwarding: false,
            boot_id: self.host.boot_id.clone(),
            seq,
        };
        let version = Text::parse(env!("CARGO_PKG_VERSION"))?;
        let agent = Agent { version, key: self.key.keeper(), facts: snapshot.source };
        Ok(Report::new(device, bind, snapshot.collected_at, agent, snapshot.facts.clone()))
    }
}

impl Offer {
    /// The certificate in its RFC 4253 form: what the client is shown as a key.
    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(crate) fn comment() -> &'static str {
        COMMENT
    }

    /// Whether it can still be used, at this time (Unix seconds).
    pub(crate) fn holds(&self, now: u64) -> bool {
        now < self.until && self.signatures < MOST_SIGNATURES
    }

    /// Signs this connection's login, and nothing else. Gives the signature in its RFC 4253 form.
    pub(crate) fn sign(&mut self, data: &[u8], now: u64) -> Result<Vec<u8>, SignRefused> {
        let login = Login::parse(data).map_err(|_| SignRefused::NoLogin)?;
        let ours = login.session_id == self.bound.session_id
            && login.key == self.certificate
            && login.algorithm == ALGORITHM
            && login.host_key.is_none_or(|host_key| host_key == self.bound.host_key);
        if !ours {
            return Err(SignRefused::Elsewhere);
        }
        if !self.holds(now) {
            return Err(SignRefused::Spent);
        }
        self.signatures += 1;
        let signature = self.key.try_sign(data).map_err(|_| SignRefused::Library)?;
        signature.encode_vec().map_err(|_| SignRefused::Library)
    }
}

#[cfg(test)]
mod tests;
