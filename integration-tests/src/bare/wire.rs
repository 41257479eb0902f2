//! Packets on a socket (RFC 4253 section 6): in the clear until there are keys, then `aes256-gcm@openssh.com`.
//! It never agrees on new keys: whoever asks for them is left waiting.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// The longest packet that is taken.
const LONGEST: usize = 1 << 20;
const TAG: usize = 16;

/// One direction's key, and how far it is used.
pub(super) struct Cipher {
    key: LessSafeKey,
    nonce: [u8; 12],
}

impl Cipher {
    pub(super) fn new(key: &[u8], nonce: &[u8]) -> Self {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
        Self { key, nonce: nonce[..12].try_into().unwrap() }
    }

    /// RFC 5647 section 7.1: four bytes that stay and eight that count.
    fn next(&mut self) -> Nonce {
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        let count = u64::from_be_bytes(self.nonce[4..].try_into().unwrap());
        self.nonce[4..].copy_from_slice(&count.wrapping_add(1).to_be_bytes());
        nonce
    }
}

/// One end of a connection.
pub struct Wire {
    stream: TcpStream,
    sending: Option<Cipher>,
    receiving: Option<Cipher>,
}

impl Wire {
    /// Reads wait so long and then fail.
    pub(super) fn new(stream: TcpStream, patience: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Self { stream, sending: None, receiving: None })
    }

    /// Sends one packet.
    ///
    /// # Errors
    /// When the other side has gone, or takes nothing for long.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let packet = self.packet(message);
        self.stream.write_all(&packet)
    }

    /// Sends many packets at once.
    ///
    /// # Errors
    /// As [`Wire::send`].
    pub fn send_all<'a>(&mut self, messages: impl IntoIterator<Item = &'a [u8]>) -> io::Result<()> {
        let packets: Vec<u8> = messages.into_iter().flat_map(|message| self.packet(message)).collect();
        self.stream.write_all(&packets)
    }

    /// Takes the next packet.
    ///
    /// # Errors
    /// When the other side has gone (`UnexpectedEof`, `ConnectionReset`), or says nothing for long (`WouldBlock`).
    pub fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.stream.read_exact(&mut head)?;
        let length = usize::try_from(u32::from_be_bytes(head)).unwrap();
        assert!(length <= LONGEST, "a packet of {length} bytes");
        let tag = if self.receiving.is_some() { TAG } else { 0 };
        let mut packet = vec![0; length + tag];
        self.stream.read_exact(&mut packet)?;
        if let Some(cipher) = &mut self.receiving {
            let nonce = cipher.next();
            cipher
                .key
                .open_in_place(nonce, Aad::from(head), &mut packet)
                .map_err(|_| io::Error::other("a packet that was altered"))?;
        }
        Ok(packet[1..length - usize::from(packet[0])].to_vec())
    }

    /// Takes nothing more from the socket, and says nothing more.
    pub fn close(&self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(super) fn seal(&mut self, sending: Cipher) {
        self.sending = Some(sending);
    }

    pub(super) fn unseal(&mut self, receiving: Cipher) {
        self.receiving = Some(receiving);
    }

    fn packet(&mut self, message: &[u8]) -> Vec<u8> {
        let (block, counted) = if self.sending.is_some() { (16, 1) } else { (8, 5) };
        let short = block - (message.len() + counted) % block;
        let padding = if short < 4 { short + block } else { short };
        let length = u32::try_from(1 + message.len() + padding).unwrap().to_be_bytes();
        let mut packet = Vec::with_capacity(message.len() + 64);
        packet.push(u8::try_from(padding).unwrap());
        packet.extend_from_slice(message);
        packet.resize(packet.len() + padding, 0);
        if let Some(cipher) = &mut self.sending {
            let nonce = cipher.next();
            let tag = cipher.key.seal_in_place_separate_tag(nonce, Aad::from(length), &mut packet).unwrap();
            packet.extend_from_slice(tag.as_ref());
        }
        [&length, &packet[..]].concat()
    }
}
