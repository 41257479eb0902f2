//! `ssh-config`: the block of a laptop's ssh_config by which stock `ssh` jumps to an operator's targets, and whom it trusts.
//! It never makes a laptop trust more than these names, and names no target for which no grant names the operator.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use policy::{AccountName, OperatorName, TargetName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::access::granted;
use super::caller::{Caller, Need};
use super::clean;
use super::reply::{Reply, Trouble, unless_gone};
use crate::bastion::Bastion;

/// Names on one line of known_hosts.
const NAMES: usize = 20;

/// What is asked for.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub struct SshConfigWord {
    /// For this operator; over SSH you yourself, on the command line else every target.
    #[arg(long)]
    operator: Option<OperatorName>,
    /// Writes the known_hosts lines into this new file and lets the block name it; - prints those lines alone.
    #[arg(long, value_name = "FILE")]
    known_hosts: Option<PathBuf>,
    /// Where the answer goes.
    #[arg(skip)]
    into: Option<PathBuf>,
}

impl SshConfigWord {
    pub(super) fn need(&self) -> Need<'_> {
        self.operator.as_ref().map_or(Need::Nothing, Need::Being)
    }

    pub(super) fn facts(&self) -> Value {
        json!({ "operator": self.operator })
    }

    pub(super) fn output(&self) -> Option<&Path> {
        self.into.as_deref()
    }

    /// Where a file is asked for: first the words whose answer goes into it, then the word of the block that names it.
    pub fn in_two(self) -> (Option<Self>, Self) {
        let Some(file) = self.known_hosts.clone().filter(|file| file != Path::new("-")) else {
            return (None, self);
        };
        let lines = Self { known_hosts: Some("-".into()), into: Some(file.clone()), ..self.clone() };
        // The block is read from anywhere.
        let known_hosts = Some(std::path::absolute(&file).unwrap_or(file));
        (Some(lines), Self { known_hosts, ..self })
    }

    /// Whether it names a file of the asking side, which is not reached over SSH.
    pub fn names_a_file(&self) -> bool {
        self.known_hosts.as_ref().is_some_and(|file| file != Path::new("-"))
    }
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    word: &SshConfigWord,
    out: &mut R,
) -> Result<(), Trouble> {
    let operator = word.operator.as_ref().or_else(|| caller.operator());
    let accounts = unless_gone(out, granted(bastion, operator)).await??;
    let door = Door::of(bastion);
    let known = known_hosts(bastion, &door, &accounts)?;
    match &word.known_hosts {
        Some(file) if file == Path::new("-") => out.out(&known).await,
        file => {
            out.out(
                &Block { door: &door, operator, accounts: &accounts, file: file.as_deref(), known: &known }
                    .text(),
            )
            .await
        }
    }
}

/// The bastion as a laptop reaches it.
struct Door {
    /// As `ssh` is told: a name of `[ssh] names`, else the address it listens on.
    host: String,
    port: u16,
    /// Whether its host keys are certified for that name.
    certified: bool,
}

impl Door {
    fn of(bastion: &Bastion) -> Self {
        let ssh = &bastion.config.ssh;
        // A running server has written down what it really listens on.
        let bound = std::fs::read_to_string(bastion.config.dir.join("listening")).ok();
        let bound = bound.and_then(|text| text.lines().next()?.parse::<SocketAddr>().ok());
        let address = bound.or_else(|| ssh.listen.first().copied());
        let port = address.map_or(22, |address| address.port());
        match (ssh.names.first(), address) {
            (Some(name), _) => Self { host: name.clone(), port, certified: true },
            (None, Some(address)) => {
                Self { host: reachable(address.ip()).to_string(), port, certified: false }
            }
            (None, None) => Self { host: Ipv4Addr::LOCALHOST.to_string(), port, certified: false },
        }
    }
}

fn reachable(ip: IpAddr) -> IpAddr {
    if ip.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { ip }
}

/// The lines that make a laptop trust the bastion and what it presents inside a jump: by our host CA, for these names only.
fn known_hosts(
    bastion: &Bastion,
    door: &Door,
    targets: &BTreeMap<TargetName, Option<AccountName>>,
) -> Result<String, Trouble> {
    let bundle = bastion.access.bundle();
    let patterns = bundle.host_patterns();
    let mut names: Vec<&str> = bastion.config.ssh.names.iter().map(String::as_str).collect();
    names.extend(patterns.iter().map(String::as_str));
    names.extend(
        targets
            .keys()
            .map(TargetName::as_str)
            .filter(|name| !patterns.iter().any(|pattern| fits(pattern, name))),
    );
    let ca = bastion.keys.host_ca().to_openssh()?;
    let mut text = String::new();
    for names in names.chunks(NAMES) {
        // ssh looks up `name` on port 22 and `[name]:port` on every other.
        let both: Vec<String> = names.iter().map(|name| format!("{name},[{name}]:*")).collect();
        writeln!(text, "@cert-authority {} {ca}", both.join(","))?;
    }
    if !door.certified {
        let host = if door.port == 22 { door.host.clone() } else { format!("[{}]:{}", door.host, door.port) };
        for key in bastion.keys.host_public() {
            writeln!(text, "{host} {}", key.to_openssh()?)?;
        }
    }
    Ok(clean::lines(&text).into_owned())
}

