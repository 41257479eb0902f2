//! Certificates as an agent makes them, to be spoiled before they are signed.
//! It never asks the product to make one: what is refused must be what a stranger could send.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bartizan_integration_tests::{Rig, sha256};
use posture::certificate::{POSTURE_ONLY, REPORT, VALID_AFTER, VALID_BEFORE};
use posture::report::{Agent, Bind as Bound, DeviceSays, Facts, Hex, Keeper, Report, Source, Text};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::ssh_key::private::Ed25519Keypair;

use crate::agent::{Bind, Identity, private};

/// A machine of the inventory, and its key in the hands of a test.
pub(crate) struct Machine {
    name: String,
    owner: String,
    key: PrivateKey,
    number: AtomicU64,
}

/// What a certificate is made of.
pub(crate) struct Making {
    pub(crate) report: Report,
    /// In place of the report.
    pub(crate) json: Option<String>,
    /// What it calls itself in key id and principal.
    pub(crate) id: String,
    /// Unix seconds.
    pub(crate) from: u64,
    pub(crate) until: u64,
    pub(crate) kind: CertType,
    /// The extension that holds the report, if not as it should be.
    pub(crate) renamed: Option<&'static str>,
    pub(crate) critical: Vec<(&'static str, &'static str)>,
    pub(crate) more: Vec<(&'static str, &'static str)>,
    pub(crate) signer: PrivateKey,
    /// The key that signs the login: that of the certificate, if all is right.
    pub(crate) signs: PrivateKey,
    throw_away: PrivateKey,
}

impl Machine {
    /// The laptop that the scene has registered for an operator.
    pub(crate) fn of(rig: &Rig, owner: &str) -> Self {
        Self::new(&format!("{owner}-laptop"), owner, private(&rig.path(format!("{owner}-device"))))
    }

    /// Registers one more, in use at once, with more words of `device register`.
    pub(crate) fn registered(rig: &Rig, name: &str, owner: &str, words: &[&str]) -> Self {
        let machine = Self::new(name, owner, key_of(name));
        let public = rig.path(format!("{name}.pub"));
        std::fs::write(&public, machine.key.public_key().to_openssh().unwrap()).unwrap();
        let usual = ["device", "register", name, "--operator", owner, "--key", public.to_str().unwrap()];
        rig.said(&[&usual, words].concat());
        machine
    }

    /// One that has this name and key, whatever the inventory says.
    pub(crate) fn new(name: &str, owner: &str, key: PrivateKey) -> Self {
        Self { name: name.to_owned(), owner: owner.to_owned(), key, number: AtomicU64::new(1 << 20) }
    }

    /// What an agent would make now for this connection.
    pub(crate) fn making(&self, bind: &Bind) -> Making {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let device = DeviceSays {
            uid: text(&self.name),
            hostname: text("laptop"),
            kind: text("laptop"),
            is_managed: true,
            is_personal: false,
            serial: None,
            owner: text(&self.owner),
        };
        let bound = Bound {
            session_id: Hex::new(&bind.session_id).unwrap(),
            hostkey_sha256: Hex::new(&bind.hostkey_sha256).unwrap(),
            is_forwarding: false,
            boot_id: text("boot"),
            seq: number,
        };
        let agent = Agent { version: text("0.1.0"), key: Keeper::File, facts: Source::Own };
        let throw_away = key_of(&format!("{} throws {number} away", self.name));
        Making {
            report: Report::new(device, bound, now() - 30, agent, Facts::default()),
            json: None,
            id: format!("device:{}", self.name),
            from: now() - VALID_BEFORE,
            until: now() + VALID_AFTER,
            kind: CertType::User,
            renamed: None,
            critical: vec![(POSTURE_ONLY, "")],
            more: Vec::new(),
            signer: self.key.clone(),
            signs: throw_away.clone(),
            throw_away,
        }
    }
}

impl Making {
    /// Signed, whatever it says.
    pub(crate) fn identity(self) -> Identity {
        let public = self.throw_away.public_key();
        let mut builder = Builder::new([1; 32], public, self.from, self.until).unwrap();
        builder.serial(self.report.bind.seq).unwrap().cert_type(self.kind).unwrap();
        builder.key_id(&self.id).unwrap().valid_principal(&self.id).unwrap();
        for (name, value) in self.critical {
            builder.critical_option(name, value).unwrap();
        }
        let json = self.json.unwrap_or_else(|| self.report.to_json().unwrap());
        builder.extension(self.renamed.unwrap_or(REPORT), json).unwrap();
        for (name, value) in self.more {
            builder.extension(name, value).unwrap();
        }
        let certificate = builder.sign(&self.signer).unwrap().to_bytes().unwrap();
        Identity { certificate, key: self.signs }
    }

    /// Replaces words of the report.
    pub(crate) fn say(&mut self, from: &str, to: &str) {
        let json = self.report.to_json().unwrap();
        assert!(json.contains(from), "{json}");
        self.json = Some(json.replacen(from, to, 1));
    }
}

/// The key that these words make.
pub(crate) fn key_of(words: &str) -> PrivateKey {
    let seed = data_encoding::HEXLOWER.decode(sha256(words.as_bytes()).as_bytes()).unwrap();
    PrivateKey::from(Ed25519Keypair::from_seed(seed.as_slice().try_into().unwrap()))
}

fn text(text: &str) -> Text {
    Text::parse(text).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a laptop has a clock of its own")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
