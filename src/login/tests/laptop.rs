//! A laptop in the hands of a test: it makes certificates as an agent does, and as one that was tampered with does not.

use std::sync::atomic::{AtomicU64, Ordering};

use posture::certificate::{
    Binding, DeviceKey, Fresh, KeyFailed, POSTURE_ONLY, REPORT, VALID_AFTER, VALID_BEFORE, issue,
};
use posture::report::{Agent, Bind, DeviceSays, Facts, Hex, Keeper, Report, Source, Text};
use russh::keys::signature::Signer as _;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{Certificate, PrivateKey, PublicKey, Signature};
use zeroize::Zeroizing;

use super::{Answer, Attempt, NOON};

/// The connection that certificates are made for, unless they are made for another.
pub(super) const HERE: Place = Place { session: [7; 32], hostkey: [8; 32] };

/// A connection, as the two ends of it know it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) session: [u8; 32],
    pub(super) hostkey: [u8; 32],
}

impl Binding for Place {
    fn is_ours(&self, session_id: &[u8], hostkey_sha256: &[u8]) -> bool {
        session_id == self.session && hostkey_sha256 == self.hostkey
    }
}

pub(super) struct Laptop {
    name: String,
    owner: String,
    key: PrivateKey,
    serial: AtomicU64,
}

/// What a certificate is made of, to be changed before it is signed.
pub(super) struct Making {
    pub(super) report: Report,
    pub(super) json: Option<String>,
    pub(super) at: u64,
    pub(super) kind: CertType,
    pub(super) critical: bool,
    pub(super) signer: PrivateKey,
    pub(super) throw_away: PrivateKey,
}

struct Soft(PrivateKey);

impl DeviceKey for Soft {
    fn public(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, KeyFailed> {
        self.0.try_sign(message).map_err(|why| KeyFailed { why: why.to_string() })
    }
}

pub(super) fn private(text: &str) -> PrivateKey {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    PrivateKey::from(Ed25519Keypair::from_seed(digest.as_ref().try_into().unwrap()))
}

fn text(text: &str) -> Text {
    Text::parse(text).unwrap()
}

impl Laptop {
    /// The one with the key that `key` makes.
    pub(super) fn new(name: &str, owner: &str, key: &str) -> Self {
        Self { name: name.to_owned(), owner: owner.to_owned(), key: private(key), serial: AtomicU64::new(0) }
    }

    /// The enrolled laptop of an operator of the scene.
    pub(super) fn of(owner: &str) -> Self {
        Self::new(&format!("lt-{owner}"), owner, &format!("device of {owner}"))
    }

    /// What it says at noon, for the connection `place`.
    pub(super) fn report(&self, place: Place) -> Report {
        let device = DeviceSays {
            uid: text(&self.name),
            hostname: text("laptop"),
            kind: text("laptop"),
            is_managed: true,
            is_personal: false,
            serial: None,
            owner: text(&self.owner),
        };
        let bind = Bind {
            session_id: Hex::new(&place.session).unwrap(),
            hostkey_sha256: Hex::new(&place.hostkey).unwrap(),
            is_forwarding: false,
            boot_id: text("boot"),
            seq: self.serial.fetch_add(1, Ordering::Relaxed) + 1,
        };
        let agent = Agent { version: text("0.1.0"), key: Keeper::File, facts: Source::Own };
        Report::new(device, bind, NOON.unsigned_abs() - 30, agent, Facts::default())
    }

    /// The certificate that an agent makes at noon for the connection [`HERE`].
    pub(super) fn certificate(&self) -> Certificate {
        self.issued(&self.report(HERE))
    }

    /// The certificate that an agent makes of this report.
    pub(super) fn issued(&self, report: &Report) -> Certificate {
        let seed = *private(&format!("{} throws {} away", self.name, report.bind.seq))
            .key_data()
            .ed25519()
            .unwrap()
            .private
            .as_ref();
        let fresh = Fresh { seed: Zeroizing::new(seed), nonce: [1; 32] };
        issue(&Soft(self.key.clone()), report, report.bind.seq, NOON.unsigned_abs(), &fresh)
            .unwrap()
            .certificate
    }

    /// A certificate that is signed but is not as an agent makes it.
    pub(super) fn forged(&self, change: impl FnOnce(&mut Making)) -> Certificate {
        let report = self.report(HERE);
        let throw_away = private(&format!("{} throws {} away", self.name, report.bind.seq));
        let mut making = Making {
            report,
            json: None,
            at: NOON.unsigned_abs(),
            kind: CertType::User,
            critical: true,
            signer: self.key.clone(),
            throw_away,
        };
        change(&mut making);
        let Making { report, json, at, kind, critical, signer, throw_away } = making;
        let json = json.unwrap_or_else(|| report.to_json().unwrap());
        let id = format!("device:{}", report.device.uid.as_str());
        let mut builder =
            Builder::new([1; 32], throw_away.public_key(), at - VALID_BEFORE, at + VALID_AFTER).unwrap();
        builder.serial(report.bind.seq).unwrap().cert_type(kind).unwrap();
        builder.key_id(id.clone()).unwrap().valid_principal(id).unwrap();
        if critical {
            builder.critical_option(POSTURE_ONLY, "").unwrap();
        }
        builder.extension(REPORT, json).unwrap();
        builder.sign(&signer).unwrap()
    }
}

/// The key that a certificate is for, as it is offered.
pub(super) fn bare(certificate: &Certificate) -> PublicKey {
    PublicKey::new(certificate.public_key().clone(), "")
}

/// Shows a certificate on the connection [`HERE`], as the transport does once its key has signed.
pub(super) async fn shown(attempt: &mut Attempt, user: &str, certificate: &Certificate) -> Answer {
    attempt.certified(user, certificate, &HERE).await
}
