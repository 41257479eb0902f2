//! The PROXY header of a proxy that is believed.
//! Holds: never more than its bound is read, and never a byte beyond the header; what follows changes nothing; the source is the
//! one that stands in the header, read once more by hand.
#![no_main]

use std::net::{IpAddr, SocketAddr};

use bartizan::ssh::proxy::source;
use bartizan_fuzz::{at_once, sow, within};
use libfuzzer_sys::fuzz_target;

const LONGEST: usize = 2048;

/// The source and the header's length.
fn read(bytes: &[u8]) -> Option<(Option<SocketAddr>, usize)> {
    let mut rest = bytes;
    let named = within(64 << 10, || at_once(source(&mut rest)));
    let length = bytes.len() - rest.len();
    assert!(length <= LONGEST);
    named.ok().map(|named| (named, length))
}

/// What the header names; `None` where it may name nobody.
fn written(header: &[u8]) -> Option<SocketAddr> {
    if let Some(text) = header.strip_prefix(b"PROXY ") {
        let text = str::from_utf8(text).expect("text").strip_suffix("\r\n").expect("an end");
        let fields: Vec<&str> = text.split(' ').collect();
        let [family, from, _, port, _] = fields[..] else {
            assert!(text.starts_with("UNKNOWN"), "{text:?}");
            return None;
        };
        assert!(["TCP4", "TCP6"].contains(&family) || family == "UNKNOWN");
        let from: IpAddr = from.parse().ok()?;
        return Some(SocketAddr::new(from.to_canonical(), port.parse().ok()?))
            .filter(|_| family != "UNKNOWN");
    }
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(header.len(), 16 + usize::from(u16::from_be_bytes([header[14], header[15]])));
    let from: IpAddr = match (header[12], header[13] >> 4) {
        (0x21, 1) => <[u8; 4]>::try_from(&header[16..20]).expect("4 bytes").into(),
        (0x21, 2) => <[u8; 16]>::try_from(&header[16..32]).expect("16 bytes").into(),
        (0x20, _) | (_, 0) => return None,
        other => panic!("{other:x?} names nobody who can come"),
    };
    let ports = if from.is_ipv4() { 24 } else { 48 };
    Some(SocketAddr::new(from.to_canonical(), u16::from_be_bytes([header[ports], header[ports + 1]])))
}

fn seeds() -> Vec<Vec<u8>> {
    let binary = |command, family, length: u16| {
        let front = [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family]].concat();
        [&front[..], &length.to_be_bytes(), &vec![3; length.into()]].concat()
    };
    let lines = ["TCP4 203.0.113.9 10.0.0.1 8080 22", "TCP6 ::ffff:1.2.3.4 ::1 8080 22", "UNKNOWN"];
    let lines = lines.map(|line| format!("PROXY {line}\r\nSSH-2.0-x\r\n").into_bytes());
    [
        lines.to_vec(),
        vec![binary(0x21, 0x11, 12), binary(0x21, 0x21, 50), binary(0x20, 0, 0), binary(0x21, 0x31, 216)],
    ]
    .concat()
}

fuzz_target!(init: sow("proxy_header", seeds()), |bytes: &[u8]| {
    let Some((named, length)) = read(bytes) else { return };
    let header = &bytes[..length];
    assert_eq!(named, written(header), "{header:?}");
    assert_eq!(read(&[header, b"SSH-2.0-x\r\n"].concat()), Some((named, length)));
    assert_eq!(read(&header[..length - 1]), None);
});
