//! The enrolment token: what a new device must know to find and trust its bastion, and the secret that it may be enrolled.
//! It never shows the secret: no `Debug`, wiped when dropped, one text form for whoever carries it to the device.

use std::collections::BTreeSet;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use ssh_key::PublicKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::report::Table;

/// The longest token, in characters.
pub const LONGEST: usize = 4096;
/// What every token of this form begins with.
const PREFIX: &str = "bartizan1.";
/// The most host keys or authorities, names, and programs.
const MOST: usize = 16;

/// An enrolment token. Its text form is `bartizan1.` and unpadded base64url of its JSON: letters, digits, `.`, `-`, `_`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Which token it is, 1 to 32 lower-case letters and digits; the login name is `enroll+<id>`. Not secret.
    pub id: String,
    /// The proof that it may enrol, 16 to 64 letters and digits.
    pub secret: String,
    /// The device's name in the inventory.
    pub device: String,
    /// The operator whose device it is to be.
    pub owner: String,
    /// `laptop` or `host`.
    pub kind: String,
    /// Whether it is to be its owner's own rather than the firm's.
    pub personal: bool,
    /// The bastion's address as `ssh` takes it for `HostName`.
    pub host: String,
    /// The bastion's port.
    pub port: u16,
    /// The bastion's plain host keys, in OpenSSH's one-line form, without comments.
    pub host_keys: Vec<String>,
    /// The authorities of its host certificates, in the same form.
    #[serde(default)]
    pub host_ca: Vec<String>,
    /// The names by which a host certificate of its may be accepted; `host` is always one.
    #[serde(default)]
    pub names: Vec<String>,
    /// The tables of facts that the bastion's policy names.
    #[zeroize(skip)]
    pub facts: BTreeSet<Table>,
    /// The programs whose running the policy asks after.
    #[serde(default)]
    pub processes: Vec<String>,
}

/// Why a token was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token's text.
    #[error("enrolment token refused: it is not a token; paste all of what `device register` printed")]
    Form,
    /// A part is not as it must be.
    #[error("enrolment token refused: its {part} is not one; have a new one made with `device register`")]
    Part {
        /// Which.
        part: &'static str,
    },
}

impl Token {
    /// Reads a token's text.
    ///
    /// # Errors
    /// When it is no token or a part of it is not as it must be.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let body = text.strip_prefix(PREFIX).filter(|_| text.len() <= LONGEST).ok_or(TokenError::Form)?;
        let json = BASE64URL_NOPAD.decode(body.as_bytes()).map_err(|_| TokenError::Form)?;
        let json = Zeroizing::new(json);
        let token: Self = serde_json::from_slice(&json).map_err(|_| TokenError::Form)?;
        token.check()?;
        Ok(token)
    }

    /// The token's text.
    ///
    /// # Errors
    /// When a part is not as it must be, or the whole is longer than [`LONGEST`].
    pub fn to_text(&self) -> Result<Zeroizing<String>, TokenError> {
        self.check()?;
        let json = Zeroizing::new(serde_json::to_vec(self).map_err(|_| TokenError::Form)?);
        let text = Zeroizing::new(format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&json)));
        if text.len() > LONGEST { Err(TokenError::Part { part: "length" }) } else { Ok(text) }
    }

    fn check(&self) -> Result<(), TokenError> {
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let need = |holds: bool, part| if holds { Ok(()) } else { Err(TokenError::Part { part }) };
        need((1..=32).contains(&self.id.len()) && self.id.bytes().all(lower), "id")?;
        let secret = (16..=64).contains(&self.secret.len());
        need(secret && self.secret.bytes().all(|byte| byte.is_ascii_alphanumeric()), "secret")?;
        need(is_name(&self.device), "device name")?;
        need(is_name(&self.owner), "owner")?;
        need(self.kind.parse::<crate::Kind>().is_ok(), "kind")?;
        need(is_host(&self.host), "host")?;
        need(self.port != 0, "port")?;
        need(self.names.len() <= MOST && self.names.iter().all(|name| is_host(name)), "list of names")?;
        let keys = |keys: &[String]| keys.len() <= MOST && keys.iter().all(|key| is_key(key));
        need(keys(&self.host_keys) && keys(&self.host_ca), "list of host keys")?;
        need(!(self.host_keys.is_empty() && self.host_ca.is_empty()), "list of host keys")?;
        let programs = self.processes.len() <= MOST && self.processes.iter().all(|name| is_program(name));
        need(programs, "list of programs")
    }
}

/// Whether it is a name by the grammar of the inventory: `[a-z0-9][a-z0-9._-]{0,63}`.
pub fn is_name(name: &str) -> bool {
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let first = name.bytes().next().is_some_and(lower);
    first && name.len() <= 64 && name.bytes().all(|byte| lower(byte) || b"._-".contains(&byte))
}

/// Whether a program can have this name: at most 64 printable characters, no blank.
pub(crate) fn is_program(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether it is a host name or an address, with nothing that `ssh_config` would read as more: no blank, quote, `%` or pattern.
pub fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    (1..=253).contains(&host.len()) && !host.starts_with('-') && host.bytes().all(plain)
}

/// One plain public key in its one form.
fn is_key(line: &str) -> bool {
    let same = |key: PublicKey| key.to_openssh().is_ok_and(|again| again == line);
    line.len() <= 1024 && PublicKey::from_openssh(line).is_ok_and(same)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm";

    fn token() -> Token {
        Token {
            id: "a1".to_owned(),
            secret: "0123456789abcdef".to_owned(),
            device: "lt-0421".to_owned(),
            owner: "alice".to_owned(),
            kind: "laptop".to_owned(),
            personal: false,
            host: "bastion.example".to_owned(),
            port: 2222,
            host_keys: vec![KEY.to_owned()],
            host_ca: Vec::new(),
            names: Vec::new(),
            facts: BTreeSet::from([Table::DiskEncryption]),
            processes: vec!["falcon-sensor".to_owned()],
        }
    }

    #[test]
    fn a_token_is_read_as_it_is_written() {
        let text = token().to_text().unwrap();
        assert!(text.starts_with("bartizan1."));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
        assert!(Token::parse(&text).is_ok_and(|read| read == token()));
    }

    #[test]
    fn a_token_whose_parts_reach_beyond_themselves_is_refused() {
        type Change = fn(&mut Token);
        let wrong: [(&str, Change); 9] = [
            ("id", |t| t.id = "A".to_owned()),
            ("secret", |t| t.secret = "short".to_owned()),
            ("device name", |t| t.device = "a\nHost *".to_owned()),
            ("owner", |t| t.owner.clear()),
            ("host", |t| t.host = "-oProxyCommand=x".to_owned()),
            ("host", |t| t.host = "a %h".to_owned()),
            ("port", |t| t.port = 0),
            ("list of host keys", |t| t.host_keys.clear()),
            ("list of host keys", |t| t.host_keys = vec![format!("{KEY}\n* {KEY}")]),
        ];
        for (part, change) in wrong {
            let mut token = token();
            change(&mut token);
            assert_eq!(token.to_text().map(|_| ()), Err(TokenError::Part { part }));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fall_over(text in any::<String>(), json in any::<Vec<u8>>()) {
            prop_assert!(Token::parse(&text).is_err());
            let coded = format!("{PREFIX}{}", BASE64URL_NOPAD.encode(&json));
            prop_assert!(Token::parse(&coded).is_err());
        }
    }
}
