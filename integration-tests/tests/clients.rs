//! What stock clients do through the bastion, by the login name and by a jump: commands, shells, files, trees, repositories,
//! shared connections.
//! It never uses a client of ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use bartizan_integration_tests::{Rig, Route, by_both_routes, noise, sha256};
use serde_json::Value;

by_both_routes! {
    a_command_keeps_its_status_its_signal_and_its_streams,
    a_status_that_comes_after_the_end_of_output_still_arrives,
    input_reaches_the_command_and_ends_when_the_client_says_so,
    only_listed_variables_cross,
    a_shell_has_a_terminal_with_size_name_interrupt_and_status,
    files_go_both_ways_by_scp_and_sftp,
    a_tree_goes_there_and_back_by_rsync,
    #[ignore = "long: 200 MB"]
    a_large_tree_goes_there_and_back_by_rsync,
    a_repository_is_cloned,
    three_channels_share_one_connection_and_each_has_its_recording,
}

fn a_command_keeps_its_status_its_signal_and_its_streams(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(route);
    for status in [0, 1, 7, 255] {
        let ran = ana.ssh("db1", &format!("echo out; echo err >&2; exit {status}"));
        assert_eq!(ran.status.code(), Some(status), "{ran:?}");
        assert_eq!(String::from_utf8_lossy(&ran.stdout), "out\n");
        assert_eq!(String::from_utf8_lossy(&ran.stderr), "err\n");
    }
    for signal in [9, 15] {
        let killed = ana.clone().option("LogLevel DEBUG1").ssh("db1", &format!("kill -{signal} $$"));
        let log = String::from_utf8_lossy(&killed.stderr);
        assert_eq!(killed.status.code(), Some(255), "{log}");
        assert!(log.contains("rtype exit-signal"), "the client was told a signal: {log}");
    }
    let recordings = rig.sealed_recordings(6);
    assert_eq!(recordings.len(), 6, "one recording a channel");
    assert!(recordings.iter().all(|one| one["operator"] == "ana" && one["target"] == "db1"));
    let ended = |event: &Value| event["type"] == "channel.session" && event["outcome"] == "ok";
    let events: Vec<Value> = rig.events().into_iter().filter(ended).collect();
    let said =
        |key: &str| -> Vec<Value> { events.iter().map(|event| event["detail"][key].clone()).collect() };
    let null = Value::Null;
    assert_eq!(said("exit"), [0.into(), 1.into(), 7.into(), 255.into(), null.clone(), null.clone()]);
    assert_eq!(
        said("signal"),
        [null.clone(), null.clone(), null.clone(), null, "KILL".into(), "TERM".into()]
    );
    let address = rig.target("db1").address().to_string();
    assert!(said("address").iter().all(|at| *at == address), "{events:#?}");
    rig.verify_everything();
}

fn a_status_that_comes_after_the_end_of_output_still_arrives(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(route);
    let line = "echo out; exec >&- 2>&-; sleep 0.5; exit 7";
    // On a shared connection the client closes a channel as soon as it has nothing to send and sees the end of output.
    for ran in [ana.ssh("db1", line), ana.share("db1").command(line).output().unwrap()] {
        assert_eq!((ran.status.code(), &ran.stdout[..]), (Some(7), &b"out\n"[..]), "{ran:?}");
    }
}

fn input_reaches_the_command_and_ends_when_the_client_says_so(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let file = rig.path("input");
    std::fs::write(&file, "one\ntwo\nthree\n").unwrap();
    let ana = rig.client("ana").by(route);
    let mut ssh = ana.command("ssh");
    ssh.arg(ana.at("db1")).arg("wc -l; echo after").stdin(std::fs::File::open(&file).unwrap());
    assert_eq!(String::from_utf8_lossy(&ssh.output().unwrap().stdout), "3\nafter\n");
}

#[test]
fn a_named_subsystem_runs_only_where_it_is_granted() {
    let sshd = "Subsystem twice /usr/bin/sed p";
    let granted = Rig::new().operator("ana").target("db1").sshd(sshd).allow("subsystem:twice").start();
    let denied = Rig::new().operator("ana").target("db1").sshd(sshd).start();
    let file = granted.path("input");
    std::fs::write(&file, "in\n").unwrap();
    let ran = |rig: &Rig| {
        let ana = rig.client("ana");
        let mut ssh = ana.command("ssh");
        ssh.args(["-s", &ana.at("db1"), "twice"]).stdin(std::fs::File::open(&file).unwrap()).output().unwrap()
    };
    assert_eq!(ran(&granted).stdout, b"in\nin\n");
    assert_eq!(granted.sealed_recordings(1)[0]["kind"], "subsystem:twice");
    assert_eq!(ran(&denied).status.code(), Some(254));
    denied.refusal("ACCESS-002");
}

