//! `bartizan.toml`.
//! Holds: every value is within the bounds that `docs/operating.md` tells; a refusal is one line that names a line of the file.
#![no_main]

use std::path::Path;
use std::time::Duration;

use bartizan::config::{Config, ConfigError};
use bartizan::control::clean;
use bartizan_fuzz::{sow, within};
use libfuzzer_sys::fuzz_target;

const HOUR: Duration = Duration::from_secs(3600);

fn holds(config: &Config) {
    let ssh = &config.ssh;
    assert!((1..=64).contains(&ssh.listen.len()));
    assert!(
        ssh.names
            .iter()
            .all(|name| (1..=253).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()))
    );
    assert!((1..=1024).contains(&ssh.max_channels));
    for most in [ssh.max_connections, ssh.max_connections_per_source] {
        assert!((1..=1_000_000).contains(&most));
    }
    for most in [ssh.max_unauthenticated, ssh.max_unauthenticated_per_source] {
        assert!((1..=10_000).contains(&most));
    }
    assert!((Duration::from_secs(1)..=HOUR).contains(&ssh.login_grace));
    assert!((Duration::from_secs(1)..=30 * 24 * HOUR).contains(&ssh.idle_timeout));
    assert!(ssh.drain <= 24 * HOUR);
    assert!((Duration::from_millis(1)..=Duration::from_secs(1)).contains(&config.recording.flush));
    assert!((Duration::from_millis(10)..=Duration::from_secs(60)).contains(&config.audit.checkpoint));
    let banner = ssh.banner.as_deref().unwrap_or_default();
    assert!(banner.len() <= 4096 && !banner.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    let admin = &config.admin;
    assert!(admin.beyond_loopback || admin.listen.is_none_or(|address| address.ip().is_loopback()));
    assert!(config.dir.is_absolute() && config.database().is_absolute());
}

/// Every key there is.
const SEED: &str = r#"[ssh]
listen = ["0.0.0.0:22", "[::]:22"]
names = ["bastion.example"]
profile = "strict"
login_grace = "30s"
max_channels = 8
max_connections = 9
max_unauthenticated = 3
max_connections_per_source = 5
max_unauthenticated_per_source = 2
penalty_exempt = ["10.0.0.0/8"]
proxy_protocol_from = ["10.0.0.1", "2001:db8::/32"]
idle_timeout = "8h"
drain = "2m"
banner = "hello\n"
[store]
url = "sqlite:/x/y.db"
[recording]
mode = "strict"
flush = "5ms"
input = true
max = "1GiB"
[audit]
checkpoint = "250ms"
[device]
require = "any"
evidence = "key"
[admin]
listen = "127.0.0.1:2280"
beyond_loopback = false
"#;

fuzz_target!(init: sow("config", [SEED.into()]), |text: &str| {
    // As long as the file may be; a parsed value takes some times its text.
    match within((1 << 20) + 256 * text.len(), || Config::parse(Path::new("/srv/bartizan"), text)) {
        Ok(config) => holds(&config),
        Err(told) => {
            let line = told.to_string();
            assert!(!line.contains(clean::commands), "{line:?}");
            let ConfigError::Wrong { line, .. } = told else { panic!("{told}") };
            assert!(line >= 1 && line <= text.lines().count() + 1, "line {line}");
        }
    }
});
