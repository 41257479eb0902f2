//! A bare client of the bastion: logs in when it is told to, one step at a time, and else says whatever a test wants.
//! It never gives an answer that it was not asked for, unless it is told to.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use ssh_key::PrivateKey;

use super::exchange;
use super::message::Message;
use super::wire::Wire;
use crate::{ACCOUNT, Rig};

/// Longer than anything takes that is not forgotten.
const PATIENCE: Duration = Duration::from_secs(60);
const DISCONNECT: u8 = 1;
const SERVICE_REQUEST: u8 = 5;
const SERVICE_ACCEPT: u8 = 6;
const USERAUTH_REQUEST: u8 = 50;
const FAILURE: u8 = 51;
const SUCCESS: u8 = 52;
const BANNER: u8 = 53;
const INFO_REQUEST: u8 = 60;
const INFO_RESPONSE: u8 = 61;

/// What answers a method that is none: a mark in the order of answers.
pub const PROBED: u8 = FAILURE;

/// One connection.
pub struct BareClient {
    wire: Wire,
    session: Vec<u8>,
    offer: Vec<u8>,
}

impl BareClient {
    /// Connects and exchanges keys, and no more.
    ///
    /// # Errors
    /// When the other side does not.
    pub fn connect(to: SocketAddr) -> io::Result<Self> {
        let mut wire = Wire::new(TcpStream::connect(to)?, PATIENCE)?;
        let agreed = exchange::as_client(&mut wire)?;
        Ok(Self { wire, session: agreed.session, offer: agreed.offer })
    }

    /// Connects and logs in as this operator, at their device, for this target.
    ///
    /// # Panics
    /// When it is not let in.
    pub fn log_in(rig: &Rig, operator: &str, target: &str) -> Self {
        let mut client = Self::connect(rig.server().address()).unwrap();
        assert!(client.begin_login());
        let user = format!("{operator}+{ACCOUNT}+{target}");
        for key in ["device", "key"] {
            if client.prove(&user, &rig.path(format!("{operator}-{key}"))) == SUCCESS {
                return client;
            }
        }
        let asked = client.ask_for_prompt(&user);
        if asked == INFO_REQUEST {
            assert_eq!(client.respond(&[&rig.phone(operator).fresh()]), SUCCESS);
        } else {
            assert_eq!(asked, SUCCESS);
        }
        client
    }

    /// Asks for the service in which one logs in; whether that is granted.
    pub fn begin_login(&mut self) -> bool {
        self.say(&Message::new(SERVICE_REQUEST).string("ssh-userauth"));
        self.hear().is_ok_and(|answer| answer[0] == SERVICE_ACCEPT)
    }

    /// Proves a key of Ed25519 with its signature; the number of the answer.
    pub fn prove(&mut self, user: &str, key: &Path) -> u8 {
        let pair = pair(key);
        let request = Message::new(USERAUTH_REQUEST).string(user).string("ssh-connection");
        let request =
            request.string("publickey").flag(true).string("ssh-ed25519").string(exchange::blob(&pair));
        let to_sign = [&length(&self.session)[..], &self.session, request.bytes()].concat();
        self.say(&request.string(exchange::signed(&pair, &to_sign)));
        self.answer()
    }

    /// Asks whether a key of Ed25519 would be taken; the number of the answer.
    pub fn offer(&mut self, user: &str, key: &Path) -> u8 {
        let request = Message::new(USERAUTH_REQUEST).string(user).string("ssh-connection");
        let request = request.string("publickey").flag(false).string("ssh-ed25519");
        self.say(&request.string(exchange::blob(&pair(key))));
        self.answer()
    }

    /// Asks to be asked; the number of the answer.
    pub fn ask_for_prompt(&mut self, user: &str) -> u8 {
        let request = Message::new(USERAUTH_REQUEST).string(user).string("ssh-connection");
        self.say(&request.string("keyboard-interactive").string("").string(""));
        self.answer()
    }

    /// Answers a prompt; the number of the answer.
    pub fn respond(&mut self, answers: &[&str]) -> u8 {
        let count = u32::try_from(answers.len()).unwrap();
        let message = Message::new(INFO_RESPONSE).number(count);
        self.say(&answers.iter().fold(message, |message, answer| message.string(answer)));
        self.answer()
    }

    /// Says this; one that is cut meanwhile finds out when it listens.
    pub fn say(&mut self, message: &Message) {
        let _ = self.wire.send(message.bytes());
    }

    /// Hears the next message.
    ///
    /// # Errors
    /// When the other side has gone, or is silent for a minute.
    pub fn hear(&mut self) -> io::Result<Vec<u8>> {
        self.wire.receive()
    }

    /// Hears everything until a message of one of these numbers, with it, or until the other side has gone.
    ///
    /// # Panics
    /// When it is silent for a minute.
    pub fn hear_until(&mut self, kinds: &[u8]) -> Vec<Vec<u8>> {
        let mut heard: Vec<Vec<u8>> = Vec::new();
        loop {
            match self.hear() {
                Ok(message) => {
                    let last = kinds.contains(&message[0]) || message[0] == DISCONNECT;
                    heard.push(message);
                    if last {
                        return heard;
                    }
                }
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => panic!("silent after {heard:?}"),
                Err(_) => return heard,
            }
        }
    }

    /// Hears everything until the other side has gone.
    ///
    /// # Panics
    /// When it is silent for a minute.
    pub fn hear_to_the_end(&mut self) -> Vec<Vec<u8>> {
        self.hear_until(&[])
    }

    /// The packets beneath.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// What the other side offered in the key exchange: names with commas between, list after list.
    pub fn offered(&self) -> String {
        String::from_utf8_lossy(&self.offer).into_owned()
    }

    fn answer(&mut self) -> u8 {
        loop {
            match self.hear() {
                Ok(answer) if answer[0] == BANNER => {}
                Ok(answer) => return answer[0],
                Err(_) => return DISCONNECT,
            }
        }
    }
}

fn pair(path: &Path) -> Ed25519KeyPair {
    let key = PrivateKey::read_openssh_file(path).unwrap();
    let pair = key.key_data().ed25519().unwrap();
    let pair = Ed25519KeyPair::from_seed_unchecked(&pair.private.to_bytes()).unwrap();
    assert_eq!(pair.public_key().as_ref().len(), 32);
    pair
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_be_bytes()
}
