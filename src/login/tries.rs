//! Whether something that can be guessed may be tried now: asked and counted before it is looked at.
//! It never sees what is tried, and counts per authenticator and per source, whatever is asked for.

use std::net::IpAddr;

use jiff::Timestamp;

use super::ground::Ground;
use super::{No, WHAT_CODE};
use crate::store::{StoreError, Totp, Try};

/// A try that was counted as a failure; whoever finds it right takes that back.
#[derive(Debug)]
pub(super) struct Begun {
    /// When.
    pub(super) at: Timestamp,
    /// From where, as the store counts it.
    pub(super) source: String,
    /// The operator's authenticator, where there is one.
    pub(super) totp: Option<Totp>,
}

/// Asks for one try.
///
/// # Errors
/// When the store fails; then no try may be made.
pub(super) async fn begin(
    ground: &Ground,
    operator: &str,
    peer: IpAddr,
) -> Result<Result<Begun, No>, StoreError> {
    let (at, source) = (ground.clock.now(), source(peer));
    let no = |cause| Ok(Err(No { code: "LOGIN-006", told: WHAT_CODE, cause }));
    let totp = match ground.store.begin_try(operator, &source, at.as_millisecond()).await? {
        Try::Granted(totp) => Some(totp),
        Try::Absent => None,
        Try::Throttled { until } => {
            return no(format!("too many wrong codes; no try before {}", when(until)));
        }
        Try::Disabled => return no("too many wrong codes in a row; the authenticator is disabled".to_owned()),
    };
    Ok(Ok(Begun { at, source, totp }))
}

/// What counts as one source: an IPv4 address, or the /64 that one IPv6 site has to itself.
fn source(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn when(ms: i64) -> String {
    Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_ipv6_site_is_one_source_and_a_mapped_address_is_its_ipv4_self() {
        let text = |address: &str| source(address.parse().unwrap());
        assert_eq!(text("2001:db8:1:2:3::4"), text("2001:db8:1:2:ffff::9"));
        assert_ne!(text("2001:db8:1:2:3::4"), text("2001:db8:1:3:3::4"));
        assert_eq!(text("::ffff:192.0.2.1"), text("192.0.2.1"));
    }
}
