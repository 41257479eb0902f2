//! PuTTY's `plink`, `pscp` and `psftp`: by name, by a saved session with a jump of its own, and inside `ssh -W`. They trust the
//! bastion's host CA.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bartizan_integration_tests::{Client, Keyring, Rig, Terminal};

use crate::{Cargo, LINE, anybody, code_given, has_a_shell, ran, succeeded};

#[test]
fn putty_by_name_and_by_a_session_that_jumps() {
    let rig = anybody().start();
    let (settings, keyring) = (settings(&rig), Keyring::of(&rig, "ana"));
    code_given(&rig);
    let tool = |program: &str, arguments: &[&str]| {
        let mut command = putty(program, &settings);
        command.env("SSH_AUTH_SOCK", keyring.socket()).arg("-batch").args(arguments).stdin(Stdio::null());
        command
    };
    let mut shell = putty("plink", &settings);
    let key = rig.path("ana.ppk");
    succeeded(
        "puttygen",
        Command::new("puttygen").arg(rig.path("ana-key")).args(["-O", "private", "-o"]).arg(&key),
    );
    shell.env_remove("SSH_AUTH_SOCK").args(["-no-antispoof", "-load", "named", "-i"]).arg(&key);
    let mut shell = Terminal::open(shell);
    shell.expect("One-time code: ");
    shell.line(&rig.phone("ana").fresh());
    has_a_shell(&rig, shell);

    ran("plink", &tool("plink", &["-no-antispoof", "-load", "named", LINE]).output().unwrap());
    ran("plink by a jump", &tool("plink", &["-no-antispoof", "-load", "jumps", LINE]).output().unwrap());
    let cargo = Cargo::of(&rig);
    let file = cargo.file.to_str().unwrap();
    for (name, session, host, how) in [
        ("pscp", "named", "127.0.0.1", "-sftp"),
        ("pscp-scp", "named", "127.0.0.1", "-scp"),
        ("pscp-jump", "jumps", "db1", "-sftp"),
    ] {
        let [there, back] = cargo.way(name);
        let remote = format!("{host}:{}", there.display());
        succeeded(name, &mut tool("pscp", &[how, "-q", "-load", session, file, &remote]));
        succeeded(name, &mut tool("pscp", &[how, "-q", "-load", session, &remote, back.to_str().unwrap()]));
        cargo.arrived(name);
    }
    let ([there, back], batch) = (cargo.way("psftp"), rig.path("psftp-batch"));
    std::fs::write(&batch, format!("put {file} {0}\nget {0} {1}\n", there.display(), back.display()))
        .unwrap();
    succeeded("psftp", &mut tool("psftp", &["-b", batch.to_str().unwrap(), "-load", "named"]));
    cargo.arrived("psftp");
    assert_eq!(rig.sealed_recordings(10).len(), 10);
    rig.verify_everything();
}

/// The command runs through this login.
pub(crate) fn runs_inside(rig: &Rig, ana: &Client<'_>) {
    let mut inner = putty("plink", &settings(rig));
    ana.prepare(&mut inner);
    inner.args(["-batch", "-no-antispoof", "-proxycmd", &ana.proxy("db1"), "root@db1", LINE]);
    ran("plink inside ssh -W", &inner.output().unwrap());
}

/// PuTTY's own settings: the bastion's host CA, a session by name, one by a jump.
fn settings(rig: &Rig) -> PathBuf {
    let folder = rig.new_folder("putty");
    for inside in ["sshhostcas", "sessions"] {
        std::fs::create_dir(folder.join(inside)).unwrap();
    }
    let authority = rig.said(&["ca", "show", "host"]);
    let authority = authority.lines().next().unwrap().split(' ').nth(1).unwrap();
    let port = rig.server().address().port();
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    write(
        "sshhostcas/bartizan",
        format!(
            "PublicKey={authority}\nValidity=bastion.test || db1\nPermitRSASHA1=0\nPermitRSASHA256=1\nPermitRSASHA512=1\n"
        ),
    );
    let bastion = format!("Protocol=ssh\nHostName=127.0.0.1\nPortNumber={port}\nLogHost=bastion.test\n");
    write("sessions/named", format!("{bastion}UserName=ana+root+db1\n"));
    write("sessions/bastion", format!("{bastion}UserName=ana\n"));
    // A proxy of kind 6 is another SSH server; its name is that of a session.
    write(
        "sessions/jumps",
        format!(
            "Protocol=ssh\nHostName=db1\nPortNumber=22\nUserName=root\nProxyMethod=6\nProxyHost=bastion\nProxyPort={port}\n\
             ProxyUsername=ana\nProxyLocalhost=1\n"
        ),
    );
    folder
}

fn putty(program: &str, settings: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("PUTTYDIR", settings).env("HOME", settings).env("TERM", "xterm");
    command
}
