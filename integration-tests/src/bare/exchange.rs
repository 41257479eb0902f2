//! The one key exchange of a bare peer: `curve25519-sha256` with `ssh-ed25519` (RFC 8731, RFC 8709), as either side.
//! It never holds a host key against anything: the bare peer is the one that is not to be trusted.

use std::io::{self, Read as _, Write as _};

use ring::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::message::{Fields, Message};
use super::wire::{Cipher, Wire};

const LINE: &str = "SSH-2.0-Bare";
const KEXINIT: u8 = 20;
const NEWKEYS: u8 = 21;
const INIT: u8 = 30;
const REPLY: u8 = 31;

/// What an exchange ended with.
pub(super) struct Agreed {
    /// The session identifier.
    pub(super) session: Vec<u8>,
    /// The other side's first message, with its lists of names.
    pub(super) offer: Vec<u8>,
}

/// A host key as `algorithm, key` in wire form.
pub(super) fn blob(key: &Ed25519KeyPair) -> Vec<u8> {
    key_blob(key.public_key().as_ref())
}

pub(super) fn key_blob(public: &[u8]) -> Vec<u8> {
    fields().string("ssh-ed25519").string(public).bytes()[1..].to_vec()
}

/// A signature in wire form.
pub(super) fn signed(key: &Ed25519KeyPair, bytes: &[u8]) -> Vec<u8> {
    fields().string("ssh-ed25519").string(key.sign(bytes)).bytes()[1..].to_vec()
}

/// Exchanges keys as the client.
pub(super) fn as_client(wire: &mut Wire) -> io::Result<Agreed> {
    let theirs_line = lines(wire)?;
    let ours = offer("kex-strict-c-v00@openssh.com");
    wire.send(ours.bytes())?;
    let theirs = expect(wire, KEXINIT)?;
    let (secret, public) = ephemeral();
    wire.send(Message::new(INIT).string(&public).bytes())?;
    let reply = expect(wire, REPLY)?;
    let mut reply = Fields::of(&reply);
    let (host, point) = (reply.string(), reply.string());
    let shared = mpint(&agree(secret, point));
    let said = fields().string(LINE).string(theirs_line).string(ours.bytes()).string(&theirs);
    let hash = hashed(said.string(host).string(&public).string(point).raw(&shared));
    wire.send(&[NEWKEYS])?;
    wire.seal(cipher(&shared, &hash, b'C', b'A'));
    expect(wire, NEWKEYS)?;
    wire.unseal(cipher(&shared, &hash, b'D', b'B'));
    Ok(Agreed { session: hash, offer: theirs })
}

/// Exchanges keys as a server with this host key.
pub(super) fn as_server(wire: &mut Wire, key: &Ed25519KeyPair) -> io::Result<Agreed> {
    let theirs_line = lines(wire)?;
    let ours = offer("kex-strict-s-v00@openssh.com");
    wire.send(ours.bytes())?;
    let theirs = expect(wire, KEXINIT)?;
    let init = expect(wire, INIT)?;
    let point = Fields::of(&init).string();
    let (secret, public) = ephemeral();
    let shared = mpint(&agree(secret, point));
    let said = fields().string(theirs_line).string(LINE).string(&theirs).string(ours.bytes());
    let hash = hashed(said.string(blob(key)).string(point).string(&public).raw(&shared));
    let reply = Message::new(REPLY).string(blob(key)).string(&public).string(signed(key, &hash));
    wire.send(reply.bytes())?;
    wire.send(&[NEWKEYS])?;
    wire.seal(cipher(&shared, &hash, b'D', b'B'));
    expect(wire, NEWKEYS)?;
    wire.unseal(cipher(&shared, &hash, b'C', b'A'));
    Ok(Agreed { session: hash, offer: theirs })
}

/// The first message of a key exchange.
pub(super) fn offer(strict: &str) -> Message {
    let mut cookie = [0; 16];
    SystemRandom::new().fill(&mut cookie).unwrap();
    let (cipher, mac) = ("aes256-gcm@openssh.com", "hmac-sha2-256-etm@openssh.com");
    let lists = [
        &format!("curve25519-sha256,{strict}"),
        "ssh-ed25519",
        cipher,
        cipher,
        mac,
        mac,
        "none",
        "none",
        "",
        "",
    ];
    let offer = lists.into_iter().fold(Message::new(KEXINIT).raw(&cookie), |offer, list| offer.string(list));
    offer.flag(false).number(0)
}

/// A message whose number is not part of it.
fn fields() -> Message {
    Message::new(0)
}

/// Says our line and hears theirs, without its end.
fn lines(wire: &mut Wire) -> io::Result<Vec<u8>> {
    let stream = wire.stream();
    stream.write_all(format!("{LINE}\r\n").as_bytes())?;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        line.push(byte[0]);
    }
    line.truncate(line.trim_ascii_end().len());
    Ok(line)
}

fn expect(wire: &mut Wire, kind: u8) -> io::Result<Vec<u8>> {
    let message = wire.receive()?;
    let wrong = || io::Error::other(format!("message {} in place of {kind}", message[0]));
    if message[0] == kind { Ok(message) } else { Err(wrong()) }
}

fn ephemeral() -> (EphemeralPrivateKey, Vec<u8>) {
    let secret = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).unwrap();
    let public = secret.compute_public_key().unwrap().as_ref().to_vec();
    (secret, public)
}

fn agree(secret: EphemeralPrivateKey, point: &[u8]) -> Vec<u8> {
    agree_ephemeral(secret, &UnparsedPublicKey::new(&X25519, point), <[u8]>::to_vec).unwrap()
}

/// A number as RFC 4251 section 5 writes it, with its length.
fn mpint(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let sign: &[u8] = if digits.first().is_some_and(|first| *first > 0x7f) { &[0] } else { &[] };
    fields().string([sign, digits].concat()).bytes()[1..].to_vec()
}

fn hashed(said: Message) -> Vec<u8> {
    digest(&SHA256, &said.bytes()[1..]).as_ref().to_vec()
}

/// RFC 4253 section 7.2.
fn cipher(shared: &[u8], hash: &[u8], key: u8, nonce: u8) -> Cipher {
    let derived = |letter: u8| digest(&SHA256, &[shared, hash, &[letter], hash].concat());
    Cipher::new(derived(key).as_ref(), derived(nonce).as_ref())
}
