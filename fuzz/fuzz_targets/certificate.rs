//! A device's certificate: any bytes, ours spoiled, or one that the device's own key signed over whatever the fuzzer chose.
//! Holds: what is accepted has every mark that it must have, is for this connection and this moment, and was signed as it is.
#![no_main]

use std::sync::LazyLock;

use bartizan_fuzz::{Input, sow, spoil, within};
use bartizan_posture::certificate::{
    Binding, DeviceKey, Fresh, KeyFailed, LARGEST, POSTURE_ONLY, REPORT, Serials, check, check_enrolling,
    issue, signer,
};
use bartizan_posture::report::{Agent, Bind, DeviceSays, Facts, Hex, Keeper, Report, Source, Text};
use bartizan_posture::{Claim, Demand, Device, Evidence, Kind, State};
use libfuzzer_sys::fuzz_target;
use russh::keys::signature::Signer as _;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;
use ssh_key::{Certificate, PrivateKey, PublicKey, Signature};
use zeroize::Zeroizing;

const NOW: u64 = 1_795_338_716;
const SESSION: [u8; 32] = [7; 32];
const HOST_KEY: [u8; 32] = [8; 32];
const SERIAL: u64 = 5000;

struct Here;

impl Binding for Here {
    fn is_ours(&self, session_id: &[u8], hostkey_sha256: &[u8]) -> bool {
        session_id == SESSION && hostkey_sha256 == HOST_KEY
    }
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

fn key(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

fn report() -> Report {
    let text = |text: &str| Text::parse(text).expect("a text");
    let device = DeviceSays {
        uid: text("lt-0421"),
        hostname: text("lt-0421.example"),
        kind: text("laptop"),
        is_managed: true,
        is_personal: false,
        serial: None,
        owner: text("alice"),
    };
    let bind = Bind {
        session_id: Hex::new(&SESSION).expect("bytes"),
        hostkey_sha256: Hex::new(&HOST_KEY).expect("bytes"),
        is_forwarding: false,
        boot_id: text("boot"),
        seq: SERIAL,
    };
    let agent = Agent { version: text("0.1.0"), key: Keeper::File, facts: Source::Own };
    Report::new(device, bind, NOW - 30, agent, Facts::default())
}

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let fresh = Fresh { seed: Zeroizing::new([9; 32]), nonce: [10; 32] };
    let issued = issue(&Soft(key(1)), &report(), SERIAL, NOW, &fresh).expect("issued");
    let bytes = issued.certificate.to_bytes().expect("bytes");
    assert!(judged(&issued.certificate, 0, &[]), "as it is, it is accepted");
    bytes
});

fn device() -> Device {
    Device {
        name: "lt-0421".into(),
        owner: "alice".into(),
        tenant: "acme".into(),
        key: key(1).public_key().clone(),
        kind: Kind::Laptop,
        state: State::Active,
        personal: false,
        managed: true,
    }
}

/// Judges it both ways; whether an enrolled device would be let in.
fn judged(certificate: &Certificate, highest: u64, recent: &[u64]) -> bool {
    let enrolling = within(1 << 20, || check_enrolling(certificate, &Here, NOW));
    if let Ok(enrolling) = &enrolling {
        holds(certificate, &enrolling.report);
        assert_eq!(enrolling.key.key_data(), certificate.signature_key());
    }
    let claim = Claim { operator: "alice", tenant: Some("acme") };
    let demand = Demand { managed: true, evidence: Evidence::Bound };
    let seen = Serials { highest, recent: recent.to_vec() };
    match check(certificate, Some(device()), claim, demand, &Here, &seen, NOW) {
        Ok((posture, serial)) => {
            assert!(enrolling.is_ok() && posture.evidence() == Evidence::Bound);
            assert_eq!(signer(certificate).key_data(), device().key.key_data());
            assert!(serial == certificate.serial() && !recent.contains(&serial) && serial + 1024 >= highest);
            assert_eq!(posture.report().expect("a report").device.uid.as_str(), device().name);
            true
        }
        Err(_) => false,
    }
}

