//! Programs that carry files over the `ssh` they are given: lftp and sshfs. The others are in `clients.rs`.

use std::path::Path;
use std::process::Command;

use bartizan_integration_tests::{Client, DEADLINE, Rig, Route, by_both_routes, until};

use crate::{Cargo, anybody, code_given, succeeded};

by_both_routes! {
    lftp_puts_and_gets,
    #[ignore = "long: needs FUSE, which not every machine has"]
    sshfs_reads_and_writes,
}

fn lftp_puts_and_gets(route: Route) {
    let rig = anybody().start();
    code_given(&rig);
    let ana = rig.client("ana").by(route);
    let cargo = Cargo::of(&rig);
    let (user, host) = place(&ana);
    let [there, back] = cargo.way("lftp");
    let (file, folder, back) = (cargo.file.display(), cargo.folder.display(), back.display());
    let there = there.file_name().unwrap().to_str().unwrap();
    let script = format!(
        "set sftp:connect-program '{} -a -x'; set cmd:fail-exit yes; set net:max-retries 1; open -u {user}, sftp://{host}; \
         put -O {folder} {file} -o {there}; get {folder}/{there} -o {back}; exit",
        ana.remote_shell()
    );
    let mut lftp = Command::new("lftp");
    ana.prepare(&mut lftp);
    succeeded("lftp", lftp.args(["--norc", "-c", &script]).env("HOME", rig.path("")));
    cargo.arrived("lftp");
    rig.verify_everything();
}

fn sshfs_reads_and_writes(route: Route) {
    assert!(Path::new("/dev/fuse").exists(), "sshfs needs FUSE, and this machine has no /dev/fuse");
    let rig = anybody().start();
    code_given(&rig);
    let ana = rig.client("ana").by(route);
    let cargo = Cargo::of(&rig);
    let [there, back] = cargo.way("sshfs");
    {
        let mounted = Mounted::at(&rig, &ana, &cargo.folder);
        std::fs::copy(&cargo.file, mounted.0.join(there.file_name().unwrap())).unwrap();
        std::fs::copy(mounted.0.join(there.file_name().unwrap()), &back).unwrap();
        assert!(!mounted.0.join("missing").exists());
    }
    cargo.arrived("sshfs");
    assert_eq!(rig.sealed_recordings(1)[0]["kind"], "sftp");
    rig.verify_everything();
}

/// The user and the host of a client's address, for programs that want them apart.
fn place(client: &Client<'_>) -> (String, String) {
    let at = client.at("db1");
    let (user, host) = at.split_once('@').unwrap();
    (user.to_owned(), host.to_owned())
}

struct Mounted(std::path::PathBuf);

impl Mounted {
    fn at(rig: &Rig, client: &Client<'_>, remote: &Path) -> Self {
        let place = rig.new_folder("mounted");
        let mut sshfs = Command::new("sshfs");
        client.prepare(&mut sshfs);
        sshfs.arg("-o").arg(format!("ssh_command={}", client.remote_shell()));
        succeeded("sshfs", sshfs.arg(format!("{}:{}", client.at("db1"), remote.display())).arg(&place));
        Self(place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Not at once, as long as the last file is being closed.
        until("the file system to be unmounted", DEADLINE, || {
            Command::new("fusermount3")
                .args(["-q", "-u"])
                .arg(&self.0)
                .status()
                .unwrap()
                .success()
                .then_some(())
        });
    }
}