/// Whether a name fits a pattern of known_hosts (`*` is any text, `?` any character).
fn fits(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (pattern.as_bytes(), name.as_bytes());
    // Where the last `*` stood, and the name it has not swallowed yet.
    let mut star: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), name.split_first()) {
            (Some((b'*', rest)), _) => {
                star = Some((rest, name));
                pattern = rest;
            }
            (Some((one, rest)), Some((letter, further))) if *one == b'?' || one == letter => {
                (pattern, name) = (rest, further);
            }
            (None, None) => return true,
            _ => match star.and_then(|(after, from)| Some((after, from.split_first()?.1))) {
                Some((after, from)) => {
                    star = Some((after, from));
                    (pattern, name) = (after, from);
                }
                None => return false,
            },
        }
    }
}

/// The block of ssh_config.
struct Block<'a> {
    door: &'a Door,
    operator: Option<&'a OperatorName>,
    accounts: &'a BTreeMap<TargetName, Option<AccountName>>,
    file: Option<&'a Path>,
    known: &'a str,
}

impl Block<'_> {
    fn text(&self) -> String {
        let host = &self.door.host;
        let whose =
            self.operator.map_or_else(|| "all targets".to_owned(), |name| format!("the targets of {name}"));
        // The first line is empty: what it is appended to may not end with a line end.
        let mut text = format!("\n# Bartizan: {whose}, by way of {host}.\n");
        self.trust(&mut text);
        text.push_str(&format!("\nHost {host}\n"));
        if self.door.port != 22 {
            text.push_str(&format!("    Port {}\n", self.door.port));
        }
        if let Some(operator) = self.operator {
            text.push_str(&format!("    User {operator}\n"));
        }
        self.trusting(&mut text);
        for (target, account) in self.accounts {
            text.push_str(&format!("\nHost {target}\n"));
            if let Some(account) = account {
                text.push_str(&format!("    User {account}\n"));
            }
            text.push_str(&format!("    ProxyJump {host}\n"));
            self.trusting(&mut text);
        }
        clean::lines(&text).into_owned()
    }

    /// Which keys are trusted, where they are not in a file of their own: as remarks, to be put into known_hosts.
    fn trust(&self, text: &mut String) {
        if self.file.is_some() {
            return;
        }
        text.push_str(
            "# The lines that begin with #known belong into ~/.ssh/known_hosts; once this is in ~/.ssh/config:\n\
             #     sed -n 's/^#known //p' ~/.ssh/config >> ~/.ssh/known_hosts\n",
        );
        for line in self.known.lines() {
            text.push_str(&format!("#known {line}\n"));
        }
    }

    /// A key that is not known is never asked about: what must be known stands in the lines above.
    fn trusting(&self, text: &mut String) {
        if let Some(file) = self.file {
            text.push_str(&format!("    UserKnownHostsFile {}\n", quoted(file)));
        }
        text.push_str("    StrictHostKeyChecking yes\n");
    }
}

/// A path as ssh_config(5) reads it: quoted, with its own signs escaped (`%` is a token, `\` and `"` end a word).
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_as_in_known_hosts() {
        assert!(
            fits("*.prod.example", "web.prod.example")
                && fits("web-?", "web-1")
                && fits("a*c", "abbc")
                && fits("*", "")
        );
        assert!(
            !fits("*.prod.example", "prod.example")
                && !fits("web-?", "web-12")
                && !fits("web", "web-1")
                && !fits("", "a")
        );
    }

    fn block(file: Option<&Path>) -> String {
        let door = Door { host: "bastion.example".to_owned(), port: 2222, certified: true };
        let ana = OperatorName::parse("ana").expect("name");
        let web =
            (TargetName::parse("web-1").expect("name"), Some(AccountName::parse("deploy").expect("account")));
        let db = (TargetName::parse("db-1").expect("name"), None);
        let accounts = BTreeMap::from([web, db]);
        Block { door: &door, operator: Some(&ana), accounts: &accounts, file, known: "@cert-authority x y\n" }
            .text()
    }

    #[test]
    fn the_block_jumps_by_the_bastion_as_the_default_account() {
        let text = block(None);
        assert!(text.starts_with('\n'), "what it is appended to may not end with a line end");
        assert!(text.contains("Host bastion.example\n    Port 2222\n    User ana\n"));
        assert!(text.contains("Host web-1\n    User deploy\n    ProxyJump bastion.example\n"));
        assert!(text.contains("Host db-1\n    ProxyJump bastion.example\n"));
        assert!(text.contains("\n#known @cert-authority x y\n"));
        assert!(!text.contains("Host *"));
    }

    #[test]
    fn a_file_of_known_hosts_is_named_in_every_entry() {
        let text = block(Some(Path::new("/x/known 100%")));
        assert_eq!(text.matches("UserKnownHostsFile \"/x/known 100%%\"\n").count(), 3);
        assert!(!text.contains("#known"));
    }
}
