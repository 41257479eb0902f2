//! Where a connection comes from, as far as caps and penalties care: an IPv4 address, or an IPv6 network of 64 bits.
//! Never a port, and never an IPv4 address in IPv6 clothes.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// One source. Whoever has an IPv6 network has all its addresses, so they count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::ssh) struct Source(IpAddr);

impl Source {
    /// The source an address belongs to.
    pub(in crate::ssh) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}