fn only_listed_variables_cross(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").sshd("AcceptEnv *").start();
    let ana = rig.client("ana").by(route).option("SendEnv LANG LD_LIBRARY_PATH BASH_ENV");
    let mut ssh = ana.command("ssh");
    ssh.arg(ana.at("db1")).arg("echo \"$LANG|$LD_LIBRARY_PATH|$BASH_ENV\"");
    ssh.env("LANG", "C.UTF-8").env("LD_LIBRARY_PATH", "/nowhere").env("BASH_ENV", "/nowhere");
    assert_eq!(String::from_utf8_lossy(&ssh.output().unwrap().stdout), "C.UTF-8||\n");
}

fn a_shell_has_a_terminal_with_size_name_interrupt_and_status(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let mut shell = rig.client("ana").by(route).terminal("db1");
    shell.expect("One-time code: ");
    shell.line(&rig.phone("ana").fresh());
    shell.line("PS1='ready> '; stty size; echo $TERM");
    shell.expect("30 100");
    shell.expect("xterm-256color");
    shell.resize(120, 40);
    shell.line("until [ \"$(stty size)\" = '40 120' ]; do :; done; echo re''sized");
    shell.expect("resized");
    shell.line("yes");
    shell.expect("y\r\ny\r\n");
    shell.send("\x03");
    shell.line("echo still he''re");
    shell.expect("still here");
    shell.line("exit 7");
    assert_eq!(shell.exit(), 7);
    let recordings = rig.sealed_recordings(1);
    let text = rig.text_of(recordings[0]["id"].as_str().unwrap());
    assert!(text.contains("still here") && text.contains("resized"), "{text}");
    rig.verify_everything();
}

fn files_go_both_ways_by_scp_and_sftp(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(route);
    let bytes = noise(5 << 20, 1);
    let sent = rig.path("sent file");
    std::fs::write(&sent, &bytes).unwrap();
    for (round, options) in [&[][..], &["-O"]].into_iter().enumerate() {
        let (there, back) = (rig.path(format!("there-{round}")), rig.path(format!("back-{round}")));
        let remote = format!("{}:{}", ana.at("db1"), there.display());
        let scp = |from: &Path, to: &Path| {
            let ran = ana.command("scp").args(options).arg("-p").arg(from).arg(to).output().unwrap();
            assert!(ran.status.success(), "scp {options:?}: {}", String::from_utf8_lossy(&ran.stderr));
        };
        scp(&sent, Path::new(&remote));
        scp(Path::new(&remote), &back);
        assert_eq!(sha256(&std::fs::read(&there).unwrap()), sha256(&bytes));
        assert_eq!(sha256(&std::fs::read(&back).unwrap()), sha256(&bytes));
    }
    let (folder, back, batch) = (rig.path("folder"), rig.path("back-sftp"), rig.path("batch"));
    let (sent, folder_text) = (sent.display(), folder.display());
    let text = format!(
        "mkdir {folder_text}\nput \"{sent}\" {folder_text}/a\nrename {folder_text}/a {folder_text}/b\nchmod 640 {folder_text}/b\n\
         ls -l {folder_text}\nget {folder_text}/b {}\n",
        back.display()
    );
    std::fs::write(&batch, text).unwrap();
    let ran = ana.command("sftp").arg("-b").arg(&batch).arg(ana.at("db1")).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(sha256(&std::fs::read(&back).unwrap()), sha256(&bytes));
    assert_eq!(rig.sealed_recordings(5).len(), 5);
    rig.verify_everything();
}

fn a_tree_goes_there_and_back_by_rsync(route: Route) {
    rsync_tree(route, 16 << 20);
}

fn a_large_tree_goes_there_and_back_by_rsync(route: Route) {
    rsync_tree(route, 200_000_000);
}

