//! A bastion that runs out of descriptors: newcomers are shed, what runs goes on, and afterwards all is as before.
//! It never takes descriptors from anybody but the bastion it started.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::Duration;

use bartizan_integration_tests::{DEADLINE, Rig, until};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

use crate::raw::{from, is_answered, is_closed, raise_limit};

fn limit(rig: &Rig, descriptors: u64) {
    let pid = Pid::from_raw(rig.server().pid().try_into().unwrap());
    let limit = Rlimit { current: Some(descriptors), maximum: getrlimit(Resource::Nofile).maximum };
    prlimit(pid, Resource::Nofile, limit).unwrap();
}

/// The number that the bastion's next descriptor would have: with that as its limit it gets none.
fn lowest_free(rig: &Rig) -> u64 {
    let folder = format!("/proc/{}/fd", rig.server().pid());
    (0..).find(|number| std::fs::symlink_metadata(format!("{folder}/{number}")).is_err()).unwrap()
}

/// A running session that says what it is told.
struct Echo(Child, ChildStdin, BufReader<ChildStdout>);

impl Echo {
    fn start(rig: &Rig) -> Self {
        let mut ssh = rig.client("ana").start("db1", "cat");
        let (to, from) = (ssh.stdin.take().unwrap(), ssh.stdout.take().unwrap());
        let mut echo = Self(ssh, to, BufReader::new(from));
        echo.works();
        echo
    }

    fn works(&mut self) {
        let mut line = String::new();
        self.1.write_all(b"still here\n").unwrap();
        self.2.read_line(&mut line).unwrap();
        assert_eq!(line, "still here\n");
    }

    fn end(mut self) {
        drop(self.1);
        assert!(self.0.wait().unwrap().success());
        self.2.read_to_end(&mut Vec::new()).unwrap();
    }
}

fn crowd(rig: &Rig) -> Vec<TcpStream> {
    raise_limit();
    (0..400).map(|_| from(Ipv4Addr::LOCALHOST, rig.server().address()).unwrap()).collect()
}

fn shed(crowd: &[TcpStream]) -> usize {
    crowd.iter().filter(|stream| is_closed(stream)).count()
}

#[test]
fn with_256_descriptors_new_work_is_shed_and_running_work_goes_on() {
    let rig = Rig::new()
        .operator("ana")
        .target("db1")
        .setting("ssh", "max_unauthenticated = 1000")
        .setting("ssh", "max_unauthenticated_per_source = 1000")
        .start();
    let mut echo = Echo::start(&rig);
    limit(&rig, 256);
    let crowd = crowd(&rig);
    until("the rest to be shed", DEADLINE, || (shed(&crowd) > 200).then_some(()));
    assert!(rig.server().descriptors() < 256 - 32, "some are kept: {}", rig.server().descriptors());
    echo.works();
    assert!(rig.bartizan(&["session", "list", "--live"]).status.success(), "the other door too");
    drop(crowd);
    until("a login", DEADLINE, || rig.client("ana").ssh("db1", "true").status.success().then_some(()));
    echo.end();
    rig.verify_everything();
}

#[test]
fn without_any_descriptor_left_accepting_goes_on() {
    let rig = Rig::new().operator("ana").target("db1").setting("admin", "listen = \"127.0.0.1:0\"").start();
    let mut echo = Echo::start(&rig);
    limit(&rig, lowest_free(&rig));
    for _ in 0..3 {
        let crowd = crowd(&rig);
        // Whoever comes is closed by the reserve, not left to wait.
        until("all to be shed", DEADLINE, || (shed(&crowd) == crowd.len()).then_some(()));
        echo.works();
    }
    // The log's newest checkpoint is a file of its own: it waits, and the log goes on. What was recorded is soon said in it.
    until("a checkpoint to wait", DEADLINE, || {
        echo.works();
        std::fs::read_to_string(rig.path("server.log")).unwrap().contains("has to wait").then_some(())
    });
    echo.works();
    limit(&rig, 1024);
    let unsigned = || rig.number("bartizan_audit_unsigned_entries");
    until("all to be under a checkpoint", DEADLINE, || (unsigned() == 0.0).then_some(()));
    until("an answer", Duration::from_secs(10), || {
        is_answered(Ipv4Addr::LOCALHOST, rig.server().address()).then_some(())
    });
    assert!(rig.client("ana").ssh("db1", "true").status.success());
    echo.end();
    rig.verify_everything();
}
