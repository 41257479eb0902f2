//! Each forged, borrowed, stale or replayed certificate fails with its own code, and at the first check that it fails.
//! It never tests with a certificate that was not really signed.

use std::collections::BTreeMap;

use ed25519_dalek::Verifier as _;
use proptest::prelude::*;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{PrivateKey, Signature};
use zeroize::Zeroizing;

use super::*;
use crate::check::{Claim, Demand, Evidence, Finding, MANAGED};
use crate::code::Code;
use crate::device::{Device, Kind};
use crate::report::{Agent, Bind, DeviceSays, Facts, Hex, Keeper, Report, Source, Text};
use crate::state::State;

const NOW: u64 = 1_795_338_716;
const ALICE: Claim<'_> = Claim { operator: "alice", tenant: Some("acme") };
const DEMAND: Demand = Demand { managed: true, evidence: Evidence::Bound };
const SESSION: [u8; 32] = [7; 32];
const HOST_KEY: [u8; 32] = [8; 32];

struct Soft(PrivateKey);

impl DeviceKey for Soft {
    fn public(&self) -> &PublicKey {
        self.0.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, KeyFailed> {
        ed25519_dalek::Signer::try_sign(&self.0, message).map_err(|why| KeyFailed { why: why.to_string() })
    }
}

struct Here;

impl Binding for Here {
    fn is_ours(&self, session_id: &[u8], hostkey_sha256: &[u8]) -> bool {
        session_id == SESSION && hostkey_sha256 == HOST_KEY
    }
}

fn pair(seed: u8) -> PrivateKey {
    PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[seed; 32])), "").unwrap()
}

fn fresh() -> Fresh {
    Fresh { seed: Zeroizing::new([9; 32]), nonce: [10; 32] }
}

fn text(text: &str) -> Text {
    Text::parse(text).unwrap()
}

fn report(seq: u64) -> Report {
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
        session_id: Hex::new(&SESSION).unwrap(),
        hostkey_sha256: Hex::new(&HOST_KEY).unwrap(),
        is_forwarding: false,
        boot_id: text("boot"),
        seq,
    };
    let agent = Agent { version: text("0.1.0"), key: Keeper::File, facts: Source::Own };
    Report::new(device, bind, NOW - 30, agent, Facts::default())
}

fn device() -> Device {
    Device {
        name: "lt-0421".to_owned(),
        owner: "alice".to_owned(),
        tenant: "acme".to_owned(),
        key: pair(1).public_key().clone(),
        kind: Kind::Laptop,
        state: State::Active,
        personal: false,
        managed: true,
    }
}

fn made(report: &Report) -> Certificate {
    issue(&Soft(pair(1)), report, report.bind.seq, NOW, &fresh()).unwrap().certificate
}

fn checked(certificate: &Certificate, seen: &Serials, now: u64) -> Result<u64, Finding> {
    check(certificate, Some(device()), ALICE, DEMAND, &Here, seen, now).map(|(_, serial)| serial)
}

fn refused(certificate: &Certificate) -> Code {
    checked(certificate, &Serials::default(), NOW).unwrap_err().code()
}

/// A certificate as [`issue`] would make it but for one thing.
fn odd(change: impl FnOnce(&mut Builder, &mut Odd)) -> Certificate {
    let mut odd = Odd::default();
    let mut builder =
        Builder::new([10; 32], pair(9).public_key(), NOW - VALID_BEFORE, NOW + VALID_AFTER).unwrap();
    change(&mut builder, &mut odd);
    builder.serial(odd.serial).unwrap().cert_type(odd.kind).unwrap().key_id(odd.id).unwrap();
    for principal in odd.principals {
        builder.valid_principal(principal).unwrap();
    }
    for (name, value) in odd.critical {
        builder.critical_option(name, value).unwrap();
    }
    for (name, value) in odd.extensions {
        builder.extension(name, value).unwrap();
    }
    builder.sign(&odd.signer).unwrap()
}

struct Odd {
    serial: u64,
    kind: CertType,
    id: String,
    principals: Vec<String>,
    critical: BTreeMap<String, String>,
    extensions: BTreeMap<String, String>,
    signer: PrivateKey,
}

impl Default for Odd {
    fn default() -> Self {
        Self {
            serial: 5,
            kind: CertType::User,
            id: "device:lt-0421".to_owned(),
            principals: vec!["device:lt-0421".to_owned()],
            critical: BTreeMap::from([(POSTURE_ONLY.to_owned(), String::new())]),
            extensions: BTreeMap::from([(REPORT.to_owned(), report(5).to_json().unwrap())]),
            signer: pair(1),
        }
    }
}

