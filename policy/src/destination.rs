//! Where a forward may lead and where it is asked to lead: a host and a port, or a socket's path, as seen from the target.
//! Never resolves anything: names are compared as they are written, addresses as what they are.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::network::Address;

/// The longest path of a Unix socket that Linux takes, in bytes, without its final zero.
const LONGEST_PATH: usize = 107;
/// What a socket's path is written after.
const UNIX: &str = "unix:";

/// The far end of a forward.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// A host and a port. `localhost` and `127.0.0.1` are two.
    Tcp(Address),
    /// A socket in the file system of the target.
    Unix(SocketPath),
}

/// An absolute path without detours: what it names does not depend on how it is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketPath(Box<str>);

/// Why a text is no far end.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DestinationError {
    /// Not `HOST:PORT`.
    #[error(
        "{0:?} is no place to forward to; write HOST:PORT, like 127.0.0.1:5432 or [2001:db8::1]:443, or unix:/PATH"
    )]
    Address(String),
    /// An IPv4 address written as IPv6.
    #[error("{0:?} is IPv4 written as IPv6; write the IPv4 form")]
    Mapped(String),
    /// Not a path that names one thing.
    #[error(
        "{0:?} is no path of a socket; write unix: and an absolute path without \"..\", \"//\" or control characters"
    )]
    Path(String),
}

fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

impl Destination {
    /// Reads it as a grant writes it: `HOST:PORT`, an IPv6 address in brackets, or `unix:/PATH`.
    ///
    /// # Errors
    /// When it is neither, or IPv4 dressed as IPv6.
    pub fn parse(text: &str) -> Result<Self, DestinationError> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return Self::unix(path);
        }
        let address = Address::parse(text).map_err(|_| DestinationError::Address(cut(text)))?;
        let mapped = address.host().parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() != ip);
        if mapped { Err(DestinationError::Mapped(cut(text))) } else { Ok(Self::Tcp(address)) }
    }

    /// The far end that a client asks for by host and port. Only addresses in their usual form and host names are taken:
    /// `127.1`, `0x7f000001` and `::ffff:127.0.0.1` are none.
    ///
    /// # Errors
    /// When it is none.
    pub fn tcp(host: &str, port: u32) -> Result<Self, DestinationError> {
        let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        // A host that brings its own port or scheme is none.
        match Self::parse(&text)? {
            Self::Tcp(address) if u32::from(address.port()) == port => Ok(Self::Tcp(address)),
            _ => Err(DestinationError::Address(cut(&text))),
        }
    }

    /// The far end that a client asks for by path.
    ///
    /// # Errors
    /// When the path is not absolute, has detours or could be read in two ways.
    pub fn unix(path: &str) -> Result<Self, DestinationError> {
        let plain = path.len() <= LONGEST_PATH && !path.chars().any(char::is_control);
        let absolute = path
            .strip_prefix('/')
            .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")));
        if plain && absolute {
            Ok(Self::Unix(SocketPath(path.into())))
        } else {
            Err(DestinationError::Path(cut(path)))
        }
    }
}

impl SocketPath {
    /// The path, beginning with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn loopback_has_one_form_and_its_disguises_are_none() {
        let one = Destination::parse("127.0.0.1:5432").unwrap();
        assert_eq!(Destination::tcp("127.0.0.1", 5432).unwrap(), one);
        assert_ne!(Destination::tcp("localhost", 5432).unwrap(), one, "a name is what it is called");
        for host in [
            "127.1",
            "0x7f000001",
            "0X7f000001",
            "0x7f.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "127.0.0.01",
            "::ffff:127.0.0.1",
            "::ffff:7f00:1",
            "[::ffff:127.0.0.1]",
            "127.0.0.1:5432",
            "127.0.0.1.",
            "127.0.0.1 ",
            "127.0.0.1\0",
            "",
            "unix:/run/x",
            "*",
        ] {
            assert!(Destination::tcp(host, 5432).is_err(), "{host:?}");
        }
        for port in [0, 65_536, 65_536 + 5432, u32::MAX] {
            assert!(Destination::tcp("127.0.0.1", port).is_err(), "{port}");
        }
    }

    #[test]
    fn addresses_are_compared_as_what_they_are() {
        let listed = Destination::parse("[2001:db8::1]:443").unwrap();
        assert_eq!(Destination::tcp("2001:0DB8:0:0::1", 443).unwrap(), listed);
        assert!(Destination::parse("[::ffff:10.0.0.1]:443").is_err(), "it would never fit");
    }

    #[test]
    fn a_socket_is_an_absolute_path_without_detours() {
        let one = Destination::parse("unix:/run/postgres/.s.PGSQL.5432").unwrap();
        assert_eq!(Destination::unix("/run/postgres/.s.PGSQL.5432").unwrap(), one);
        assert_eq!(one.to_string(), "unix:/run/postgres/.s.PGSQL.5432");
        let long = format!("/{}", "a".repeat(LONGEST_PATH));
        for bad in
            ["", "run/x", "/run/../x", "/run//x", "/run/./x", "/run/x/", "/", "/run/x\n", "\0abstract", &long]
        {
            assert!(Destination::unix(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics_and_what_is_read_is_read_back(text in any::<String>(), port in any::<u32>()) {
            let read = [Destination::parse(&text), Destination::tcp(&text, port), Destination::unix(&text)];
            for destination in read.into_iter().flatten() {
                prop_assert_eq!(Destination::parse(&destination.to_string()).unwrap(), destination);
            }
        }
    }
}
