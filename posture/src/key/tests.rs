//! Every kind of key: made by the real `ssh-keygen` where it is installed, or bent by hand.
//! It never holds a private key that anything uses.

use std::process::Command;

use proptest::prelude::*;
use ssh_key::certificate::Builder;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{DsaPublicKey, EcdsaPublicKey, Ed25519PublicKey, OpaquePublicKey, SkEd25519};
use ssh_key::{AlgorithmName, HashAlg, Mpint, PrivateKey};

use super::*;

const SHA2: [Algorithm; 2] =
    [Algorithm::Rsa { hash: Some(HashAlg::Sha256) }, Algorithm::Rsa { hash: Some(HashAlg::Sha512) }];
const SSH_RSA: Algorithm = Algorithm::Rsa { hash: None };

fn key(data: impl Into<KeyData>) -> PublicKey {
    PublicKey::new(data.into(), "")
}

/// The base point of the curve: y = 4/5.
fn ed25519() -> Ed25519PublicKey {
    let mut point = [0x66; 32];
    point[0] = 0x58;
    Ed25519PublicKey(point)
}

fn number(bytes: &[u8]) -> Mpint {
    Mpint::from_positive_bytes(bytes)
}

/// An odd number of exactly this many bits.
fn modulus(bits: usize) -> Vec<u8> {
    let mut number = vec![0; bits.div_ceil(8)];
    number[0] = 1 << ((bits - 1) % 8);
    *number.last_mut().unwrap() |= 1;
    number
}

fn rsa(bits: usize, exponent: &[u8]) -> PublicKey {
    key(KeyData::Rsa(RsaPublicKey::new(number(exponent), number(&modulus(bits))).unwrap()))
}

fn ecdsa(bytes: usize) -> PublicKey {
    let point = [vec![4], vec![7; 2 * bytes]].concat();
    key(KeyData::Ecdsa(EcdsaPublicKey::from_sec1_bytes(&point).unwrap()))
}

#[test]
fn what_openssh_makes_by_default_is_acceptable() {
    let dir = tempfile::tempdir().unwrap();
    for (kind, bits) in
        [("ed25519", "256"), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "3072")]
    {
        let file = dir.path().join(format!("{kind}{bits}"));
        let arguments = ["-q", "-N", "", "-t", kind, "-b", bits, "-f"];
        let Ok(made) = Command::new("ssh-keygen").args(arguments).arg(&file).status() else { return };
        assert!(made.success());
        let key = PublicKey::read_openssh_file(file.with_extension("pub")).unwrap();
        assert_eq!(acceptable(&key, None), Ok(()), "{kind} {bits}");
        if !key.algorithm().is_rsa() {
            assert_eq!(acceptable(&key, Some(&key.algorithm())), Ok(()), "{kind} {bits}");
        }
    }
}

#[test]
fn every_accepted_kind_signs_as_itself_only() {
    let mut keys = vec![key(ed25519()), ecdsa(32), ecdsa(48), ecdsa(66)];
    keys.push(key(KeyData::SkEd25519(SkEd25519::new(ed25519(), "ssh:"))));
    for one in &keys {
        assert_eq!(acceptable(one, Some(&one.algorithm())), Ok(()));
        for other in keys.iter().filter(|other| other.algorithm() != one.algorithm()) {
            let refused = acceptable(one, Some(&other.algorithm()));
            assert!(matches!(refused, Err(KeyRefused::Mismatch { .. })), "{refused:?}");
        }
        assert!(matches!(acceptable(one, Some(&SSH_RSA)), Err(KeyRefused::Mismatch { .. })));
    }
}

#[test]
fn rsa_signs_with_sha2_only() {
    let key = rsa(3072, &[1, 0, 1]);
    assert_eq!(acceptable(&key, None), Ok(()));
    for algorithm in SHA2 {
        assert_eq!(acceptable(&key, Some(&algorithm)), Ok(()));
    }
    assert_eq!(acceptable(&key, Some(&SSH_RSA)), Err(KeyRefused::Sha1));
    assert!(matches!(acceptable(&key, Some(&Algorithm::Ed25519)), Err(KeyRefused::Mismatch { .. })));
}

#[test]
fn rsa_bits_are_counted_exactly() {
    for bits in [3072, 3073, 4096, 8191, 8192] {
        assert_eq!(acceptable(&rsa(bits, &[1, 0, 1]), None), Ok(()), "{bits}");
    }
    // 3065 to 3071 bits fill as many bytes as 3072 do.
    for bits in [16, 512, 1024, 2048, 3065, 3071, 8193, 16_384] {
        assert_eq!(acceptable(&rsa(bits, &[1, 0, 1]), None), Err(KeyRefused::RsaSize { bits }));
    }
}

