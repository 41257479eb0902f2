//! Whether `ssh` will reach the bastion with the device identity, and a target by the bastion under its name.
//! It never names a line as wrong without the value that would be right.

use std::path::Path;

use posture::token::is_host;

use super::Check;
use super::resolved::Resolved;
use crate::config::Config;

/// One option, as it is and as it must be.
struct Setting<'a> {
    host: &'a str,
    name: &'static str,
    /// Its names in a file, in lower case: the first of any of them counts.
    set_by: &'a [&'static str],
    is: String,
    right: bool,
    remedy: String,
}

/// What puts the bastion's block in front.
const INSTALL: &str = "; `bartizan-agent install` puts it before all others";

/// The bastion: the right agent, not hidden, the right address.
pub(super) async fn bastion(dir: &Path, config: &Config, ssh_config: Option<&Path>) -> Vec<Check> {
    let host = config.bastion.host.as_str();
    let resolved = match Resolved::of(host, ssh_config).await {
        Ok(resolved) => resolved,
        Err(why) => return vec![Check::new(format!("{host}: ssh -G"), false, why.to_string())],
    };
    let value = |option| resolved.value(option).unwrap_or("none").to_owned();
    let socket = config.socket_in(dir).display().to_string();
    let is = |name, set_by, option, right: bool, remedy: String| Setting {
        host,
        name,
        set_by,
        is: value(option),
        right,
        remedy,
    };
    let agent = value("identityagent") == socket;
    let address = value("hostname").eq_ignore_ascii_case(host);
    let port = value("port") == config.bastion.port.to_string();
    let itself = hop(&value("proxyjump")).is_some_and(|hop| hop.eq_ignore_ascii_case(host));
    [
        is(
            "IdentityAgent",
            &["identityagent"],
            "identityagent",
            agent,
            format!("it must be {socket}{INSTALL}"),
        ),
        is(
            "IdentitiesOnly",
            &["identitiesonly"],
            "identitiesonly",
            value("identitiesonly") == "no",
            "it hides the device identity and must be no".to_owned(),
        ),
        is("HostName", &["hostname"], "hostname", address, format!("it must be {host}")),
        is("Port", &["port"], "port", port, format!("it must be {}{INSTALL}", config.bastion.port)),
        is("ProxyJump", PROXY, "proxyjump", !itself, "the bastion cannot be reached by itself".to_owned()),
    ]
    .into_iter()
    .map(|option| judged(&resolved, option))
    .collect()
}

/// `ssh` takes the first of either.
const PROXY: &[&str] = &["proxyjump", "proxycommand"];

/// A target: by the bastion, under its own name.
pub(super) async fn target(config: &Config, ssh_config: Option<&Path>, host: &str) -> Vec<Check> {
    let wrong = |why: String| vec![Check::new(format!("{host}: ssh -G"), false, why)];
    if !is_host(host) {
        return wrong("it is not a host name; write one as in `ssh NAME`".to_owned());
    }
    let resolved = match Resolved::of(host, ssh_config).await {
        Ok(resolved) => resolved,
        Err(why) => return wrong(why.to_string()),
    };
    let jump = resolved.value("proxyjump").unwrap_or("none").to_owned();
    let command = resolved.value("proxycommand").unwrap_or("none").to_owned();
    let by_bastion = match hop(&jump) {
        Some(hop) => is_bastion(config, ssh_config, hop).await,
        None => false,
    };
    let bastion = &config.bastion.host;
    let address = resolved.value("hostname").unwrap_or(host).to_owned();
    let named = address.eq_ignore_ascii_case(host) && host.parse::<std::net::IpAddr>().is_err();
    let shown = if jump == "none" && command != "none" { format!("ProxyCommand {command}") } else { jump };
    let options = [
        Setting {
            host,
            name: "ProxyJump",
            set_by: PROXY,
            is: shown,
            right: by_bastion,
            remedy: format!("it must be {bastion}; `bartizan ssh-config` prints the block"),
        },
        Setting {
            host,
            name: "HostName",
            set_by: &["hostname"],
            is: address,
            right: named,
            remedy: "the bastion knows targets by name alone: let it be the target's".to_owned(),
        },
    ];
    options.into_iter().map(|option| judged(&resolved, option)).collect()
}

fn judged(resolved: &Resolved, option: Setting<'_>) -> Check {
    let Setting { host, name, set_by, is, right, remedy } = option;
    let is = crate::ssh::clean(&is);
    let line = resolved.line(set_by);
    let origin = match &line {
        Some(line) => format!("by {} line {}", line.file.display(), line.number),
        None => "by default".to_owned(),
    };
    let said = if right { format!("{is}, {origin}") } else { format!("{is}, {origin}: {remedy}") };
    let (file, number) = line.map(|line| (line.file, line.number)).unzip();
    Check { check: format!("{host}: {name}"), ok: right, said, file, line: number }
}

/// The last hop of a `ProxyJump`, the one that dials the target, without user and port.
fn hop(jump: &str) -> Option<&str> {
    let last = jump.rsplit(',').next()?.trim();
    let last = last.strip_prefix("ssh://").unwrap_or(last);
    let host = last.rsplit_once('@').map_or(last, |(_, host)| host);
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?.0,
        None if host.matches(':').count() == 1 => host.split_once(':')?.0,
        None => host,
    };
    (host != "none" && is_host(host)).then_some(host)
}

/// Whether this name leads to the bastion: it may be called by another.
async fn is_bastion(config: &Config, ssh_config: Option<&Path>, name: &str) -> bool {
    let bastion = &config.bastion;
    if name.eq_ignore_ascii_case(&bastion.host) {
        return true;
    }
    match Resolved::of(name, ssh_config).await {
        Ok(resolved) => {
            resolved.value("hostname").is_some_and(|address| address.eq_ignore_ascii_case(&bastion.host))
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_hop_is_found_in_every_form() {
        let forms = ["b", "a@b", "b:22", "x,a@b:22", "ssh://a@b:22", "[b]:22", "a+b@b"];
        for form in forms {
            assert_eq!(hop(form), Some("b"), "{form}");
        }
        assert_eq!(hop("2001:db8::1"), Some("2001:db8::1"));
        assert_eq!(hop("none"), None);
        assert_eq!(hop("-oProxyCommand=x"), None);
    }

    proptest! {
        #[test]
        fn no_jump_makes_it_fall_over(jump in any::<String>()) {
            let _ = hop(&jump);
        }
    }
}
