//! Resolves a registered address once, checks it and connects to exactly that.
//! Never takes an address from an operator: only what the bundle registers reaches this file.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::ConnectError;

/// The longest time to resolve a name, and to connect to one address.
const PATIENCE: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried; a resolver that returns more is not followed further.
const ADDRESSES: usize = 8;

/// Connects to `address` (`host:port`) and says which address it was pinned to.
pub(super) async fn dial(address: &str) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let candidates = resolve(address).await?;
    let mut last = None;
    for candidate in candidates {
        match timeout(PATIENCE, TcpStream::connect(candidate)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true).map_err(|why| unreachable(candidate, &why))?;
                return Ok((stream, candidate));
            }
            Ok(Err(why)) => last = Some(unreachable(candidate, &why)),
            Err(_) => last = Some(ConnectError::Timeout { step: "connecting" }),
        }
    }
    Err(last
        .unwrap_or_else(|| ConnectError::Address { why: format!("{address} resolves to no usable address") }))
}

/// Resolves once; everything after this speaks of the addresses found here.
async fn resolve(address: &str) -> Result<Vec<SocketAddr>, ConnectError> {
    let found = timeout(PATIENCE, lookup_host(address))
        .await
        .map_err(|_| ConnectError::Timeout { step: "resolving the name" })?
        .map_err(|why| ConnectError::Address { why: format!("{address}: {why}") })?;
    let usable: Vec<SocketAddr> = found.filter(|found| usable(found.ip())).take(ADDRESSES).collect();
    if usable.is_empty() {
        return Err(ConnectError::Address { why: format!("{address} resolves to no usable address") });
    }
    Ok(usable)
}

/// Addresses that never are a server: unspecified, broadcast, multicast, and the link-local range where clouds keep
/// their metadata service.
fn usable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() || ip.is_link_local())
        }
        IpAddr::V6(ip) => !(ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local()),
    }
}

fn unreachable(address: SocketAddr, why: &io::Error) -> ConnectError {
    ConnectError::Unreachable { address, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_other_addresses_that_are_no_server_are_never_dialled() {
        for bad in ["169.254.169.254", "0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "fe80::1"]
        {
            assert!(!usable(bad.parse().unwrap()), "{bad}");
        }
        assert!(!usable("::ffff:169.254.169.254".parse().unwrap()));
        assert!(usable("10.0.0.5".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_named() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let why = dial(&free.to_string()).await.unwrap_err();
        assert!(why.to_string().contains(&free.to_string()), "{why}");
    }
}