#[test]
fn a_sound_certificate_proves_its_device_and_brings_its_facts() {
    let issued = issue(&Soft(pair(1)), &report(5), 5, NOW, &fresh()).unwrap();
    assert_eq!(signer(&issued.certificate).key_data(), pair(1).public_key().key_data());
    assert_eq!(issued.key.public_key().key_data(), issued.certificate.public_key());
    let (posture, serial) =
        check(&issued.certificate, Some(device()), ALICE, DEMAND, &Here, &Serials::default(), NOW).unwrap();
    assert_eq!((posture.evidence(), posture.levels(), serial), (Evidence::Bound, [MANAGED].as_slice(), 5));
    assert_eq!(posture.report(), Some(&report(5)));
    assert_eq!(posture.facts(), Some(&Facts::default()));
}

#[test]
fn the_throw_away_key_signs_under_the_certificate() {
    let issued = issue(&Soft(pair(1)), &report(5), 5, NOW, &fresh()).unwrap();
    let signature: Signature = ed25519_dalek::Signer::try_sign(&issued.key, b"login").unwrap();
    issued.certificate.public_key().verify(b"login", &signature).unwrap();
}

#[test]
fn what_is_not_of_our_form_is_001() {
    odd(|_, _| {}); // the odd one without an oddity is sound:
    assert_eq!(checked(&odd(|_, _| {}), &Serials::default(), NOW).unwrap(), 5);
    type Change = fn(&mut Builder, &mut Odd);
    let changes: Vec<(&str, Change)> = vec![
        ("host type", |_, odd| odd.kind = CertType::Host),
        ("no critical option", |_, odd| odd.critical.clear()),
        ("a value to it", |_, odd| drop(odd.critical.insert(POSTURE_ONLY.to_owned(), "x".to_owned()))),
        ("one more", |_, odd| drop(odd.critical.insert("force-command".to_owned(), "x".to_owned()))),
        ("no report", |_, odd| odd.extensions.clear()),
        ("one more extension", |_, odd| drop(odd.extensions.insert("permit-pty".to_owned(), String::new()))),
        ("no JSON", |_, odd| drop(odd.extensions.insert(REPORT.to_owned(), "{".to_owned()))),
        ("too much", |_, odd| {
            let json = format!("{}{}", report(5).to_json().unwrap(), " ".repeat(17_000));
            odd.extensions.insert(REPORT.to_owned(), json);
        }),
        ("serial 0", |_, odd| odd.serial = 0),
        ("another serial than the report's", |_, odd| odd.serial = 6),
        ("another key id", |_, odd| odd.id = "device:lt-0422".to_owned()),
        ("another principal", |_, odd| odd.principals = vec!["root".to_owned()]),
        ("one more principal", |_, odd| odd.principals.push("root".to_owned())),
        ("no principal", |builder, odd| {
            odd.principals.clear();
            builder.all_principals_valid().unwrap();
        }),
        ("its own signer", |_, odd| odd.signer = pair(9)),
    ];
    for (what, change) in changes {
        assert_eq!(refused(&odd(change)), Code::Form, "{what}");
    }
}

#[test]
fn a_certificate_for_a_weak_or_other_kind_of_key_is_001() {
    let mut builder = Builder::new([1; 8], made(&report(5)).signature_key().clone(), NOW, NOW + 60).unwrap();
    builder.valid_principal("device:lt-0421").unwrap().critical_option(POSTURE_ONLY, "").unwrap();
    builder.extension(REPORT, report(5).to_json().unwrap()).unwrap();
    assert_eq!(refused(&builder.sign(&pair(1)).unwrap()), Code::Form);
}

#[test]
fn another_ones_key_is_002() {
    let other = odd(|_, odd| odd.signer = pair(2));
    assert_eq!(refused(&other), Code::Enrolment);
    let unknown = check(&other, None, ALICE, DEMAND, &Here, &Serials::default(), NOW).unwrap_err();
    assert_eq!(unknown.code(), Code::Enrolment);
    for state in [State::Registered, State::Pending, State::Lost, State::Retired] {
        let device = Device { state, ..device() };
        let found = check(&made(&report(5)), Some(device), ALICE, DEMAND, &Here, &Serials::default(), NOW)
            .unwrap_err();
        assert_eq!(found.code(), Code::Enrolment);
    }
    let renamed = Device { name: "lt-9".to_owned(), ..device() };
    let found =
        check(&made(&report(5)), Some(renamed), ALICE, DEMAND, &Here, &Serials::default(), NOW).unwrap_err();
    assert_eq!(found.code(), Code::Enrolment);
}

#[test]
fn a_flipped_bit_is_003_wherever_the_form_still_holds() {
    let bytes = made(&report(5)).to_bytes().unwrap();
    let mut signatures = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let Ok(certificate) = Certificate::from_bytes(&changed) else { continue };
        let code = refused(&certificate);
        assert!(code <= Code::Signature, "byte {at}: {code}");
        signatures += usize::from(code == Code::Signature);
    }
    assert!(signatures > 64, "{signatures}");
}

