//! Dropbear's client: by name, by its own chain of hosts, inside `ssh -W`, and under `sftp` and `scp`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bartizan_integration_tests::{Client, Rig, Terminal};

use crate::{Cargo, LINE, anybody, code_given, has_a_shell, ran, succeeded};

/// It calls itself by this path for the first host of a chain.
const PROGRAM: &str = "/usr/bin/dbclient";

#[test]
fn dbclient_by_name_and_by_a_chain_of_hosts() {
    let rig = anybody().start();
    let home = home(&rig);
    code_given(&rig);
    let port = rig.server().address().port().to_string();
    let mut shell = dbclient(&home, &["key"]);
    shell.args(["-p", &port, "ana+root+db1@127.0.0.1"]).env("TERM", "xterm");
    let mut shell = Terminal::open(shell);
    shell.expect("One-time code: ");
    shell.line(&rig.phone("ana").fresh());
    has_a_shell(&rig, shell);

    let named = |line: &str| {
        let mut command = dbclient(&home, &["device", "key"]);
        command.args(["-p", &port, "ana+root+db1@127.0.0.1", line]).stdin(Stdio::null());
        command
    };
    ran("dbclient", &named(LINE).output().unwrap());
    let cargo = Cargo::of(&rig);
    let [there, back] = cargo.way("pipe");
    let open = |path: &Path| std::fs::File::open(path).unwrap();
    succeeded("dbclient", named(&format!("cat > {}", there.display())).stdin(open(&cargo.file)));
    let create = std::fs::File::create(&back).unwrap();
    succeeded("dbclient", named(&format!("cat {}", there.display())).stdout(create));
    let chain = format!("ana@127.0.0.1/{port},root@db1/22");
    let mut jump = dbclient(&home, &["device", "key"]);
    ran("dbclient by a chain", &jump.args([&chain, LINE]).stdin(Stdio::null()).output().unwrap());
    copies_under(&rig, &home, &cargo);
    for way in ["pipe", "scp", "sftp"] {
        cargo.arrived(way);
    }
    assert_eq!(rig.sealed_recordings(8).len(), 8);
    rig.verify_everything();
}

/// The command runs through this login.
pub(crate) fn runs_inside(rig: &Rig, ana: &Client<'_>) {
    let home = home(rig);
    let mut inner = dbclient(&home, &[]);
    ana.prepare(&mut inner);
    inner.env("HOME", &home).args(["-J", &ana.proxy("db1"), "root@db1", LINE]);
    ran("dbclient inside ssh -W", &inner.output().unwrap());
}

/// `scp -O` and `sftp`, told to use it in place of `ssh`.
fn copies_under(rig: &Rig, home: &Path, cargo: &Cargo) {
    let shell = rig.path("dbclient-as-ssh");
    let [device, key] = ["device", "key"].map(|which| home.join(which).display().to_string());
    let port = rig.server().address().port();
    let text = format!("#!/bin/sh\nexec {PROGRAM} -i {device} -i {key} -p {port} \"$@\"\n");
    std::fs::write(&shell, text).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    std::fs::set_permissions(&shell, mode).unwrap();
    let [there, back] = cargo.way("scp");
    let remote = format!("ana+root+db1@127.0.0.1:{}", there.display());
    let scp = |from: &Path, to: &Path| {
        let mut scp = Command::new("scp");
        succeeded("scp -O -S", scp.args(["-O", "-S"]).arg(&shell).arg(from).arg(to).env("HOME", home));
    };
    scp(&cargo.file, Path::new(&remote));
    scp(Path::new(&remote), &back);
    let ([there, back], batch) = (cargo.way("sftp"), rig.path("dbclient-batch"));
    let (file, there, back) = (cargo.file.display(), there.display(), back.display());
    std::fs::write(&batch, format!("put {file} {there}\nget {there} {back}\n")).unwrap();
    let mut sftp = Command::new("sftp");
    sftp.arg("-S").arg(&shell).arg("-b").arg(&batch).arg("ana+root+db1@127.0.0.1").env("HOME", home);
    succeeded("sftp -S", &mut sftp);
}

/// A home with the keys in its own form, and with the bastion's plain key for the bastion and for what is behind it.
fn home(rig: &Rig) -> PathBuf {
    let home = rig.new_folder("home");
    std::fs::create_dir(home.join(".ssh")).unwrap();
    let key = rig.plain_host_key();
    std::fs::write(home.join(".ssh/known_hosts"), format!("127.0.0.1 {key}\ndb1 {key}\n")).unwrap();
    for which in ["device", "key"] {
        let mut convert = Command::new("dropbearconvert");
        convert.args(["openssh", "dropbear"]).arg(rig.path(format!("ana-{which}"))).arg(home.join(which));
        succeeded("dropbearconvert", &mut convert);
    }
    home
}

fn dbclient(home: &Path, keys: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.env("HOME", home).env_remove("SSH_AUTH_SOCK");
    for key in keys {
        command.arg("-i").arg(home.join(key));
    }
    command
}