/// The marks of a certificate that may be accepted here and now.
fn holds(certificate: &Certificate, report: &Report) {
    let critical: Vec<_> = certificate.critical_options().iter().collect();
    assert!(matches!(critical[..], [(name, value)] if name == POSTURE_ONLY && value.is_empty()));
    let extensions: Vec<_> = certificate.extensions().iter().collect();
    let [(name, json)] = extensions[..] else { panic!("{extensions:?}") };
    assert_eq!((name.as_str(), &Report::parse(json.as_bytes()).expect("a report")), (REPORT, report));
    let id = format!("device:{}", report.device.uid.as_str());
    assert_eq!((certificate.key_id(), certificate.valid_principals()), (id.as_str(), &[id.clone()][..]));
    assert_eq!((certificate.cert_type(), certificate.serial()), (CertType::User, report.bind.seq));
    assert!((1..=i64::MAX as u64).contains(&certificate.serial()));
    assert!(Here.is_ours(report.bind.session_id.bytes(), report.bind.hostkey_sha256.bytes()));
    assert!(!report.bind.is_forwarding && certificate.public_key() != certificate.signature_key());
    let (from, until) = (certificate.valid_after(), certificate.valid_before());
    assert!(from <= NOW && NOW < until && until - from <= 180);
    assert!((NOW - 420..=NOW + 60).contains(&report.collected_at), "{}", report.collected_at);
    assert!(certificate.to_bytes().expect("bytes").len() <= LARGEST);
}

/// What it says, without the signature at its end.
fn signed(certificate: &Certificate) -> Vec<u8> {
    let mut bytes = certificate.to_bytes().expect("bytes");
    let signature = Vec::try_from(certificate.signature().clone()).expect("a signature");
    bytes.truncate(bytes.len() - signature.len() - 4);
    bytes
}

/// One that the device signed over what the fuzzer chose.
fn made(input: &mut Input<'_>) -> Option<Certificate> {
    let marks = input.byte();
    let subject = key(if marks & 1 == 0 { 9 } else { input.byte() });
    let (from, until) = match marks & 2 {
        0 => (NOW - 60, NOW + 120),
        _ => (NOW.wrapping_add(input.short().into()).wrapping_sub(1 << 15), NOW + u64::from(input.short())),
    };
    let mut builder = Builder::new([10; 32], subject.public_key(), from, until).ok()?;
    builder.serial(if marks & 4 == 0 { SERIAL } else { input.long() }).ok()?;
    builder.cert_type(if marks & 8 == 0 { CertType::User } else { CertType::Host }).ok()?;
    let named = if marks & 16 == 0 { "device:lt-0421" } else { input.text() };
    builder.key_id(named).ok()?.valid_principal(if marks & 32 == 0 { named } else { input.text() }).ok()?;
    if marks & 64 == 0 {
        builder.critical_option(POSTURE_ONLY, "").ok()?;
    } else {
        builder.critical_option(input.text(), input.text()).ok()?;
    }
    if marks & 128 != 0 {
        builder.extension(input.text(), input.text()).ok()?;
    }
    let json = match input.byte() % 2 {
        0 => report().to_json().expect("a report"),
        _ => str::from_utf8(input.0).ok()?.to_owned(),
    };
    builder.extension(REPORT, json).ok()?;
    builder.sign(&key(1)).ok()
}

fn seeds() -> Vec<Vec<u8>> {
    let json = report().to_json().expect("a report").into_bytes();
    vec![
        [&[0], &SOUND[..]].concat(),
        vec![1, 0, 1, 0, 1],
        vec![2, 0, 0],
        [&[2, 0, 1], &json[..]].concat(),
        vec![2, 255],
    ]
}

fuzz_target!(init: sow("certificate", seeds()), |bytes: &[u8]| {
    let sound = &*SOUND;
    let mut input = Input(bytes);
    let mode = input.byte();
    let highest = if mode & 4 == 0 { 0 } else { input.long() };
    let recent = if mode & 8 == 0 { vec![] } else { vec![input.long()] };
    let read = match mode % 3 {
        0 => within(1 << 20, || Certificate::from_bytes(input.0)).ok(),
        1 => {
            let mut spoiled = sound.clone();
            spoil(&mut spoiled, &mut input);
            within(1 << 20, || Certificate::from_bytes(&spoiled)).ok()
        }
        _ => made(&mut input),
    };
    let Some(certificate) = read else { return };
    if judged(&certificate, highest, &recent) && mode % 3 < 2 {
        let ours = Certificate::from_bytes(sound).expect("ours");
        assert!(signed(&certificate) == signed(&ours), "accepted, and never signed by the device");
    }
});