fn rsync_tree(route: Route, size: usize) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(route);
    let (tree, there, back) = (rig.new_folder("tree"), rig.path("there"), rig.path("back"));
    plant(&tree, size);
    let rsync = |from: String, to: String| {
        let mut command = Command::new("rsync");
        command.args(["-a", "--delete", "-e", &ana.remote_shell()]).arg(from).arg(to);
        ana.prepare(&mut command);
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let remote = format!("{}:{}/", ana.at("db1"), there.display());
    rsync(format!("{}/", tree.display()), remote.clone());
    rsync(remote, format!("{}/", back.display()));
    assert_eq!(leaves(&tree), leaves(&back));
    assert!(rig.server().peak_memory() < 64 << 20, "{} bytes", rig.server().peak_memory());
    assert_eq!(rig.sealed_recordings(2).len(), 2);
    rig.verify_everything();
}

fn a_repository_is_cloned(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(route);
    let (origin, clone) = (rig.new_folder("origin"), rig.path("clone"));
    std::fs::write(origin.join("file"), noise(100_000, 2)).unwrap();
    let git = |folder: &Path, arguments: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(folder).args(["-c", "user.name=t", "-c", "user.email=t@example"]).args(arguments);
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        ana.prepare(&mut command);
        command.env("GIT_SSH_COMMAND", ana.remote_shell());
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    git(&origin, &["init", "-q", "-b", "main"]);
    git(&origin, &["add", "file"]);
    git(&origin, &["commit", "-q", "-m", "first"]);
    let url = ana.url("db1", &origin);
    git(&rig.path(""), &["clone", "-q", &url, clone.to_str().unwrap()]);
    let head = ["rev-parse", "HEAD"];
    assert_eq!(git(&origin, &head), git(&clone, &head));
    assert_eq!(rig.sealed_recordings(1).len(), 1);
    rig.verify_everything();
}

fn three_channels_share_one_connection_and_each_has_its_recording(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let ana = rig.client("ana").by(route);
    let shared = ana.share("db1");
    // Each waits for a file of the next, so all three are open at once.
    let folder = rig.new_folder("meet");
    let line = |own: u32, next: u32| {
        let folder = folder.display();
        format!(
            "touch {folder}/{own}; until [ -e {folder}/{next} ]; do sleep 0.05; done; echo channel {own}; exit {own}"
        )
    };
    let channels: Vec<_> =
        [(1, 2), (2, 3), (3, 1)].map(|(own, next)| (own, shared.start(&line(own, next)))).into();
    for (own, channel) in channels {
        let ran = channel.wait_with_output().unwrap();
        assert_eq!(ran.status.code(), Some(own as i32), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("channel {own}\n"));
    }
    let recordings = rig.sealed_recordings(3);
    assert_eq!(recordings.len(), 3);
    assert!(recordings.iter().all(|one| one["session"] == recordings[0]["session"]), "one session");
    shared.close();
    assert_eq!(ana.prompts().len(), 1);
    rig.verify_everything();
}

#[test]
fn one_code_is_enough_for_two_logins_on_one_device_and_not_for_another() {
    let rig = Rig::new().operator("ana").operator("bob").target("db1").start();
    let ana = rig.client("ana");
    for _ in 0..2 {
        let ran = ana.ssh("db1", "true");
        assert!(ran.status.success(), "{ran:?}");
    }
    assert_eq!(ana.prompts(), ["One-time code: "], "asked once");
    // Bob's laptop is not Ana's: whatever was typed at hers does not count there, if she may use it at all.
    let elsewhere = rig.client("ana").at_device_of("bob").answering("000000").ssh("db1", "true");
    assert!(!elsewhere.status.success());
    assert_eq!(rig.sealed_recordings(2).len(), 2);
}

/// A tree of this many bytes: small files, large ones, an empty one, a link, odd names.
fn plant(root: &Path, size: usize) {
    let mut left = size;
    for n in 0u32.. {
        let part = match n % 10 {
            0 => 1 << 20,
            1 => 300_000,
            _ => 20_000,
        };
        let folder = root.join(format!("folder {}", n % 7)).join(format!("deep-{}", n % 3));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("file ü {n}")), noise(part.min(left), u64::from(n))).unwrap();
        left = left.saturating_sub(part);
        if left == 0 {
            break;
        }
    }
    std::fs::write(root.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("empty", root.join("link")).unwrap();
}

/// Every file of a tree with the checksum of its content, or where it points to.
fn leaves(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_owned();
            if path.is_symlink() {
                found.push((name, std::fs::read_link(&path).unwrap().display().to_string()));
            } else if path.is_dir() {
                folders.push(path);
            } else {
                found.push((name, sha256(&std::fs::read(&path).unwrap())));
            }
        }
    }
    found.sort();
    found
}
