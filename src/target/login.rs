//! A login at a target: the certificate that is made for one session and lives for two minutes, the signature, and what russh
//! calls back meanwhile and after.
//! Never shows a target anything of the operator's: no password, no key, no code, whatever the target asks for.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use keys::{Allow, SessionCertificate, SessionLogin, VaultKey};
use policy::AccountName;
use russh::client::{ChannelOpenHandle, DisconnectReason, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::agent::AgentIdentity;
use russh::keys::ssh_encoding::Encode;
use russh::{Channel, ChannelId, Sig, Signer};
use ssh_key::{HashAlg, PublicKey, Signature};
use tokio_util::sync::DropGuard;

use super::ConnectError;
use super::arrivals::Porter;
use super::gate::Gate;
use super::hostkey::{KnownHost, Stranger};
use crate::bastion::Bastion;
use crate::channel::{End, Start, Stream};

/// How long a login certificate is valid, in seconds.
const VALID: u64 = 120;
/// How far a target's clock may be behind ours, in seconds.
const BEHIND: u64 = 60;

/// What a login certificate is made for.
pub(super) struct Purpose<'a> {
    pub(super) account: &'a AccountName,
    /// Shown in the target's own log: session and operator.
    pub(super) key_id: String,
    pub(super) sources: Vec<IpAddr>,
    pub(super) allow: Allow,
    pub(super) now: Timestamp,
}

/// A certificate and the key that signs with it, which stays in `keys`.
pub(super) fn certify(bastion: &Bastion, purpose: &Purpose<'_>) -> Result<SessionLogin, ConnectError> {
    let now = u64::try_from(purpose.now.as_second()).unwrap_or(0);
    let wanted = SessionCertificate {
        account: purpose.account.as_str().to_owned(),
        key_id: purpose.key_id.clone(),
        source_addresses: purpose.sources.clone(),
        valid_after: now.saturating_sub(BEHIND),
        valid_before: now + VALID,
        serial: u64::try_from(purpose.now.as_microsecond()).unwrap_or(0),
        allow: purpose.allow,
    };
    bastion.keys.session_login(&wanted).map_err(|why| ConnectError::Certificate { why: why.to_string() })
}

/// Signs a login with a key that stays in `keys`.
pub(super) trait Signs: Send + Sync {
    /// The signature of an authentication request (RFC 4252 section 7).
    fn sign(&self, request: &[u8]) -> Result<Signature, SignError>;
}

impl Signs for SessionLogin {
    fn sign(&self, request: &[u8]) -> Result<Signature, SignError> {
        Ok(SessionLogin::sign(self, request)?)
    }
}

impl Signs for (&VaultKey, Option<HashAlg>) {
    fn sign(&self, request: &[u8]) -> Result<Signature, SignError> {
        Ok(self.0.sign(self.1, request)?)
    }
}

/// Lends russh a signature without lending it the key.
pub(super) struct Signing<'a>(pub(super) &'a dyn Signs);

/// The request could not be signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error("the connection ended during the login")]
    Gone(#[from] russh::SendError),
    #[error("{0}")]
    Keys(#[from] keys::CertificateError),
    #[error("{0}")]
    Vault(#[from] keys::VaultError),
    #[error("{0}")]
    Encoding(#[from] russh::keys::ssh_encoding::Error),
}

impl Signer for Signing<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let signature = self.0.sign(&to_sign)?;
        // RFC 4252 section 7: the request, then the signature as a string.
        let mut signed = to_sign;
        let encoded: Vec<u8> = signature
            .try_into()
            .map_err(|_| SignError::Encoding(russh::keys::ssh_encoding::Error::Length))?;
        encoded.encode(&mut signed)?;
        Ok(signed)
    }
}

/// What russh calls back while we are a target's guest: checks the host key, counts what comes, refuses everything else.
pub(super) struct Visitor {
    pub(super) known: KnownHost,
    pub(super) now: Timestamp,
    pub(super) gate: Arc<Gate>,
    /// Why the host was refused; russh itself reports only that it was.
    pub(super) stranger: Arc<std::sync::OnceLock<Stranger>>,
    pub(super) porter: Porter,
    /// Tells what goes through the connection that it has ended: russh drops its handler with it.
    pub(super) _over: DropGuard,
}

/// `reply` is dropped, which refuses the channel: russh's own defaults accept these.
macro_rules! refuse {
    ($($name:ident($($kind:ty),*);)*) => {
        $(async fn $name(
            &mut self,
            _: russh::Channel<russh::client::Msg>,
            $(_: $kind,)*
            _: russh::client::ChannelOpenHandle,
            _: &mut Session,
        ) -> Result<(), russh::Error> {
            Ok(())
        })*
    };
}

/// What a target says of a channel waits in russh's queue of it: each message is counted, whatever it says.
macro_rules! count {
    ($($name:ident($($kind:ty),*);)*) => {
        $(async fn $name(
            &mut self,
            channel: ChannelId,
            $(_: $kind,)*
            _: &mut Session,
        ) -> Result<(), russh::Error> {
            self.arrived(channel, 0);
            Ok(())
        })*
    };
}

impl Visitor {
    fn arrived(&self, channel: ChannelId, bytes: usize) {
        self.gate.arrived(&self.gate.meter(channel), bytes);
    }
}

impl russh::client::Handler for Visitor {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        match self.known.check(shown, self.now) {
            Ok(()) => Ok(true),
            Err(stranger) => {
                let _ = self.stranger.set(stranger);
                Ok(false)
            }
        }
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        self.arrived(channel, data.len());
        Ok(())
    }

    async fn extended_data(
        &mut self,
        channel: ChannelId,
        _: u32,
        data: &[u8],
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.arrived(channel, data.len());
        Ok(())
    }

    async fn exit_signal(
        &mut self,
        channel: ChannelId,
        _: Sig,
        _: bool,
        message: &str,
        _: &str,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.arrived(channel, message.len());
        Ok(())
    }

    count! {
        channel_open_confirmation(u32, u32);
        channel_success();
        channel_failure();
        channel_close();
        channel_eof();
        exit_status(u32);
        xon_xoff(bool);
        window_adjusted(u32);
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        _: Vec<PublicKey>,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        Ok(())
    }

    async fn disconnected(&mut self, _: DisconnectReason<russh::Error>) -> Result<(), russh::Error> {
        self.gate.open();
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        from: &str,
        from_port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let end = |host: &str, port| End::Tcp { host: host.to_owned(), port };
        let stream = Stream { to: end(host, port), from: Some(end(from, from_port)) };
        self.porter.knocks(Start::Return(stream), channel, reply);
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let stream = Stream { to: End::Unix(path.to_owned()), from: None };
        self.porter.knocks(Start::Return(stream), channel, reply);
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.porter.knocks(Start::Agent, channel, reply);
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        channel: Channel<Msg>,
        from: &str,
        port: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        self.porter.knocks(Start::X11(End::Tcp { host: from.to_owned(), port }), channel, reply);
        Ok(())
    }

    refuse! {
        server_channel_open_unknown();
        server_channel_open_session();
        server_channel_open_direct_tcpip(&str, u32, &str, u32);
        server_channel_open_direct_streamlocal(&str);
    }
}
