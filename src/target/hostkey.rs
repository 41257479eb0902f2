//! Decides whether a server is the registered target: by a pinned host key or by the target's host CA.
//! Never trusts on first use and never takes up a key that a server announces.

use jiff::Timestamp;
use russh::keys::PublicKeyOrCertificate;
use ssh_key::certificate::CertType;
use ssh_key::{Certificate, Fingerprint, HashAlg, PublicKey};

/// What a target is known by.
#[derive(Debug, Clone, Default)]
pub(super) struct KnownHost {
    /// Host keys pinned in the bundle.
    pub(super) keys: Vec<PublicKey>,
    /// CAs that may certify its host key.
    pub(super) authorities: Vec<PublicKey>,
    /// Names of the target that a host certificate may bear: its name and the host part of its address.
    pub(super) names: Vec<String>,
}

/// Why a server is not the registered target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stranger {
    #[error("its host key {0} is not the registered one")]
    OtherKey(Fingerprint),
    #[error("it shows a certificate, but no host_ca is registered for it")]
    NoAuthority,
    #[error("its certificate is no host certificate")]
    NotHost,
    #[error("its certificate is for other names")]
    OtherName,
    #[error("its certificate has critical options, which host certificates do not know")]
    Options,
    #[error("its certificate is not signed by the registered host_ca, or is not valid now")]
    Unproven,
}

impl KnownHost {
    /// Host key algorithms to ask the server for: those of the pinned keys, so that it shows the key that is known.
    pub(super) fn algorithms(&self) -> Vec<ssh_key::Algorithm> {
        let mut wanted = Vec::new();
        for key in &self.keys {
            let mut add = |algorithm| {
                if !wanted.contains(&algorithm) {
                    wanted.push(algorithm);
                }
            };
            if key.key_data().is_rsa() {
                add(ssh_key::Algorithm::Rsa { hash: Some(HashAlg::Sha512) });
                add(ssh_key::Algorithm::Rsa { hash: Some(HashAlg::Sha256) });
            } else {
                add(key.algorithm());
            }
        }
        wanted
    }

    /// Checks what the server showed at the time `now`.
    pub(super) fn check(&self, shown: &PublicKeyOrCertificate, now: Timestamp) -> Result<(), Stranger> {
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.check_key(key),
            PublicKeyOrCertificate::Certificate(certificate) => self.check_certificate(certificate, now),
        }
    }

    fn check_key(&self, key: &PublicKey) -> Result<(), Stranger> {
        if self.keys.iter().any(|known| known.key_data() == key.key_data()) {
            Ok(())
        } else {
            Err(Stranger::OtherKey(key.fingerprint(HashAlg::Sha256)))
        }
    }

    fn check_certificate(&self, certificate: &Certificate, now: Timestamp) -> Result<(), Stranger> {
        if self.authorities.is_empty() {
            return Err(Stranger::NoAuthority);
        }
        if certificate.cert_type() != CertType::Host {
            return Err(Stranger::NotHost);
        }
        if !certificate.critical_options().is_empty() {
            return Err(Stranger::Options);
        }
        // An empty list of principals would be valid for every host (PROTOCOL.certkeys): not here.
        if !certificate.valid_principals().iter().any(|name| self.names.contains(name)) {
            return Err(Stranger::OtherName);
        }
        let authorities: Vec<_> =
            self.authorities.iter().map(|authority| authority.fingerprint(HashAlg::Sha256)).collect();
        let seconds = u64::try_from(now.as_second()).map_err(|_| Stranger::Unproven)?;
        certificate.validate_at(seconds, authorities.iter()).map_err(|_| Stranger::Unproven)
    }
}

#[cfg(test)]
mod tests {
    use ssh_key::PrivateKey;
    use ssh_key::certificate::Builder;
    use ssh_key::private::Ed25519Keypair;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn key(seed: u8) -> PrivateKey {
        PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
    }

    /// A certificate for key 1 by key 2, as it should be until `change` spoils it.
    fn certified(by: u8, change: impl Fn(&mut Builder)) -> PublicKeyOrCertificate {
        made(CertType::Host, by, change)
    }

    fn made(kind: CertType, by: u8, change: impl Fn(&mut Builder)) -> PublicKeyOrCertificate {
        let mut builder = Builder::new([0; 16], key(1).public_key(), NOW - 60, NOW + 60).unwrap();
        builder.cert_type(kind).unwrap();
        change(&mut builder);
        PublicKeyOrCertificate::Certificate(builder.sign(&key(by)).unwrap())
    }

    fn named(name: &str) -> impl Fn(&mut Builder) {
        move |builder| {
            builder.valid_principal(name).unwrap();
        }
    }

    fn check(known: &KnownHost, shown: &PublicKeyOrCertificate, now: u64) -> Result<(), Stranger> {
        known.check(shown, Timestamp::from_second(i64::try_from(now).unwrap()).unwrap())
    }

    #[test]
    fn only_a_pinned_key_or_a_certificate_for_this_name_by_the_registered_authority_is_the_target() {
        let pinned = KnownHost { keys: vec![key(1).public_key().clone()], ..KnownHost::default() };
        let shown =
            |seed| PublicKeyOrCertificate::PublicKey { key: key(seed).public_key().clone(), hash_alg: None };
        assert_eq!(check(&pinned, &shown(1), NOW), Ok(()));
        assert!(matches!(check(&pinned, &shown(3), NOW), Err(Stranger::OtherKey(_))));
        assert_eq!(check(&pinned, &certified(2, named("web-1")), NOW), Err(Stranger::NoAuthority));
        let known = KnownHost {
            authorities: vec![key(2).public_key().clone()],
            names: vec!["web-1".into(), "10.0.0.5".into()],
            ..KnownHost::default()
        };
        assert_eq!(check(&known, &certified(2, named("web-1")), NOW), Ok(()));
        assert!(check(&known, &shown(1), NOW).is_err(), "a plain key, where an authority is registered");
        assert_eq!(check(&known, &certified(2, named("web-2")), NOW), Err(Stranger::OtherName));
        let everybody = |builder: &mut Builder| {
            builder.all_principals_valid().unwrap();
        };
        assert_eq!(check(&known, &certified(2, everybody), NOW), Err(Stranger::OtherName));
        let users = made(CertType::User, 2, named("web-1"));
        assert_eq!(check(&known, &users, NOW), Err(Stranger::NotHost));
        let optional = |builder: &mut Builder| {
            named("web-1")(builder);
            builder.critical_option("force-command", "x").unwrap();
        };
        assert_eq!(check(&known, &certified(2, optional), NOW), Err(Stranger::Options));
        assert_eq!(check(&known, &certified(3, named("web-1")), NOW), Err(Stranger::Unproven));
        for late in [NOW - 61, NOW + 61] {
            assert_eq!(check(&known, &certified(2, named("web-1")), late), Err(Stranger::Unproven));
        }
    }
}
