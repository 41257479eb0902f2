//! What stands in the clear before there are keys: what a client says, and our own key exchange as the tap reads along.
//! The first byte says in which pieces it comes. Holds: the pieces do not matter; what is taken obeys RFC 4253; little memory;
//! and a session identifier is ours only where our signature over it went out.
#![no_main]

use std::sync::{Arc, LazyLock};

use bartizan::ssh::clear::{Clear, NotSsh};
use bartizan::ssh::tap::{Bound, Exchange, HostKeys, Tap};
use bartizan_fuzz::{Input, sow, within};
use bartizan_posture::certificate::Binding as _;
use libfuzzer_sys::fuzz_target;
use russh::keys::signature::Signer as _;
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

/// The longest packet, as it grows in a vector, and the signature that is kept.
const MEMORY: usize = 160 << 10;
const HASH: &[u8; 32] = b"the first exchange's hash, 32 by";

struct Ours {
    keys: Arc<HostKeys>,
    digest: [u8; 32],
    signature: Vec<u8>,
}

static OURS: LazyLock<Ours> = LazyLock::new(|| {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(&[2; 32]));
    let blob = key.public_key().to_bytes().expect("a key");
    let digest = ring::digest::digest(&ring::digest::SHA256, &blob);
    Ours {
        keys: Arc::new(HostKeys::new(vec![key.public_key().clone()])),
        digest: digest.as_ref().try_into().expect("32 bytes"),
        signature: key.try_sign(HASH).expect("signed").as_bytes().to_vec(),
    }
});

fn heard(bytes: &[u8], piece: usize) -> Result<(bool, bool), NotSsh> {
    let mut clear = Clear::default();
    bytes.chunks(piece).try_for_each(|piece| clear.heard(piece))?;
    Ok((clear.spoken(), clear.over()))
}

/// Whether everything up to the end, or to NEWKEYS, is what RFC 4253 sections 4.2 and 6 ask for, and a message of a key exchange; as
/// above.
fn judged(bytes: &[u8]) -> Option<(bool, bool)> {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let begun = line.len() >= 8 || bytes == line;
        return (begun && bytes.len() < 255 && is_line(line)).then_some((false, false));
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    if end >= 255 || line.len() < 8 || !is_line(line) {
        return None;
    }
    let mut rest = &bytes[end + 1..];
    loop {
        let Some((length, body)) = rest.split_first_chunk::<4>() else { return Some((true, false)) };
        let length = u32::from_be_bytes(*length) as usize;
        let sound = (6..=64 << 10).contains(&length)
            && body.first().is_none_or(|padding| *padding >= 4 && usize::from(*padding) + 2 <= length)
            && body.get(1).is_none_or(|kind| matches!(kind, 1 | 20 | 21 | 30..=49));
        match body.get(..length).filter(|_| sound) {
            Some(packet) if packet[1] == 21 => return Some((true, true)),
            Some(_) => rest = &body[length..],
            None => return sound.then_some((true, false)),
        }
    }
}

fn is_line(line: &[u8]) -> bool {
    let version = b"SSH-2.0-";
    let begins = line.len().min(version.len());
    line[..begins] == version[..begins] && line.iter().all(|byte| (b' '..=b'~').contains(byte))
}

fn tapped(bytes: &[u8], piece: usize) -> (bool, bool) {
    let exchange = Arc::new(Exchange::default());
    let mut tap = Tap::new(exchange.clone());
    within(MEMORY, || bytes.chunks(piece).for_each(|piece| tap.sent(piece)));
    let bound = Bound::new(exchange, OURS.keys.clone());
    assert!(!bound.is_ours(&HASH[..31], &OURS.digest) && !bound.is_ours(&[7; 32], &OURS.digest));
    assert!(!bound.is_ours(HASH, &[0; 32]));
    (tap.over(), bound.is_ours(HASH, &OURS.digest))
}

/// Our own exchange with a signature of ours and with one of nobody's, and a client's.
fn seeds() -> Vec<Vec<u8>> {
    let string =
        |bytes: &[u8]| [&u32::try_from(bytes.len()).expect("a length").to_be_bytes(), bytes].concat();
    let packet = |payload: &[u8]| string(&[&[4], payload, &[0; 4]].concat());
    let exchange = |signature: &[u8]| {
        let signature = string(&[string(b"ssh-ed25519"), string(signature)].concat());
        let reply = packet(&[&[31], &string(b"key")[..], &string(&[9; 32]), &signature].concat());
        [&[255], &b"SSH-2.0-x\r\n"[..], &packet(&[20; 90]), &reply, &packet(&[21])].concat()
    };
    vec![exchange(&OURS.signature), exchange(&[1; 64]), b"\x07SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()]
}

fuzz_target!(init: sow("key_exchange", seeds()), |bytes: &[u8]| {
    let mut input = Input(bytes);
    let piece = usize::from(input.byte()) + 1;
    let bytes = input.0;
    // A length alone is judged with its fourth byte, so the oracle sees the same.
    assert_eq!(heard(bytes, piece).ok(), judged(bytes));
    assert_eq!(heard(bytes, bytes.len().max(1)).ok(), judged(bytes));
    let (over, ours) = tapped(bytes, piece);
    assert_eq!(tapped(bytes, bytes.len().max(1)), (over, ours));
    assert!(!ours || bytes.windows(64).any(|window| window == OURS.signature), "ours, and never signed");
});
