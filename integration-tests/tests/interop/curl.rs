//! `curl sftp://` and `scp://`: keys from an agent, by name, and through the SOCKS proxy of a proven machine's `ssh -D`. With
//! `profile = "broad"`, since libssh2 before 1.11 knows no MAC over the ciphertext.

use std::process::Command;

use bartizan_integration_tests::{Client, DEADLINE, Keyring, Rig, ended, free_port, until};

use crate::{Cargo, anybody, code_given, succeeded};

#[test]
fn curl_by_name_with_plus_and_with_comma() {
    let rig = anybody().setting("ssh", "profile = \"broad\"").start();
    let keyring = Keyring::of(&rig, "ana");
    code_given(&rig);
    let cargo = Cargo::of(&rig);
    let port = rig.server().address().port();
    for (name, url) in [
        ("sftp", format!("sftp://ana+root+db1:@127.0.0.1:{port}")),
        ("scp", format!("scp://ana,root,db1:@127.0.0.1:{port}")),
    ] {
        let [there, back] = cargo.way(name);
        let curl = || {
            let mut curl = curl(&rig);
            curl.env("SSH_AUTH_SOCK", keyring.socket());
            curl
        };
        let url = format!("{url}{}", there.display());
        succeeded("curl -T", curl().arg("-T").arg(&cargo.file).arg(&url));
        succeeded("curl -o", curl().arg("-o").arg(&back).arg(&url));
        cargo.arrived(name);
        let missing = curl().arg(format!("{url}-missing")).output().unwrap();
        assert_eq!(missing.status.code(), Some(78), "{missing:?}");
    }
    rig.verify_everything();
}

/// Files go through the SOCKS proxy of this login.
pub(crate) fn works_inside(rig: &Rig, ana: &Client<'_>, cargo: &Cargo) {
    let port = free_port().to_string();
    let mut socks = ana.command("ssh");
    let mut socks = socks.args(["-N", "-D", &port, "ana@bastion"]).spawn().unwrap();
    let proxy = format!("socks5h://127.0.0.1:{port}");
    until("the proxy to listen", DEADLINE, || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).ok());
    let [there, back] = cargo.way("socks");
    let curl = || {
        let mut curl = curl(rig);
        curl.args(["-x", &proxy]);
        curl
    };
    let url = format!("sftp://root:@db1{}", there.display());
    succeeded("curl -x", curl().arg("-T").arg(&cargo.file).arg(&url));
    succeeded("curl -x", curl().arg("-o").arg(&back).arg(&url));
    cargo.arrived("socks");
    socks.kill().unwrap();
    ended("ssh -D", &mut socks, DEADLINE);
}

/// It knows the bastion's plain key, which is also that of everything behind it.
fn curl(rig: &Rig) -> Command {
    let (known, port) = (rig.path(".ssh/known_hosts"), rig.server().address().port());
    if !known.exists() {
        std::fs::create_dir(rig.path(".ssh")).unwrap();
        let key = rig.plain_host_key();
        std::fs::write(known, format!("[127.0.0.1]:{port} {key}\ndb1 {key}\n")).unwrap();
    }
    let mut command = Command::new("curl");
    command.arg("-sS").env("HOME", rig.path("")).env_remove("SSH_AUTH_SOCK");
    command
}
