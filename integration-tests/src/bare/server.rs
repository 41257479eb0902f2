//! A bare server that stands in for a target: takes connections, exchanges keys, and then does what a test wants with each.
//! It never listens beyond loopback.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use ring::rand::SystemRandom;
use ring::signature::Ed25519KeyPair;

use super::exchange;
use super::message::{Fields, Message};
use super::wire::Wire;

/// How long a guest may be silent: sessions in which nothing happens take as long as their test.
const PATIENCE: Duration = Duration::from_secs(120);
const SERVICE_REQUEST: u8 = 5;
const SERVICE_ACCEPT: u8 = 6;
const USERAUTH_REQUEST: u8 = 50;
const SUCCESS: u8 = 52;
const GLOBAL_REQUEST: u8 = 80;
const OPEN: u8 = 90;
const CONFIRMATION: u8 = 91;
const REQUEST: u8 = 98;
const CHANNEL_SUCCESS: u8 = 99;
/// Bytes of window that a channel is given.
const WINDOW: u32 = 1 << 20;
const PACKET: u32 = 32 << 10;

/// The server; it ends with the test's process.
pub struct BareServer {
    address: SocketAddr,
    host_key: String,
}

impl BareServer {
    /// Does this with every connection, once keys are exchanged.
    pub fn start(manner: impl Fn(&mut BareGuest) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Arc::new(Ed25519KeyPair::from_pkcs8(secret.as_ref()).unwrap());
        let host_key = format!("ssh-ed25519 {}", BASE64.encode(&exchange::blob(&key)));
        let manner = Arc::new(manner);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let (key, manner) = (key.clone(), manner.clone());
                std::thread::spawn(move || {
                    // The bastion may leave at any moment: that is what most tests are about.
                    let _ = BareGuest::receive(stream, &key).and_then(|mut guest| manner(&mut guest));
                });
            }
        });
        Self { address, host_key }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its host key, as `algorithm base64`.
    pub fn host_key(&self) -> &str {
        &self.host_key
    }
}

/// One connection of the bastion.
pub struct BareGuest {
    wire: Wire,
    offer: Vec<u8>,
}

impl BareGuest {
    fn receive(stream: TcpStream, key: &Ed25519KeyPair) -> io::Result<Self> {
        let mut wire = Wire::new(stream, PATIENCE)?;
        let agreed = exchange::as_server(&mut wire, key)?;
        Ok(Self { wire, offer: agreed.offer })
    }

    /// What the bastion offered in the key exchange.
    pub fn offered(&self) -> String {
        String::from_utf8_lossy(&self.offer).into_owned()
    }

    /// Says this.
    ///
    /// # Errors
    /// When the bastion has left.
    pub fn say(&mut self, message: &Message) -> io::Result<()> {
        self.wire.send(message.bytes())
    }

    /// Hears the next message.
    ///
    /// # Errors
    /// When the bastion has left.
    pub fn hear(&mut self) -> io::Result<Vec<u8>> {
        self.wire.receive()
    }

    /// Hears until a message of this number comes.
    ///
    /// # Errors
    /// When the bastion has left.
    pub fn hear_a(&mut self, kind: u8) -> io::Result<Vec<u8>> {
        loop {
            let message = self.hear()?;
            if message[0] == kind {
                return Ok(message);
            }
        }
    }

    /// Hears until the bastion leaves.
    pub fn hear_to_the_end(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.hear().ok()).collect()
    }

    /// Grants the service in which one logs in, and returns the first request.
    ///
    /// # Errors
    /// When the bastion has left.
    pub fn asked_to_let_in(&mut self) -> io::Result<Vec<u8>> {
        self.hear_a(SERVICE_REQUEST)?;
        self.say(&Message::new(SERVICE_ACCEPT).string("ssh-userauth"))?;
        self.hear_a(USERAUTH_REQUEST)
    }

    /// Lets the bastion in, whatever it shows.
    ///
    /// # Errors
    /// When the bastion has left.
    pub fn let_in(&mut self) -> io::Result<()> {
        self.asked_to_let_in()?;
        self.say(&Message::new(SUCCESS))
    }

    /// Lets the bastion in and grants it one channel and what it asks for there; the channel's number on its side.
    ///
    /// # Errors
    /// When the bastion has left.
    pub fn run(&mut self) -> io::Result<u32> {
        self.run_with_window(WINDOW)
    }

    /// The same, with this window for what the operator sends.
    ///
    /// # Errors
    /// When the bastion has left.
    pub fn run_with_window(&mut self, window: u32) -> io::Result<u32> {
        self.let_in()?;
        let opening = self.hear_a(OPEN)?;
        let mut opening = Fields::of(&opening);
        opening.string();
        let channel = opening.number();
        self.say(&Message::new(CONFIRMATION).number(channel).number(0).number(window).number(PACKET))?;
        loop {
            let request = self.hear_a(REQUEST)?;
            let mut request = Fields::of(&request);
            request.number();
            let (what, wants_reply) = (request.text(), request.flag());
            if wants_reply {
                self.say(&Message::new(CHANNEL_SUCCESS).number(channel))?;
            }
            if matches!(what.as_str(), "shell" | "exec" | "subsystem") {
                return Ok(channel);
            }
        }
    }

    /// The packets beneath.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// A request to all of the connection.
    pub fn global_request(&mut self, name: &str, wants_reply: bool) -> io::Result<()> {
        self.say(&Message::new(GLOBAL_REQUEST).string(name).flag(wants_reply))
    }
}
