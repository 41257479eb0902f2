//! `device register` without a key: the machine goes on record, and a token is made by which it enrols itself once.
//! It never logs the token, and never gives one for a machine that is in use.

use posture::token::Token;

use super::super::operator::known;
use super::Wanted;
use crate::bastion::Bastion;
use crate::control::caller::Caller;
use crate::control::reply::{Reply, Trouble};
use crate::device::{LASTS, Offer, facts_wanted};

/// What whoever carries the token needs to know. Not on standard output, so that a script can take that as the token.
const NEXT: &str = "run on the machine, before the token is over: bartizan-agent enroll TOKEN";

pub(super) async fn with_token<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    wanted: &Wanted,
    address: Option<&str>,
    out: &mut R,
) -> Result<(), Trouble> {
    let owner = known(bastion, &wanted.operator).await?;
    let (host, port) = reached(bastion, address)?;
    let new = wanted.row(&owner.tenant, caller);
    let now = bastion.clock.now();
    // One whose token was not used in time, or that was lost, is registered once more.
    if bastion.store.device(wanted.name.as_str()).await?.is_some() {
        bastion.store.register_again(&new, now.as_millisecond()).await?;
    } else {
        bastion.store.add_device(&new, now.as_millisecond()).await?;
    }
    let offer = Offer::open(&bastion.store, wanted.name.as_str(), now).await?;
    let wanted_facts = facts_wanted(&bastion.access.bundle());
    let token = Token {
        id: offer.id().to_owned(),
        secret: offer.secret().to_owned(),
        device: wanted.name.to_string(),
        owner: wanted.operator.to_string(),
        kind: wanted.kind.to_string(),
        personal: wanted.personal,
        host,
        port,
        host_keys: bastion.keys.host_public().iter().filter_map(plain).collect(),
        host_ca: plain(bastion.keys.host_ca()).into_iter().collect(),
        names: bastion.config.ssh.names.clone(),
        facts: wanted_facts.facts,
        processes: wanted_facts.processes,
    };
    let text = token.to_text()?;
    out.out(&text).await?;
    out.out("\n").await?;
    let Wanted { name, operator, .. } = wanted;
    out.err(&format!("device {name} registered for operator {operator}; {NEXT} ({LASTS} minutes, once)\n"))
        .await
}

/// A key's one line, without its comment.
fn plain(key: &ssh_key::PublicKey) -> Option<String> {
    ssh_key::PublicKey::new(key.key_data().clone(), "").to_openssh().ok()
}

/// Where the machine finds the bastion: as given, else by its first name, else by the address it listens on.
fn reached(bastion: &Bastion, given: Option<&str>) -> Result<(String, u16), Trouble> {
    let listening = std::fs::read_to_string(bastion.config.dir.join("listening")).unwrap_or_default();
    let bound = listening.lines().find_map(|line| line.parse().ok());
    let bound: std::net::SocketAddr = bound
        .or_else(|| bastion.config.ssh.listen.first().copied())
        .ok_or_else(|| Trouble::said("[ssh] listen of bartizan.toml is empty; name an address there"))?;
    if let Some(given) = given {
        return parted(given, bound.port());
    }
    match bastion.config.ssh.names.first() {
        Some(name) => Ok((name.clone(), bound.port())),
        None if bound.ip().is_unspecified() => Err(Trouble::said(
            "how the machine reaches this bastion is not known; say --address HOST, or name it in [ssh] names of bartizan.toml",
        )),
        None => Ok((bound.ip().to_string(), bound.port())),
    }
}

/// `HOST`, `HOST:PORT`, `[v6]:PORT` or a plain IPv6 address.
fn parted(text: &str, port: u16) -> Result<(String, u16), Trouble> {
    let wrong = || Trouble::said(format!("{text:?} is not an address; write HOST or HOST:PORT"));
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), port));
    }
    let Some((host, number)) = text.rsplit_once(':') else { return Ok((text.to_owned(), port)) };
    let host = host.strip_prefix('[').map_or(Some(host), |rest| rest.strip_suffix(']'));
    let number = number.parse().ok().filter(|port| *port != 0);
    host.map(str::to_owned).zip(number).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        let read = |text: &str| parted(text, 2222);
        assert_eq!(read("bastion.example"), Ok(("bastion.example".to_owned(), 2222)));
        assert_eq!(read("bastion.example:22"), Ok(("bastion.example".to_owned(), 22)));
        assert_eq!(read("2001:db8::1"), Ok(("2001:db8::1".to_owned(), 2222)));
        assert_eq!(read("[2001:db8::1]:22"), Ok(("2001:db8::1".to_owned(), 22)));
        for wrong in ["a:0", "a:b", "[::1:22", "a:70000"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