#[test]
fn an_rsa_exponent_that_lets_anybody_sign_is_refused() {
    for exponent in [&[1][..], &[2], &[4], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
        assert_eq!(acceptable(&rsa(3072, exponent), None), Err(KeyRefused::RsaNumbers), "{exponent:?}");
    }
    for exponent in [&[3][..], &[35], &[1, 0, 1]] {
        assert_eq!(acceptable(&rsa(3072, exponent), None), Ok(()), "{exponent:?}");
    }
    let mut even = modulus(3072);
    *even.last_mut().unwrap() &= 0xfe;
    let even = RsaPublicKey::new(number(&[1, 0, 1]), number(&even)).unwrap();
    assert_eq!(acceptable(&key(KeyData::Rsa(even)), None), Err(KeyRefused::RsaNumbers));
}

#[test]
fn an_ed25519_point_under_which_anybody_can_sign_is_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let order_eight = data_hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05");
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    let no_point = [2; 32].map(|_: u8| 2);
    for point in [identity, [0; 32], order_eight, minus_one, no_point] {
        let plain = key(Ed25519PublicKey(point));
        let hardware = key(KeyData::SkEd25519(SkEd25519::new(Ed25519PublicKey(point), "ssh:")));
        assert_eq!(acceptable(&plain, None), Err(KeyRefused::Point), "{point:02x?}");
        assert_eq!(acceptable(&hardware, None), Err(KeyRefused::Point), "{point:02x?}");
    }
}

fn data_hex(text: &str) -> [u8; 32] {
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    std::array::from_fn(byte)
}

#[test]
fn a_packed_curve_point_is_refused() {
    let packed = [vec![2], vec![7; 32]].concat();
    let packed = key(KeyData::Ecdsa(EcdsaPublicKey::from_sec1_bytes(&packed).unwrap()));
    assert_eq!(acceptable(&packed, None), Err(KeyRefused::Point));
}

#[test]
fn a_security_key_made_for_something_else_is_refused() {
    for application in ["", "https://example.com", "example.com", "SSH:", "xssh:"] {
        let key = key(KeyData::SkEd25519(SkEd25519::new(ed25519(), application)));
        assert!(matches!(acceptable(&key, None), Err(KeyRefused::Application { .. })), "{application}");
    }
    assert_eq!(acceptable(&key(KeyData::SkEd25519(SkEd25519::new(ed25519(), "ssh:work"))), None), Ok(()));
}

#[test]
fn dsa_unknown_kinds_and_certificates_are_refused() {
    let small = || number(&[3]);
    let dsa = key(KeyData::Dsa(DsaPublicKey::new(small(), small(), small(), small()).unwrap()));
    assert_eq!(acceptable(&dsa, None), Err(KeyRefused::Kind { kind: "ssh-dss".to_owned() }));
    let algorithm = Algorithm::Other(AlgorithmName::new("ssh-ed448@example.com").unwrap());
    let other = key(KeyData::Other(OpaquePublicKey::new(vec![0; 57], algorithm)));
    assert!(matches!(acceptable(&other, None), Err(KeyRefused::Kind { .. })));
    let signer = PrivateKey::new(KeypairData::Ed25519(Ed25519Keypair::from_seed(&[7; 32])), "").unwrap();
    let mut builder = Builder::new([7; 16], signer.public_key(), 0, 60).unwrap();
    builder.valid_principal("alice").unwrap();
    let certificate = key(KeyData::Certificate(Box::new(builder.sign(&signer).unwrap())));
    assert_eq!(acceptable(&certificate, None), Err(KeyRefused::Certificate));
}

proptest! {
    #[test]
    fn hostile_key_blobs_are_keys_or_refusals(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(key) = PublicKey::from_bytes(&bytes) {
            let _ = acceptable(&key, None);
        }
    }

    #[test]
    fn hostile_rsa_numbers_are_judged(e in proptest::collection::vec(any::<u8>(), 1..20), n in proptest::collection::vec(any::<u8>(), 1..20)) {
        if let Ok(rsa) = RsaPublicKey::new(number(&e), number(&n)) {
            prop_assert!(acceptable(&key(KeyData::Rsa(rsa)), None).is_err());
        }
    }
}
