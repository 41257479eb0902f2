//! Resolves a registered address once, checks what it resolves to and connects to exactly that: to one after the other, until
//! one answers.
//! Never takes an address from an operator: only what the bundle registers reaches this file.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ConnectError;

/// The longest time to resolve a name, and to connect to one address.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an address is tried alone, before the next one is tried beside it (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried; a resolver that returns more is not followed further.
const ADDRESSES: usize = 8;
/// Where a cloud keeps its metadata service for IPv6, outside the link-local range.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Connects to `address` (`host:port`) and says which address it was pinned to.
pub(super) async fn dial(address: &str) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let (stream, candidate) = race(address, resolve(address).await?).await?;
    stream.set_nodelay(true).map_err(|why| unreachable(candidate.to_string(), why.to_string()))?;
    Ok((stream, candidate))
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

/// Tries them in the resolver's order, each with a head start before the next. The first that answers is taken, and the
/// others are let go.
async fn race(address: &str, candidates: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut waiting = candidates.into_iter();
    let mut trying = JoinSet::new();
    let mut failed = Vec::new();
    loop {
        if let Some(next) = waiting.next() {
            trying.spawn(async move { (next, timeout(PATIENCE, TcpStream::connect(next)).await) });
        }
        tokio::select! {
            done = trying.join_next() => match done {
                Some(Ok((candidate, Ok(Ok(stream))))) => return Ok((stream, candidate)),
                Some(Ok((candidate, Ok(Err(why))))) => failed.push((candidate, Some(why))),
                Some(Ok((candidate, Err(_)))) => failed.push((candidate, None)),
                Some(Err(why)) => return Err(unreachable(address.to_owned(), why.to_string())),
                None => return Err(hopeless(address, &failed)),
            },
            () = sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

/// What is said when none of them answered: `None` stands for one that took too long.
fn hopeless(address: &str, failed: &[(SocketAddr, Option<io::Error>)]) -> ConnectError {
    let told = |why: &Option<io::Error>| match why {
        Some(why) => why.to_string(),
        None => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    match failed {
        [(one, Some(why))] => unreachable(one.to_string(), why.to_string()),
        all if all.iter().all(|(_, why)| why.is_none()) => ConnectError::Timeout { step: "connecting" },
        several => {
            let each = several.iter().map(|(one, why)| format!("{one}: {}", told(why)));
            unreachable(address.to_owned(), each.collect::<Vec<_>>().join("; "))
        }
    }
}

/// Addresses that never are a server: unspecified, broadcast, multicast, and where clouds keep their metadata service.
pub(super) fn usable(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            !(ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() || ip.is_link_local())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() || ip == METADATA)
        }
    }
}

fn unreachable(address: String, why: String) -> ConnectError {
    ConnectError::Unreachable { address, why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_and_other_addresses_that_are_no_server_are_never_dialled() {
        for bad in [
            "169.254.169.254",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "ff02::1",
            "fe80::1",
            "fd00:ec2::254",
        ] {
            assert!(!usable(bad.parse().unwrap()), "{bad}");
        }
        assert!(!usable("::ffff:169.254.169.254".parse().unwrap()));
        assert!(usable("10.0.0.5".parse().unwrap()));
    }

    fn free() -> SocketAddr {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_named() {
        let free = free();
        let why = dial(&free.to_string()).await.unwrap_err();
        assert!(why.to_string().contains(&free.to_string()), "{why}");
    }

    #[tokio::test]
    async fn one_that_refuses_and_one_that_is_silent_do_not_keep_from_the_next() {
        let there = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // A listener whose queue is full takes nobody and refuses nobody.
        let silent = tokio::net::TcpSocket::new_v4().unwrap();
        silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let silent = silent.listen(0).unwrap();
        let _full = TcpStream::connect(silent.local_addr().unwrap()).await.unwrap();
        let all = vec![free(), silent.local_addr().unwrap(), there.local_addr().unwrap()];
        let (_, pinned) = timeout(PATIENCE, race("db:22", all)).await.unwrap().unwrap();
        assert_eq!(pinned, there.local_addr().unwrap());
    }

    #[tokio::test]
    async fn when_none_answers_each_is_named() {
        let (one, other) = (free(), free());
        let why = race("db:22", vec![one, other]).await.unwrap_err();
        let told = why.to_string();
        assert!(told.starts_with("db:22") && told.contains(&one.to_string()), "{told}");
        assert!(told.contains(&other.to_string()), "{told}");
        let late = hopeless("db:22", &[(one, None), (other, None)]);
        assert_eq!(late.code(), "TARGET-003");
        let both = hopeless("db:22", &[(one, None), (other, Some(io::Error::other("refused")))]);
        assert_eq!(both.code(), "TARGET-002");
        assert!(both.to_string().contains("no answer within 10 s"), "{both}");
    }
}
