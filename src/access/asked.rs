//! What is asked for, in the policy's nouns: read once, and strictly, before anything is decided.
//! It never mends what is not well-formed.

use ledger::log::Event;
use policy::{ChannelKind, Destination};

use crate::channel::{End, Start};

/// The kind of channel that a request begins; else what is wrong with the name or the place.
pub(super) fn kind_of(start: &Start) -> Result<ChannelKind, String> {
    match start {
        Start::Shell => Ok(ChannelKind::Shell),
        Start::Exec(_) => Ok(ChannelKind::Exec),
        Start::Subsystem(name) => ChannelKind::subsystem(name).map_err(|why| why.to_string()),
        Start::Forward(stream) => destination(&stream.to).map(ChannelKind::Forward),
        Start::Listen(end) => listening(end).map(|()| ChannelKind::ReverseForward),
        Start::Return(_) => Ok(ChannelKind::ReverseForward),
        Start::Agent => Ok(ChannelKind::Agent),
        Start::X11(_) => Ok(ChannelKind::X11),
    }
}

/// Whether a command starts what leaves SSH: Mosh's server, which its client then talks to by UDP, past the bastion.
pub(super) fn leaves_ssh(start: &Start) -> bool {
    let Start::Exec(command) = start else { return false };
    let text = String::from_utf8_lossy(command);
    let mut words = text.split_whitespace().map(|word| word.trim_matches(['\'', '"'])).peekable();
    while let Some(word) = words.next() {
        if word.rsplit('/').next() == Some("mosh-server") && words.peek() == Some(&"new") {
            return true;
        }
    }
    false
}

fn destination(end: &End) -> Result<Destination, String> {
    match end {
        End::Tcp { host, port } => Destination::tcp(host, *port),
        End::Unix(path) => Destination::unix(path),
    }
    .map_err(|why| why.to_string())
}

/// Where a target may be asked to listen: any host that could be one (the target judges it), any port, a plain path.
fn listening(end: &End) -> Result<(), String> {
    match end {
        End::Tcp { host, port } => {
            let plain = host.len() <= 255 && host.bytes().all(|byte| byte.is_ascii_graphic());
            let fits = plain && *port <= u32::from(u16::MAX);
            fits.then_some(()).ok_or_else(|| format!("{end} is no place to listen"))
        }
        End::Unix(path) => Destination::unix(path).map(|_| ()).map_err(|why| why.to_string()),
    }
}

/// Where a stream leads and comes from.
pub(super) fn describe_stream(event: &mut Event, start: &Start) {
    if !start.is_session() {
        event.detail.extend(start.command().map(|to| ("to".to_owned(), to.into())));
        event.detail.extend(start.origin().map(|from| ("from".to_owned(), from.to_string().into())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mosh_is_known_by_how_its_server_is_started() {
        let starts = |command: &str| leaves_ssh(&Start::Exec(command.to_owned().into()));
        for command in [
            "mosh-server 'new' '-c' '256'",
            "sh -c '[ -n x ]' ; mosh-server 'new'",
            "LANG=C \"/usr/local/bin/mosh-server\" new",
        ] {
            assert!(starts(command), "{command}");
        }
        for command in ["", "mosh-server", "man mosh-server", "apt-get install mosh", "echo new mosh-server"]
        {
            assert!(!starts(command), "{command}");
        }
        assert!(!leaves_ssh(&Start::Shell));
    }

    #[test]
    fn a_place_to_listen_is_bounded_and_plain() {
        let at = |host: &str, port| Start::Listen(End::Tcp { host: host.into(), port });
        for good in [at("", 0), at("localhost", 8080), at("*", 1), at("::1", 65_535)] {
            assert_eq!(kind_of(&good), Ok(ChannelKind::ReverseForward), "{good:?}");
        }
        let long = "a".repeat(256);
        for bad in [at("a b", 1), at("a\n", 1), at(&long, 1), at("localhost", 65_536)] {
            assert!(kind_of(&bad).is_err(), "{bad:?}");
        }
        for path in ["relative", "/a/../b", "/a\n"] {
            assert!(kind_of(&Start::Listen(End::Unix(path.into()))).is_err(), "{path:?}");
        }
    }
}
