//! Addresses as the bundle writes them: networks of sources, and where a target is.
//! Never resolves a name and never connects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// A range of addresses, `10.0.0.0/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    base: IpAddr,
    bits: u8,
}

/// Why a text is no network or address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetworkError {
    /// Not an address with an optional prefix length.
    #[error("{0:?} is no network; write one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1")]
    Malformed(String),
    /// Bits set to the right of the prefix.
    #[error("{0:?} has bits set beyond its prefix; write {1}")]
    HostBits(String, Network),
    /// An IPv4 address written as IPv6.
    #[error("{0:?} is IPv4 written as IPv6; write the IPv4 form")]
    Mapped(String),
    /// Not `host:port`.
    #[error("{0:?} is no address; write HOST:PORT, like 10.0.0.5:22, db.example:22 or [2001:db8::1]:22")]
    Address(String),
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

impl Network {
    /// Reads `address/prefix` or a bare address.
    ///
    /// # Errors
    /// When it is neither, when bits beyond the prefix are set, or when IPv4 is dressed as IPv6.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed(cut(text));
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(prefix_length(bits).ok_or_else(malformed)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        if address.to_canonical() != address {
            return Err(NetworkError::Mapped(cut(text)));
        }
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(widest);
        if bits > widest {
            return Err(malformed());
        }
        let network = Self { base: masked(address, bits), bits };
        if network.base == address { Ok(network) } else { Err(NetworkError::HostBits(cut(text), network)) }
    }

    /// Whether the address lies in it. IPv4 in IPv6 clothes is taken as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && masked(address, self.bits) == self.base
    }
}

/// One to three digits and nothing else: no sign, no blank.
fn prefix_length(text: &str) -> Option<u8> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.base.is_ipv4() { 32 } else { 128 };
        if self.bits == whole { write!(f, "{}", self.base) } else { write!(f, "{}/{}", self.base, self.bits) }
    }
}

/// Where a target or a forward's far end is: a host name or an IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    host: Box<str>,
    port: u16,
}

impl Address {
    /// Reads `HOST:PORT`; an IPv6 address stands in brackets.
    ///
    /// # Errors
    /// When host or port is missing or malformed, or the port is 0.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Address(cut(text));
        let (host, port) = text.rsplit_once(':').ok_or_else(malformed)?;
        let plain = !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        let port: u16 = if plain { port.parse().map_err(|_| malformed())? } else { 0 };
        let host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(v6) => v6.parse::<Ipv6Addr>().map_err(|_| malformed())?.to_string(),
            None if is_host(host) => host.to_owned(),
            None => return Err(malformed()),
        };
        if port == 0 { Err(malformed()) } else { Ok(Self { host: host.into(), port }) }
    }

    /// The host: a name or an address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// An IPv4 address in four decimal parts, or a host name after RFC 1123. A name whose last label is a number
/// (`0x7f000001`, `127.1`) is neither: resolvers disagree about what it means.
fn is_host(text: &str) -> bool {
    if text.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let numeric = |label: &str| {
        label.starts_with("0x") || label.starts_with("0X") || label.bytes().all(|byte| byte.is_ascii_digit())
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && !numeric(last) && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_network_holds_what_it_covers_and_nothing_else() {
        let ten = Network::parse("10.0.0.0/8").unwrap();
        assert!(ten.contains("10.255.0.1".parse().unwrap()));
        assert!(ten.contains("::ffff:10.1.2.3".parse().unwrap()), "IPv4 in IPv6 clothes");
        assert!(!ten.contains("11.0.0.1".parse().unwrap()));
        assert!(!ten.contains("::1".parse().unwrap()));
        let one = Network::parse("192.0.2.1").unwrap();
        assert!(one.contains("192.0.2.1".parse().unwrap()) && !one.contains("192.0.2.2".parse().unwrap()));
        let all = Network::parse("0.0.0.0/0").unwrap();
        assert!(
            all.contains("203.0.113.9".parse().unwrap()) && !all.contains("2001:db8::1".parse().unwrap())
        );
    }

    #[test]
    fn a_network_that_is_not_what_it_looks_like_is_refused() {
        for bad in [
            "",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "::ffff:10.0.0.1",
            "10/8",
            "010.0.0.0/8",
            "::/129",
            "a",
        ] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["10.0.0.5:22", "db.example:2222", "[2001:db8::1]:22", "localhost:22"] {
            assert_eq!(Address::parse(good).unwrap().to_string(), good);
        }
        for bad in [
            "",
            ":22",
            "h",
            "h:",
            "h:0",
            "h:65536",
            "h:+2",
            "::1:22",
            "[h]:22",
            "0x7f000001:22",
            "0X7F000001:22",
            "127.0X1:22",
            "127.1:22",
            "a b:22",
            "a..b:22",
            "-a:22",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics_and_what_is_read_is_read_back(text in any::<String>()) {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(&address.to_string()).unwrap(), address);
            }
            if let Ok(network) = Network::parse(&text) {
                prop_assert_eq!(Network::parse(&network.to_string()).unwrap(), network);
            }
        }
    }
}
