//! The values of `bartizan.toml`, each read with its bounds, so that an error stands at the line it belongs to.
//! It never accepts a number without its unit, and never rounds or wraps.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use policy::Network;
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

/// Reads `20ms`, `120s`, `15m`, `8h`, `7d`: a whole number and one unit. `0s` is nothing; no unit is an error.
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Reads `4096B`, `64KiB`, `256MiB`, `1GiB`: a whole number and one unit.
pub fn size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

fn spell(d: Duration) -> String {
    match (d.as_millis(), d.as_secs()) {
        (ms, _) if ms % 1000 != 0 => format!("{ms}ms"),
        (_, s) if s % 3600 == 0 => format!("{}h", s / 3600),
        (_, s) => format!("{s}s"),
    }
}

fn time_between<'de, D: Deserializer<'de>>(
    d: D,
    low: Duration,
    high: Duration,
) -> Result<Duration, D::Error> {
    let text = String::deserialize(d)?;
    let Some(value) = duration(&text) else {
        return Err(D::Error::custom(format!(
            "{text:?} is no duration; write a whole number and ms, s, m, h or d"
        )));
    };
    if value < low || value > high {
        let (low, high) = (spell(low), spell(high));
        return Err(D::Error::custom(format!("{text:?} is out of range; write {low} to {high}")));
    }
    Ok(value)
}

fn count_between<'de, D: Deserializer<'de>>(d: D, low: usize, high: usize) -> Result<usize, D::Error> {
    let value = i64::deserialize(d)?;
    usize::try_from(value)
        .ok()
        .filter(|v| (low..=high).contains(v))
        .ok_or_else(|| D::Error::custom(format!("{value} is out of range; write {low} to {high}")))
}

pub(super) fn login_grace<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    time_between(d, Duration::from_secs(1), Duration::from_secs(3600))
}

pub(super) fn idle_timeout<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    time_between(d, Duration::from_secs(1), Duration::from_secs(30 * 86_400))
}

pub(super) fn flush<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    time_between(d, Duration::from_millis(1), Duration::from_secs(1))
}

pub(super) fn checkpoint<'de, D: Deserializer<'de>>(d: D) -> Result<Duration, D::Error> {
    time_between(d, Duration::from_millis(10), Duration::from_secs(60))
}

pub(super) fn max_channels<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    count_between(d, 1, 1024)
}

pub(super) fn max_connections<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    count_between(d, 1, 1_000_000)
}

pub(super) fn max_unauthenticated<'de, D: Deserializer<'de>>(d: D) -> Result<usize, D::Error> {
    count_between(d, 1, 10_000)
}

pub(super) fn recording_max<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let text = String::deserialize(d)?;
    size(&text).ok_or_else(|| {
        D::Error::custom(format!("{text:?} is no size; write a whole number and B, KiB, MiB or GiB"))
    })
}

/// An address that says what is wrong with it, at the line it stands on.
struct Address(SocketAddr);

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_str(AddressVisitor)
    }
}

/// Refuses inside the value, so that the error keeps the value's own line in a list over several.
struct AddressVisitor;

impl Visitor<'_> for AddressVisitor {
    type Value = Address;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address such as \"127.0.0.1:2222\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Address, E> {
        let wrong = || E::custom(format!("{text:?} is no address; write one such as \"127.0.0.1:2222\""));
        text.parse().map(Address).map_err(|_| wrong())
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SocketAddr>, D::Error> {
    Address::deserialize(d).map(|address| Some(address.0))
}

pub(super) fn listen<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<SocketAddr>, D::Error> {
    let listen = Vec::<Address>::deserialize(d)?;
    if listen.is_empty() || listen.len() > 64 {
        return Err(D::Error::custom("listen needs 1 to 64 addresses, such as \"127.0.0.1:2222\""));
    }
    Ok(listen.into_iter().map(|address| address.0).collect())
}

pub(super) fn networks<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Network>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    if texts.len() > 256 {
        return Err(D::Error::custom("at most 256 networks can be listed; write wider ones"));
    }
    texts.iter().map(|text| Network::parse(text).map_err(D::Error::custom)).collect()
}

pub(super) fn host_names<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let names = Vec::<String>::deserialize(d)?;
    for name in &names {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '_');
        if name.is_empty() || name.len() > 253 || !name.chars().all(plain) {
            return Err(D::Error::custom(format!(
                "{name:?} is no host name; write a DNS name or an address"
            )));
        }
    }
    Ok(names)
}

pub(super) fn store_url<'de, D: Deserializer<'de>>(d: D) -> Result<String, D::Error> {
    let url = String::deserialize(d)?;
    let path = url.strip_prefix("sqlite:").unwrap_or("");
    if path.is_empty() || path.contains([':', '?', '#', '%', '\0']) {
        return Err(D::Error::custom(format!("{url:?} is no store; write \"sqlite:bartizan.db\"")));
    }
    Ok(url)
}

pub(super) fn banner<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(d)?;
    if text.len() > 4096 || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(D::Error::custom("the banner may hold 4096 bytes and no control characters"));
    }
    Ok((!text.is_empty()).then_some(text))
}
