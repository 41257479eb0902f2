//! A session that must end now, ends now: also when its client has stopped reading and everything in between is full.
//! It never asks the client to help.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{DEADLINE, Rig, until};
use rustix::process::{Pid, Signal};

/// From the command's return to both legs being gone.
const LIMIT: Duration = Duration::from_secs(1);

#[test]
fn session_kill_cuts_a_client_that_does_not_read() {
    cut("SESSION-001", |rig| {
        let live = rig.live();
        assert_eq!(live.len(), 1, "{live:?}");
        rig.bartizan(&["session", "kill", live[0]["id"].as_str().unwrap()])
    });
}

#[test]
fn operator_disable_cuts_a_client_that_does_not_read() {
    cut("SESSION-002", |rig| rig.bartizan(&["operator", "disable", "ana"]));
}

#[test]
fn device_lock_cuts_a_client_that_does_not_read() {
    cut("SESSION-002", |rig| rig.bartizan(&["device", "lock", "ana-laptop"]));
}

#[test]
fn a_bundle_without_the_grant_cuts_a_client_that_does_not_read() {
    cut("SESSION-002", Rig::apply_without_grants);
}

#[test]
fn a_bundle_with_the_same_grant_cuts_nobody() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let mut ssh = rig.client("ana").start("db1", "echo ready; read line; echo \"got $line\"");
    let mut out = BufReader::new(ssh.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(rig.apply_again().status.success());
    std::io::Write::write_all(&mut ssh.stdin.take().unwrap(), b"this\n").unwrap();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\ngot this\n");
    assert!(ssh.wait().unwrap().success());
}

#[test]
fn a_stop_seals_everything_and_leaves_nothing_running() {
    let mut rig = Rig::new().operator("ana").target("db1").start();
    let (mut ssh, pid) = flood(&rig);
    freeze(&ssh);
    assert!(rig.stop_server().success());
    assert!(!alive(pid));
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    rig.start_server();
    rig.sealed_recordings(1);
    rig.verify_everything();
}

fn cut(code: &str, act: impl FnOnce(&Rig) -> Output) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let (mut ssh, pid) = flood(&rig);
    freeze(&ssh);
    // Full everywhere: the bastion's counts stand still.
    until("everything in between to be full", DEADLINE, || still(&rig).then_some(()));
    assert_eq!(connections(&rig), 1);
    let said = act(&rig);
    assert!(said.status.success(), "{said:?}");
    let returned = Instant::now();
    until("the program on the target to be gone", LIMIT, || (!alive(pid)).then_some(()));
    until("the operator's connection to be gone", LIMIT, || (connections(&rig) == 0).then_some(()));
    assert!(returned.elapsed() < LIMIT, "{:?}", returned.elapsed());
    until("the session to be off the list", LIMIT, || rig.live().is_empty().then_some(()));
    ssh.kill().unwrap();
    ssh.wait().unwrap();
    rig.refusal(code);
    rig.sealed_recordings(1);
    rig.verify_everything();
}

/// `yes` through the bastion; the client, and the process on the target.
fn flood(rig: &Rig) -> (Child, u32) {
    let mut ssh = rig.client("ana").start("db1", "echo $$; exec yes");
    let mut line = String::new();
    let mut out = BufReader::with_capacity(16, ssh.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let pid = line.trim().parse().unwrap();
    // Kept open and unread.
    ssh.stdout = Some(out.into_inner());
    (ssh, pid)
}

/// Stops the client in its tracks.
fn freeze(ssh: &Child) {
    let pid = Pid::from_raw(ssh.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
}

/// Whether the recordings have stopped growing.
fn still(rig: &Rig) -> bool {
    let size = || -> u64 {
        let files = std::fs::read_dir(rig.state().join("recordings")).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let before = size();
    std::thread::sleep(Duration::from_millis(300));
    size() == before
}

/// Whether it still runs; one that nobody has buried yet does not.
fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// Established connections at the bastion's own end (state 01 in `/proc/net/tcp`).
fn connections(rig: &Rig) -> usize {
    let own = format!(":{:04X}", rig.server().address().port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let established = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&own) && fields[3] == "01"
    };
    table.lines().skip(1).filter(established).count()
}
