//! A hostile agent behind a stock `ssh`: it is told of the connection what every agent is told, and answers as a test wants.
//! It never checks anything: that is for the bastion.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bartizan_integration_tests::{Client, Rig};
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::encoding::Encode as _;
use russh::keys::ssh_key::{HashAlg, PublicKey};
use russh::keys::{Certificate, PrivateKey};

// OpenSSH `PROTOCOL.agent`, draft-ietf-sshm-ssh-agent.
const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;

/// What `ssh` tells of its connection.
pub(crate) struct Bind {
    pub(crate) session_id: Vec<u8>,
    /// Of the plain host key.
    pub(crate) hostkey_sha256: [u8; 32],
}

/// What is offered to a connection: a certificate in its RFC 4253 form, and the key that signs when asked.
pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: PrivateKey,
}

/// One answer a message, for one client.
type Answers = Box<dyn FnMut(&[u8]) -> Vec<u8> + Send>;

/// Messages and their answers, as they were overheard.
pub(crate) type Heard = Arc<Mutex<Vec<(Vec<u8>, Vec<u8>)>>>;

/// An agent that listens until it is dropped.
pub(crate) struct Agent {
    socket: PathBuf,
    stop: Arc<AtomicBool>,
}

impl Agent {
    /// Offers to each connection what is made for it.
    pub(crate) fn offering(rig: &Rig, make: impl Fn(&Bind) -> Identity + Send + Sync + 'static) -> Self {
        let make = Arc::new(make);
        Self::start(rig, move || offers(make.clone()))
    }

    /// Passes everything on to another agent, and keeps what was said.
    pub(crate) fn overhearing(rig: &Rig, other: PathBuf) -> (Self, Heard) {
        let heard = Heard::default();
        let keep = heard.clone();
        let agent = Self::start(rig, move || {
            let mut other = UnixStream::connect(&other).unwrap();
            let keep = keep.clone();
            Box::new(move |message| {
                write(&mut other, message);
                let answer = read(&mut other).unwrap();
                keep.lock().unwrap().push((message.to_vec(), answer.clone()));
                answer
            })
        });
        (agent, heard)
    }

    /// Answers as was overheard, whoever asks.
    pub(crate) fn repeating(rig: &Rig, heard: Heard) -> Self {
        Self::start(rig, move || {
            let heard = heard.clone();
            Box::new(move |message| {
                let heard = heard.lock().unwrap();
                let same = heard.iter().find(|(asked, _)| asked.first() == message.first());
                same.map_or_else(|| vec![FAILURE], |(_, answer)| answer.clone())
            })
        })
    }

    /// A client whose only agent this is.
    pub(crate) fn client<'r>(&self, rig: &'r Rig, operator: &str) -> Client<'r> {
        let client = rig.client(operator).without_device();
        client.option(&format!("IdentityAgent {}", self.socket.display())).option("IdentitiesOnly no")
    }

    fn start(rig: &Rig, each: impl Fn() -> Answers + Send + 'static) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let socket = rig.path(format!("hostile-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let listener = UnixListener::bind(&socket).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        std::thread::spawn(move || {
            while let Ok((mut client, _)) = listener.accept() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let mut answers = each();
                std::thread::spawn(move || {
                    while let Some(message) = read(&mut client) {
                        write(&mut client, &answers(&message));
                    }
                });
            }
        });
        Self { socket, stop }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accept call.
        let _ = UnixStream::connect(&self.socket);
    }
}

fn offers(make: Arc<impl Fn(&Bind) -> Identity + Send + Sync + 'static>) -> Answers {
    let mut identity = None;
    Box::new(move |message| match (message[0], &identity) {
        (EXTENSION, _) => {
            identity = bind(&message[1..]).map(|bind| make(&bind));
            vec![if identity.is_some() { SUCCESS } else { FAILURE }]
        }
        (REQUEST_IDENTITIES, Some(Identity { certificate, .. })) => {
            let mut answer = vec![IDENTITIES, 0, 0, 0, 1];
            put(&mut answer, certificate);
            put(&mut answer, b"hostile");
            answer
        }
        (SIGN_REQUEST, Some(Identity { key, .. })) => {
            let mut rest = &message[1..];
            let (_certificate, data) = (take(&mut rest), take(&mut rest));
            let signature = key.try_sign(data).unwrap().encode_vec().unwrap();
            let mut answer = vec![SIGN_RESPONSE];
            put(&mut answer, &signature);
            answer
        }
        _ => vec![FAILURE],
    })
}

/// `session-bind@openssh.com`; none for another extension.
fn bind(mut rest: &[u8]) -> Option<Bind> {
    if take(&mut rest) != b"session-bind@openssh.com" {
        return None;
    }
    let host_key = take(&mut rest);
    // The bastion shows a certificate for its host key.
    let key = match Certificate::from_bytes(host_key) {
        Ok(certificate) => PublicKey::new(certificate.public_key().clone(), ""),
        Err(_) => PublicKey::from_bytes(host_key).unwrap(),
    };
    let hostkey_sha256 = key.fingerprint(HashAlg::Sha256).sha256().unwrap();
    Some(Bind { session_id: take(&mut rest).to_vec(), hostkey_sha256 })
}

fn take<'m>(rest: &mut &'m [u8]) -> &'m [u8] {
    let (length, after) = rest.split_first_chunk::<4>().unwrap();
    let (string, after) = after.split_at(u32::from_be_bytes(*length) as usize);
    *rest = after;
    string
}

fn put(to: &mut Vec<u8>, string: &[u8]) {
    to.extend_from_slice(&u32::try_from(string.len()).unwrap().to_be_bytes());
    to.extend_from_slice(string);
}

fn read(from: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut message = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut message).ok()?;
    Some(message)
}

fn write(to: &mut UnixStream, message: &[u8]) {
    let mut frame = Vec::new();
    put(&mut frame, message);
    // A client that has gone wants no answer.
    let _ = to.write_all(&frame);
}

/// A private key as `ssh-keygen` writes it.
pub(crate) fn private(path: &Path) -> PrivateKey {
    PrivateKey::from_openssh(std::fs::read(path).unwrap()).unwrap()
}
