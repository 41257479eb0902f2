//! The PROXY protocol, version 1 and 2, from the proxies of `[ssh] proxy_protocol_from`: where a connection really comes from.
//! Never reads a byte beyond the header, never more than [`LONGEST`] bytes of one, and never believes anybody else.

use std::net::{IpAddr, SocketAddr};

use ppp::{HeaderResult, PartialResult as _, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The longest header that is read: addresses, and what proxies add to them.
const LONGEST: usize = 2048;
/// What version 1 begins with, and its longest line.
const TEXT: &[u8] = b"PROXY ";
const LONGEST_TEXT: usize = 107;

/// No header, or none that can be read.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The connection ended before the header did.
    #[error("the connection ended: {0}")]
    Ended(#[from] std::io::Error),
    /// Not the PROXY protocol, or an address family that no operator comes from.
    #[error("no PROXY header")]
    NotOne,
}

/// The source that the header names; `None` when it names none, as in a proxy's own health check.
///
/// Read byte by byte, so that what follows is left for SSH; the caller's reader is buffered.
pub async fn source<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<SocketAddr>, ProxyError> {
    let mut header = Vec::with_capacity(128);
    while header.len() < LONGEST {
        header.push(stream.read_u8().await?);
        let whole = if header.starts_with(TEXT) || TEXT.starts_with(&header) {
            let ended = header.ends_with(b"\n");
            if header.len() > LONGEST_TEXT || ended && !is_line(&header) {
                return Err(ProxyError::NotOne);
            }
            ended
        } else {
            v2::Header::try_from(&header[..]).is_complete()
        };
        if whole {
            return named(&HeaderResult::parse(&header));
        }
    }
    Err(ProxyError::NotOne)
}

/// A line of version 1: its one CRLF at the end, and all before it printable. The library also takes CR in the place of blanks.
fn is_line(header: &[u8]) -> bool {
    let printable = |byte: &u8| *byte == b' ' || byte.is_ascii_graphic();
    header.strip_suffix(b"\r\n").is_some_and(|line| line.iter().all(printable))
}

fn named(header: &HeaderResult<'_>) -> Result<Option<SocketAddr>, ProxyError> {
    let (address, port): (IpAddr, u16) = match header {
        HeaderResult::V1(Ok(header)) => match &header.addresses {
            v1::Addresses::Tcp4(ip) => (ip.source_address.into(), ip.source_port),
            v1::Addresses::Tcp6(ip) => (ip.source_address.into(), ip.source_port),
            v1::Addresses::Unknown => return Ok(None),
        },
        HeaderResult::V2(Ok(header)) => match (header.command, header.addresses) {
            (v2::Command::Local, _) | (_, v2::Addresses::Unspecified) => return Ok(None),
            (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => (ip.source_address.into(), ip.source_port),
            (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => (ip.source_address.into(), ip.source_port),
            (v2::Command::Proxy, v2::Addresses::Unix(_)) => return Err(ProxyError::NotOne),
        },
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => return Err(ProxyError::NotOne),
    };
    Ok(Some(SocketAddr::new(address.to_canonical(), port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read(bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, Vec<u8>) {
        let mut rest = bytes;
        let read = source(&mut rest).await;
        (read, rest.to_vec())
    }

    /// Version 2, TCP over IPv4, with as many bytes after the addresses.
    fn binary(command: u8, more: usize) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
        header.extend([0x20 | command, 0x11]);
        header.extend(u16::try_from(12 + more).unwrap().to_be_bytes());
        header.extend([203, 0, 113, 9, 10, 0, 0, 1, 0x1f, 0x90, 0, 22]);
        header.resize(header.len() + more, 0);
        header
    }

    #[tokio::test]
    async fn both_versions_name_the_source_and_leave_what_follows() {
        let source: SocketAddr = "203.0.113.9:8080".parse().unwrap();
        for header in [
            b"PROXY TCP4 203.0.113.9 10.0.0.1 8080 22\r\n".to_vec(),
            b"PROXY TCP6 ::ffff:203.0.113.9 ::1 8080 22\r\n".to_vec(),
            binary(1, 0),
            binary(1, 200),
        ] {
            let (read, rest) = read(&[header.clone(), b"SSH-2.0-x\r\n".to_vec()].concat()).await;
            assert_eq!(read.unwrap(), Some(source), "{header:?}");
            assert_eq!(rest, b"SSH-2.0-x\r\n");
        }
        for header in [b"PROXY UNKNOWN\r\n".to_vec(), binary(0, 0)] {
            assert_eq!(read(&header).await.0.unwrap(), None, "a proxy's own");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_at_its_first_byte_or_at_the_bound() {
        let (refused, rest) = read(b"SSH-2.0-x\r\n").await;
        assert!(matches!(refused, Err(ProxyError::NotOne)) && rest.len() == 10);
        for bad in [
            format!("PROXY TCP4 {}", "1".repeat(300)).into_bytes(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n".to_vec(),
            b"PROXY TCP4\r1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
            b"PROXY UNKNOWN \n and more bytes\r\n".to_vec(),
            binary(1, 60_000),
        ] {
            let (refused, _) = read(&bad).await;
            assert!(matches!(refused, Err(ProxyError::NotOne)), "{:?}", &bad[..20]);
        }
        assert!(matches!(read(b"PROXY TCP4 1.2").await.0, Err(ProxyError::Ended(_))));
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0..4_usize) {
            let starts: [&[u8]; 4] = [b"", b"PROXY ", b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQUIT\n"];
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(&[starts[start], &bytes].concat()));
        }
    }
}
