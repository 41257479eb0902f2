//! The login held against its rules, with the real store, real keys and a clock that is moved by hand.
//! It never goes around `Attempt`: what is tested is what a client can send.

mod alone;
mod bound;
mod codes;
mod devices;
mod enrolment;
mod facts;
mod laptop;
mod memory;
mod offers;
mod persons;
mod standins;
mod step_up;

use std::net::SocketAddr;
use std::sync::Arc;

use keys::Keys;
use keys::totp::Seed;
use policy::{Bundle, SourceFile};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{PrivateKey, PublicKey};

use super::*;
use crate::clock::{Clock, Manual};
use crate::config::{DeviceConfig, Evidence, Require};
use crate::device::fingerprint;
use crate::ids::Ids;
use crate::store::{NewDevice, NewKey, NewOperator, Store};

/// 2026-11-22 12:00:00 UTC, the start of a step.
const NOON: i64 = 1_795_348_800;

/// One bastion as far as a login sees it. Alice and bob are operators, each with a key, a code and a laptop.
pub(super) struct Scene {
    pub(super) store: Store,
    pub(super) clock: Arc<Manual>,
    keys: Arc<Keys>,
    bundle: Arc<Bundle>,
    pub(super) device: DeviceConfig,
    folder: tempfile::TempDir,
}

impl Scene {
    pub(super) async fn new() -> Self {
        let store = Store::in_memory().await.unwrap();
        Self::with(store).await
    }

    pub(super) async fn with(store: Store) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keys::create(&folder.path().join("keys")).unwrap());
        let device = DeviceConfig { require: Require::Managed, evidence: Evidence::Key };
        let bundle = Arc::new(Bundle::parse(&[]).unwrap());
        let scene = Self { store, clock: Arc::new(Manual::at(NOON)), keys, bundle, device, folder };
        for name in ["alice", "bob"] {
            scene.operator(name).await;
        }
        scene
    }

    async fn operator(&self, name: &str) {
        let roles = ["sre".to_owned()];
        self.store.add_operator(&NewOperator { name, tenant: "default", roles: &roles }, 1).await.unwrap();
        let key = person_key(name);
        let (print, text) = (fingerprint(&key), key.to_openssh().unwrap());
        let new = NewKey { operator: name, fingerprint: &print, public_key: &text, comment: "" };
        self.store.add_operator_key(&new, 1).await.unwrap();
        let sealed = self.keys.seal_seed(name, &seed(name)).unwrap();
        self.store.set_totp(name, &sealed, 1).await.unwrap();
        let (laptop, key) = (format!("lt-{name}"), device_key(name));
        let (print, text) = (fingerprint(&key), key.to_openssh().unwrap());
        let new = NewDevice::active(&laptop, name, "default", Some((&print, &text)));
        self.store.add_device(&new, 1).await.unwrap();
    }

    pub(super) fn any_device(mut self) -> Self {
        self.device.require = Require::Any;
        self
    }

    pub(super) fn bundled(mut self, text: &str) -> Self {
        let file = SourceFile { name: "access.toml".to_owned(), text: text.to_owned() };
        self.bundle = Arc::new(Bundle::parse(&[file]).unwrap());
        self
    }

    /// The same store after a restart of everything else.
    pub(super) fn connect(&self) -> Attempt {
        self.connect_from("192.0.2.7:50000".parse().unwrap())
    }

    pub(super) fn connect_from(&self, peer: SocketAddr) -> Attempt {
        Attempt::new(self.ground(), peer)
    }

    pub(super) fn ground(&self) -> Ground {
        Ground {
            clock: self.clock.clone(),
            store: self.store.clone(),
            keys: self.keys.clone(),
            bundle: self.bundle.clone(),
            device: self.device.clone(),
            reference: Ids::default().reference(self.clock.now()),
        }
    }

    /// A connection whose device has proven itself.
    pub(super) async fn with_device(&self, name: &str) -> Attempt {
        let mut attempt = self.connect();
        let answer = proved(&mut attempt, name, &device_key(name)).await;
        assert!(matches!(answer, Answer::Partial { methods: Methods::KEY }), "{answer:?}");
        attempt
    }

    /// A connection that waits for the code.
    pub(super) async fn with_key(&self, name: &str) -> Attempt {
        let mut attempt = self.with_device(name).await;
        let answer = proved(&mut attempt, name, &person_key(name)).await;
        assert!(matches!(answer, Answer::Partial { methods: Methods::PROMPT }), "{answer:?}");
        attempt
    }

    /// A whole login with the code of now.
    pub(super) async fn log_in(&self, name: &str) -> Answer {
        let mut attempt = self.with_key(name).await;
        answered(&mut attempt, name, &self.code(name)).await
    }

    pub(super) fn code(&self, name: &str) -> String {
        code_of_step(name, self.clock.now().as_second() / 30)
    }
}

pub(super) fn device_key(name: &str) -> PublicKey {
    key_of(&format!("device of {name}"))
}

pub(super) fn person_key(name: &str) -> PublicKey {
    key_of(&format!("person {name}"))
}

pub(super) fn key_of(text: &str) -> PublicKey {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let pair = Ed25519Keypair::from_seed(digest.as_ref().try_into().unwrap());
    PrivateKey::from(pair).public_key().clone()
}

fn seed_bytes(name: &str) -> [u8; 20] {
    let digest = ring::digest::digest(&ring::digest::SHA256, format!("seed of {name}").as_bytes());
    digest.as_ref()[..20].try_into().unwrap()
}

fn seed(name: &str) -> Seed {
    Seed::from_base32(&data_encoding::BASE32_NOPAD.encode(&seed_bytes(name))).unwrap()
}

/// RFC 4226 section 5.3, made here so that the code under test is not its own judge.
pub(super) fn code_of_step(name: &str, step: i64) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &seed_bytes(name));
    let tag = ring::hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

pub(super) async fn proved(attempt: &mut Attempt, user: &str, key: &PublicKey) -> Answer {
    attempt.proved(user, key, &key.algorithm()).await
}

pub(super) async fn offered(attempt: &mut Attempt, user: &str, key: &PublicKey) -> bool {
    attempt.offered(user, key, &key.algorithm()).await == Offer::Sign
}

/// Asks for the prompt and answers it.
pub(super) async fn answered(attempt: &mut Attempt, user: &str, code: &str) -> Answer {
    let asked = attempt.prompt(user).await;
    assert!(matches!(asked, Answer::Ask { prompt: "One-time code: ", .. }), "{asked:?}");
    attempt.answers(user, &[code.as_bytes()]).await
}

/// The code that goes into the log.
pub(super) fn refused(answer: Answer) -> &'static str {
    match answer {
        Answer::Refuse { why, .. } | Answer::Pass { why, .. } => why.code(),
        other => panic!("not refused: {other:?}"),
    }
}

/// The levels that a bundle without words of its own sees the device of a login at.
pub(super) fn levels(of: &Authenticated, scene: &Scene) -> Vec<String> {
    let now = scene.clock.now();
    let assessment = of.proven().unwrap().known().assess(&scene.bundle, now, now);
    assessment.levels.iter().map(ToString::to_string).collect()
}

pub(super) fn done(answer: Answer) -> Authenticated {
    match answer {
        Answer::Done(authenticated) => *authenticated,
        other => panic!("not done: {other:?}"),
    }
}
