//! Where a forward may lead, where a target is, and the networks that operators come from. The first two bytes are a port.
//! Holds: what is read has one form and reads back the same; no address passes in a disguise that a resolver would take off; a
//! path names one thing.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use bartizan_fuzz::{Input, sow};
use libfuzzer_sys::fuzz_target;
use policy::{Address, Destination, Network};

/// What `inet_aton` takes for an IPv4 address: one to four parts, decimal, octal or hexadecimal.
fn inet_aton(host: &str) -> Option<Ipv4Addr> {
    let part = |part: &str| match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u64::from_str_radix(part, 8).ok(),
        None => part.parse().ok(),
    };
    let plain = host.bytes().all(|byte| byte.is_ascii_hexdigit() || b"xX.".contains(&byte));
    let parts: Vec<u64> = host.split('.').map(part).collect::<Option<_>>().filter(|_| plain)?;
    let (last, first) = parts.split_last()?;
    let room = 32 - 8 * u32::try_from(first.len()).ok().filter(|count| *count < 4)?;
    if first.iter().any(|part| *part > 255) || *last >= 1 << room {
        return None;
    }
    let high = first.iter().fold(0, |all, part| all << 8 | part);
    Some(Ipv4Addr::from_bits(u32::try_from(high << room | last).ok()?))
}

fn holds(destination: &Destination) {
    let printed = destination.to_string();
    assert_eq!(Destination::parse(&printed).as_ref(), Ok(destination));
    match destination {
        Destination::Tcp(address) => {
            let host = address.host();
            assert_ne!(address.port(), 0);
            assert!(host.bytes().all(|byte| byte.is_ascii_graphic()) && host.len() <= 253, "{host:?}");
            match host.parse::<IpAddr>() {
                Ok(ip) => assert!(ip.to_canonical() == ip, "{host:?}"),
                Err(_) => assert_eq!(inet_aton(host), None, "{host:?} is an address in disguise"),
            }
        }
        Destination::Unix(path) => {
            let path = path.as_str();
            assert!(path.starts_with('/') && path.len() < 108 && !path.contains(char::is_control));
            assert!(path[1..].split('/').all(|part| !["", ".", ".."].contains(&part)), "{path:?}");
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        "127.0.0.1:5432",
        "[2001:db8::1]:443",
        "unix:/run/x.sock",
        "/run/x.sock",
        "db.example",
        "::1",
        "0x7f.1",
        "10.0.0.0/8",
        "2001:db8::/32",
        "0177.0.0.1",
        "1.2.3.4",
    ];
    texts.iter().map(|text| [&[0x15, 0x38], text.as_bytes()].concat()).collect()
}

fuzz_target!(init: sow("destination", seeds()), |bytes: &[u8]| {
    let mut input = Input(bytes);
    let port = u32::from(input.short());
    let Ok(text) = str::from_utf8(input.0) else { return };
    if let Ok(destination) = Destination::parse(text) {
        holds(&destination);
    }
    if let Ok(destination) = Destination::tcp(text, port) {
        holds(&destination);
        let Destination::Tcp(address) = &destination else { panic!("a path was asked for as a host: {text:?}") };
        let same = |ip: IpAddr| address.host().parse() == Ok(ip);
        assert!(address.host() == text || text.parse().is_ok_and(same), "another host than was asked for");
        assert_eq!(u32::from(address.port()), port);
    }
    if let Ok(destination) = Destination::unix(text) {
        holds(&destination);
        assert_eq!(destination.to_string(), format!("unix:{text}"));
    }
    if let Ok(address) = Address::parse(text) {
        assert_eq!(Address::parse(&address.to_string()), Ok(address));
    }
    if let Ok(network) = Network::parse(text) {
        let printed = network.to_string();
        assert_eq!(Network::parse(&printed), Ok(network));
        let (base, _) = printed.split_once('/').unwrap_or((&printed, ""));
        assert!(network.contains(base.parse().expect("an address")));
    }
});
