//! `curl sftp://` and `scp://`: keys from an agent, by name, and through the SOCKS proxy of a proven machine's `ssh -D`. With
//! `profile = "broad"`, since libssh2 before 1.11 knows no MAC over the ciphertext.

use std::process::Command;

use bartizan_integration_tests::{DEADLINE, Keyring, Laptop, Rig, ended, free_port, until};

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
        let curl = || curl(&rig, &keyring);
        let url = format!("{url}{}", there.display());
        succeeded("curl -T", curl().arg("-T").arg(&cargo.file).arg(&url));
        succeeded("curl -o", curl().arg("-o").arg(&back).arg(&url));
        cargo.arrived(name);
        let missing = curl().arg(format!("{url}-missing")).output().unwrap();
        assert_eq!(missing.status.code(), Some(78), "{missing:?}");
    }
    rig.verify_everything();
}

#[test]
fn curl_inside_the_login_of_a_proven_machine() {
    let evidence = ("device", "evidence = \"bound\"");
    let rig = Rig::new().operator("ana").target("db1").setting(evidence.0, evidence.1);
    let rig = rig.setting("ssh", "profile = \"broad\"").start();
    let laptop = Laptop::enrolled(&rig, "ana", "lt-ana", &["--imported"]).running();
    let (ana, port) = (laptop.client(), free_port().to_string());
    let mut socks = ana.command("ssh");
    let mut socks = socks.args(["-N", "-D", &port, "ana@bastion"]).spawn().unwrap();
    let proxy = format!("socks5h://127.0.0.1:{port}");
    until("the proxy to listen", DEADLINE, || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).ok());
    let cargo = Cargo::of(&rig);
    let [there, back] = cargo.way("socks");
    let keyring = Keyring::of(&rig, "ana");
    let curl = || {
        let mut curl = curl(&rig, &keyring);
        curl.args(["-x", &proxy]).env_remove("SSH_AUTH_SOCK");
        curl
    };
    let url = format!("sftp://root:@db1{}", there.display());
    succeeded("curl -x", curl().arg("-T").arg(&cargo.file).arg(&url));
    succeeded("curl -x", curl().arg("-o").arg(&back).arg(&url));
    cargo.arrived("socks");
    assert_eq!(rig.sealed_recordings(2)[0]["device"], "lt-ana");
    socks.kill().unwrap();
    ended("ssh -D", &mut socks, DEADLINE);
}

/// It knows the bastion's plain key, which is also that of everything behind it.
fn curl(rig: &Rig, keyring: &Keyring) -> Command {
    let (known, port) = (rig.path(".ssh/known_hosts"), rig.server().address().port());
    if !known.exists() {
        std::fs::create_dir(rig.path(".ssh")).unwrap();
        let key = rig.plain_host_key();
        std::fs::write(known, format!("[127.0.0.1]:{port} {key}\ndb1 {key}\n")).unwrap();
    }
    let mut command = Command::new("curl");
    command.arg("-sS").env("SSH_AUTH_SOCK", keyring.socket()).env("HOME", rig.path(""));
    command
}