#[test]
fn another_connection_host_key_or_forwarded_agent_is_004() {
    let changes: [fn(&mut Bind); 3] = [
        |bind| bind.session_id = Hex::new(&[1; 32]).unwrap(),
        |bind| bind.hostkey_sha256 = Hex::new(&[1; 32]).unwrap(),
        |bind| bind.is_forwarding = true,
    ];
    for change in changes {
        let mut report = report(5);
        change(&mut report.bind);
        assert_eq!(refused(&made(&report)), Code::Binding);
    }
}

#[test]
fn out_of_its_time_is_005() {
    let certificate = made(&report(5));
    for (now, holds) in
        [(NOW - 61, false), (NOW - 60, true), (NOW, true), (NOW + 119, true), (NOW + 120, false)]
    {
        let code = checked(&certificate, &Serials::default(), now).map_err(|finding| finding.code());
        assert_eq!(code, if holds { Ok(5) } else { Err(Code::Freshness) }, "{now}");
    }
    for collected_at in [NOW + 61, NOW - OLDEST_FACTS - VALID_AFTER - 1] {
        let mut report = report(5);
        report.collected_at = collected_at;
        assert_eq!(refused(&made(&report)), Code::Freshness);
    }
    let long = odd(|builder, _| {
        *builder = Builder::new([1; 8], pair(9).public_key(), NOW - 60, NOW + 3600).unwrap();
    });
    assert_eq!(refused(&long), Code::Freshness);
}

#[test]
fn a_serial_used_before_or_far_behind_is_005() {
    let certificate = made(&report(5000));
    let seen = |highest, recent: &[u64]| Serials { highest, recent: recent.to_vec() };
    assert!(checked(&certificate, &seen(4999, &[4998, 4999]), NOW).is_ok());
    assert!(checked(&certificate, &seen(6024, &[6024]), NOW).is_ok());
    for used in [seen(5000, &[4999, 5000]), seen(6025, &[])] {
        assert_eq!(checked(&certificate, &used, NOW).unwrap_err().code(), Code::Freshness);
    }
}

#[test]
fn standing_and_owner_come_last() {
    let locked = Device { state: State::Locked, ..device() };
    let eve = Claim { operator: "eve", tenant: Some("acme") };
    let found = |device, claim, now| {
        check(&made(&report(5)), Some(device), claim, DEMAND, &Here, &Serials::default(), now)
            .unwrap_err()
            .code()
    };
    assert_eq!(found(locked.clone(), eve, NOW + 500), Code::Freshness);
    assert_eq!(found(locked, eve, NOW), Code::Standing);
    assert_eq!(found(Device { personal: true, ..device() }, ALICE, NOW), Code::Standing);
    assert_eq!(found(device(), eve, NOW), Code::Owner);
}

#[test]
fn nothing_is_told_to_what_is_no_proof() {
    for code in [refused(&odd(|_, odd| odd.serial = 6)), refused(&odd(|_, odd| odd.signer = pair(2)))] {
        assert!(!code.proves_device());
    }
    let late = checked(&made(&report(5)), &Serials::default(), NOW + 500).unwrap_err();
    assert!(late.remediation("ref").is_none());
}

#[test]
fn a_device_to_be_enrolled_proves_that_it_holds_its_key() {
    let certificate = made(&report(5));
    let enrolling = check_enrolling(&certificate, &Here, NOW).unwrap();
    assert_eq!(enrolling.key.key_data(), pair(1).public_key().key_data());
    assert_eq!((enrolling.serial, enrolling.report), (5, report(5)));
    assert_eq!(check_enrolling(&certificate, &Here, NOW + 500).unwrap_err().code(), Code::Freshness);
    let mut elsewhere = report(5);
    elsewhere.bind.session_id = Hex::new(&[1; 32]).unwrap();
    assert_eq!(check_enrolling(&made(&elsewhere), &Here, NOW).unwrap_err().code(), Code::Binding);
}

#[test]
fn a_serial_that_is_not_the_reports_makes_no_certificate() {
    let make = |serial| issue(&Soft(pair(1)), &report(serial), serial, NOW, &fresh());
    assert!(make(1).is_ok() && make(LARGEST_SERIAL).is_ok());
    assert!(make(0).is_err() && make(LARGEST_SERIAL + 1).is_err());
    assert!(issue(&Soft(pair(1)), &report(5), 6, NOW, &fresh()).is_err());
}

proptest! {
    #[test]
    fn no_certificate_makes_it_fall_over(at in any::<prop::sample::Index>(), put in proptest::collection::vec(any::<u8>(), 1..9)) {
        let mut bytes = made(&report(5)).to_bytes().unwrap();
        let at = at.index(bytes.len());
        for (byte, put) in bytes.iter_mut().skip(at).zip(put) {
            *byte = put;
        }
        if let Ok(certificate) = Certificate::from_bytes(&bytes) {
            let sound = certificate == made(&report(5));
            prop_assert_eq!(checked(&certificate, &Serials::default(), NOW).is_ok(), sound);
        }
    }
}
