//! The order of the checks, and what each failure tells whom.
//! It never builds a `Posture` but by the check.

use ssh_key::public::{Ed25519PublicKey, KeyData};

use super::*;
use crate::device::Kind;

const ALICE: Claim<'_> = Claim { operator: "alice", tenant: Some("acme") };
const NOBODY: Claim<'_> = Claim { operator: "nobody", tenant: None };
const MANAGED_KEY: Demand = Demand { managed: true, evidence: Evidence::Key };
const ANY_KEY: Demand = Demand { managed: false, evidence: Evidence::Key };

/// The base point of the curve, and its double: two sound keys.
fn key(second: bool) -> PublicKey {
    let mut point = [0x66; 32];
    point[0] = 0x58;
    if second {
        let double = "c9a3f86aae465f0e56513864510f3997561fa2c9e85ea21dc2292309f3cd6022";
        point = std::array::from_fn(|at| u8::from_str_radix(&double[2 * at..2 * at + 2], 16).unwrap());
    }
    PublicKey::new(KeyData::Ed25519(Ed25519PublicKey(point)), "")
}

fn device() -> Device {
    Device {
        name: "lt-0421".to_owned(),
        owner: "alice".to_owned(),
        tenant: "acme".to_owned(),
        key: key(false),
        kind: Kind::Laptop,
        state: State::Active,
        personal: false,
        managed: true,
    }
}

fn finding(device: Option<Device>, claim: Claim<'_>, demand: Demand) -> Finding {
    check_key(&key(false), Some(&Algorithm::Ed25519), device, claim, demand).unwrap_err()
}

#[test]
fn an_active_managed_device_of_its_owner_is_proven() {
    let posture = check_key(&key(false), None, Some(device()), ALICE, MANAGED_KEY).unwrap();
    assert_eq!(posture.device(), &device());
    assert_eq!(posture.evidence(), Evidence::Key);
    assert_eq!(posture.levels(), [MANAGED]);
}

#[test]
fn a_personal_or_unmanaged_device_reaches_no_level() {
    for (personal, managed) in [(true, true), (true, false), (false, false)] {
        let device = Device { personal, managed, ..device() };
        let posture = check_key(&key(false), None, Some(device.clone()), ALICE, ANY_KEY).unwrap();
        assert!(posture.levels().is_empty());
        assert_eq!(finding(Some(device), ALICE, MANAGED_KEY).code(), Code::Standing);
    }
}

#[test]
fn a_key_that_is_not_accepted_fails_first() {
    let signed = Algorithm::Rsa { hash: None };
    let finding = check_key(&key(false), Some(&signed), None, NOBODY, MANAGED_KEY).unwrap_err();
    assert_eq!(finding.code(), Code::Form);
}

#[test]
fn an_unknown_key_and_another_ones_record_are_no_enrolment() {
    assert_eq!(finding(None, ALICE, MANAGED_KEY).code(), Code::Enrolment);
    let other = Device { key: key(true), ..device() };
    assert_eq!(finding(Some(other), ALICE, MANAGED_KEY).code(), Code::Enrolment);
}

#[test]
fn only_active_and_locked_devices_are_proven() {
    for state in State::ALL {
        let device = Device { state, ..device() };
        let code =
            check_key(&key(false), None, Some(device), ALICE, MANAGED_KEY).map_err(|finding| finding.code());
        match state {
            State::Active => assert!(code.is_ok()),
            State::Locked => assert_eq!(code.err(), Some(Code::Standing)),
            _ => assert_eq!(code.err(), Some(Code::Enrolment), "{state}"),
        }
    }
}

#[test]
fn a_locked_device_is_refused_whatever_is_demanded() {
    let locked = Device { state: State::Locked, ..device() };
    assert_eq!(finding(Some(locked.clone()), ALICE, ANY_KEY).code(), Code::Standing);
    assert_eq!(finding(Some(locked), NOBODY, ANY_KEY).code(), Code::Standing);
}

#[test]
fn a_plain_key_is_not_bound_evidence() {
    let bound = Demand { managed: true, evidence: Evidence::Bound };
    let finding = finding(Some(device()), ALICE, bound);
    assert_eq!(finding.code(), Code::Binding);
    assert!(finding.remediation("ref").is_none());
}

#[test]
fn an_owner_of_another_tenant_is_no_enrolment() {
    let moved = Claim { operator: "alice", tenant: Some("other") };
    assert_eq!(finding(Some(device()), moved, MANAGED_KEY).code(), Code::Enrolment);
    let removed = Claim { operator: "alice", tenant: None };
    assert_eq!(finding(Some(device()), removed, MANAGED_KEY).code(), Code::Enrolment);
}

#[test]
fn a_device_never_learns_whether_an_operator_exists() {
    let told = |claim| {
        let finding = finding(Some(device()), claim, MANAGED_KEY);
        (finding.code(), finding.remediation("ref").unwrap().to_string())
    };
    let unknown = told(NOBODY);
    assert_eq!(unknown.0, Code::Owner);
    assert_eq!(told(Claim { operator: "bob", tenant: Some("acme") }), unknown);
    assert_eq!(told(Claim { operator: "eve", tenant: Some("other") }), unknown);
}

#[test]
fn nothing_is_explained_to_a_device_that_is_not_proven() {
    let retired = Device { state: State::Retired, ..device() };
    for finding in [finding(None, ALICE, MANAGED_KEY), finding(Some(retired), ALICE, MANAGED_KEY)] {
        assert!(finding.remediation("ref").is_none());
    }
}

#[test]
fn a_proven_device_is_told_what_to_do() {
    let locked = Device { state: State::Locked, ..device() };
    let text = finding(Some(locked), ALICE, MANAGED_KEY).remediation("01JD37F2K").unwrap().to_string();
    assert_eq!(
        text,
        "bartizan: this laptop may not connect yet                      [POSTURE-006]\n  \
         failed  standing: it is locked\n  \
         do      ask your administrator to unlock it, connect again\n  \
         ref     01JD37F2K, for the service desk\n"
    );
}

#[test]
fn the_log_gets_the_device_and_the_full_cause() {
    let retired = Device { state: State::Retired, ..device() };
    let finding = finding(Some(retired), ALICE, MANAGED_KEY);
    assert_eq!(finding.to_string(), "device lt-0421: enrolment: it is retired, not active");
    assert_eq!(finding.device().map(|device| device.name.as_str()), Some("lt-0421"));
}
