//! The two certificate authorities at work: host certificates, and a login to a target for one session.
//! It never signs a key that it was handed: it certifies the bastion's own host keys and keys it made itself.

use signature::Signer as _;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{Certificate, PrivateKey, Signature};

use crate::certificate::{CertificateError, LONGEST_HOST, SessionCertificate, host_names, lasts};
use crate::keys::Keys;
use crate::random;

/// A login to one account of one target: a throw-away key and its certificate. The key lives and dies in here.
pub struct SessionLogin {
    certificate: Certificate,
    key: PrivateKey,
}

impl SessionLogin {
    /// The certificate to offer.
    #[must_use]
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Signs an authentication request (RFC 4252 section 7) with the certified Ed25519 key.
    ///
    /// # Errors
    /// Only if the library refuses, which it has no reason to.
    pub fn sign(&self, request: &[u8]) -> Result<Signature, CertificateError> {
        Ok(self.key.try_sign(request).map_err(ssh_key::Error::from)?)
    }
}

impl Keys {
    /// One host certificate for each host key, in the order of [`Keys::host_keys`], good for `names` from `valid_after` to
    /// before `valid_before` (Unix seconds, at most [`LONGEST_HOST`]).
    ///
    /// # Errors
    /// No name, a name that OpenSSH would read as a pattern, a validity too long, no randomness.
    pub fn host_certificate(
        &self,
        names: &[String],
        valid_after: u64,
        valid_before: u64,
    ) -> Result<Vec<Certificate>, CertificateError> {
        lasts(valid_after, valid_before, LONGEST_HOST)?;
        let names = host_names(names)?;
        let certify = |key: &PrivateKey| {
            let nonce = random::bytes::<32>()?;
            let mut builder = Builder::new(nonce.as_slice(), key.public_key(), valid_after, valid_before)?;
            builder.cert_type(CertType::Host)?.serial(valid_after)?.key_id("bartizan host")?;
            for name in &names {
                builder.valid_principal(name)?;
            }
            Ok(builder.sign(&self.host_ca)?)
        };
        self.host_private().iter().map(certify).collect()
    }

    /// A login for one session: a fresh Ed25519 key, certified for one account, from the given addresses, for at most
    /// [`crate::certificate::LONGEST_LOGIN`] seconds. It carries `permit-pty`, and further permissions only as asked.
    ///
    /// # Errors
    /// A name, key id, address list or validity that the rules of [`crate::certificate`] refuse; no randomness.
    pub fn session_login(&self, wanted: &SessionCertificate) -> Result<SessionLogin, CertificateError> {
        wanted.check()?;
        let pair = Ed25519Keypair::from_seed(&*random::bytes::<32>()?);
        let key = PrivateKey::new(KeypairData::Ed25519(pair), "")?;
        let nonce = random::bytes::<32>()?;
        let mut builder =
            Builder::new(nonce.as_slice(), key.public_key(), wanted.valid_after, wanted.valid_before)?;
        builder
            .cert_type(CertType::User)?
            .serial(wanted.serial)?
            .key_id(&wanted.key_id)?
            .valid_principal(&wanted.account)?
            .critical_option("source-address", wanted.source_list())?
            .extension("permit-pty", "")?;
        let asked = [
            (wanted.allow.agent, "permit-agent-forwarding"),
            (wanted.allow.forward, "permit-port-forwarding"),
            (wanted.allow.x11, "permit-X11-forwarding"),
        ];
        for (_, name) in asked.iter().filter(|(asked, _)| *asked) {
            builder.extension(*name, "")?;
        }
        Ok(SessionLogin { certificate: builder.sign(&self.user_ca)?, key })
    }
}

#[cfg(test)]
mod tests;
