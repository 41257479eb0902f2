//! One connection to the bastion that many jumps share (`ControlMaster` on the outer level): each inner session lives and ends
//! for itself, and all end with what carries them.
//! It never shares an inner connection: that is a connection like any other, see `clients.rs` and `flow.rs`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::Child;

use bartizan_integration_tests::{
    BLOCK, Content, DEADLINE, Rig, Shared, alive, end, ended, first_line, freeze, send, soon, until,
};

/// The most memory the bastion may ever hold in these scenes.
const BOUND: u64 = 64 << 20;

#[test]
fn sessions_to_several_targets_share_one_login() {
    let rig = Rig::new().operator("ana").target("db1").target("web1").start();
    let outer = rig.client("ana").share_words();
    let ana = rig.client("ana").over(&outer);
    // Each waits for a file of the next, so all are open at once.
    let folder = rig.new_folder("meet");
    let folder = folder.display();
    let sessions = [("db1", 1, 2), ("web1", 2, 3), ("db1", 3, 1)].map(|(target, own, next)| {
        let wait = format!("touch {folder}/{own}; until [ -e {folder}/{next} ]; do sleep 0.05; done");
        (own, ana.start(target, &format!("{wait}; echo session {own}; exit {own}")))
    });
    for (own, session) in sessions {
        let ran = session.wait_with_output().unwrap();
        assert_eq!(ran.status.code(), Some(own), "{}", String::from_utf8_lossy(&ran.stderr));
        assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("session {own}\n"));
    }
    assert_eq!(rig.server().connections(), 1, "one connection carried them all");
    outer.close();
    assert_eq!(rig.client("ana").prompts(), ["One-time code: "], "asked once");
    let recordings = rig.sealed_recordings(3);
    let mut sessions: Vec<String> = recordings.iter().map(|one| one["session"].to_string()).collect();
    sessions.sort();
    sessions.dedup();
    assert_eq!(sessions.len(), 3, "each has a session of its own");
    let at_web1 = recordings.iter().filter(|one| one["target"] == "web1").count();
    assert_eq!((recordings.len(), at_web1), (3, 1));
    rig.verify_everything();
}

#[test]
fn a_stalled_session_does_not_hold_up_its_siblings() {
    let rig = Rig::new().operator("ana").target("db1").start();
    let outer = rig.client("ana").share_words();
    let ana = rig.client("ana").over(&outer);
    let (mut down, _) = flood(&rig, "db1", &outer);
    let mut up = ana.start("db1", "echo $$; exec sleep 600");
    let sleeper = first_line(&mut up).parse().unwrap();
    let mut input = up.stdin.take().unwrap();
    let flooding = std::thread::spawn(move || while input.write_all(&[0; BLOCK]).is_ok() {});
    for _ in 0..5 {
        let mut echo = ana.start("db1", "cat | sha256sum");
        let sent = send(echo.stdin.take().unwrap(), 4, Content::Noise);
        let mut said = String::new();
        echo.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said.split(' ').next(), Some(sent.join().unwrap().1.as_str()));
        assert!(ended("a sibling", &mut echo, DEADLINE).success());
    }
    for child in [&mut down, &mut up] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    flooding.join().unwrap();
    end(sleeper);
    let peak = rig.server().peak_memory();
    assert!(peak < BOUND, "the bastion held {peak} bytes");
}

#[test]
fn twenty_jumps_over_one_connection_leave_nothing_open() {
    jumps_over_one_connection(20);
}

#[test]
#[ignore = "long: five hundred jumps"]
fn five_hundred_jumps_over_one_connection_leave_nothing_open() {
    jumps_over_one_connection(500);
}

fn jumps_over_one_connection(count: usize) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let outer = rig.client("ana").share_words();
    let ana = rig.client("ana").over(&outer);
    let before = rig.server().descriptors();
    for n in 0..count {
        let ran = ana.ssh("db1", &format!("echo {n}"));
        assert_eq!(String::from_utf8_lossy(&ran.stdout), format!("{n}\n"), "{ran:?}");
    }
    until("descriptors to be given back", DEADLINE, || {
        (rig.server().descriptors() <= before + 4).then_some(())
    });
    let peak = rig.server().peak_memory();
    assert!(peak < BOUND, "the bastion held {peak} bytes");
    assert_eq!(rig.server().connections(), 1);
    outer.close();
    assert_eq!(rig.sealed_recordings(count).len(), count);
}

#[test]
fn a_session_that_is_cut_leaves_its_siblings_and_their_connection() {
    let rig = Rig::new().operator("ana").target("db1").target("web1").start();
    let outer = rig.client("ana").share_words();
    let (mut cut, program) = flood(&rig, "db1", &outer);
    let mut other = rig.client("ana").over(&outer).start("web1", "echo ready; cat");
    let mut out = BufReader::new(other.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let live = rig.live();
    let id = live.iter().find(|one| one["target"] == "db1").expect("a live session")["id"].as_str().unwrap();
    rig.said(&["session", "kill", id]);
    assert_eq!(ended("the session that was cut", &mut cut, DEADLINE).code(), Some(255));
    until("its program to be gone", soon(), || (!alive(program)).then_some(()));
    other.stdin.take().unwrap().write_all(b"this\n").unwrap();
    out.read_to_string(&mut line).unwrap();
    assert_eq!(line, "ready\nthis\n");
    assert!(other.wait().unwrap().success());
    assert_eq!(rig.client("ana").over(&outer).ssh("db1", "echo in").stdout, b"in\n", "and a new one begins");
    assert_eq!(rig.server().connections(), 1);
    rig.refusal("SESSION-001");
}

#[test]
fn a_locked_device_cuts_every_session_of_a_connection_that_stands_still() {
    let rig = Rig::new().operator("ana").target("db1").target("web1").start();
    let outer = rig.client("ana").share_words();
    let (mut one, first) = flood(&rig, "db1", &outer);
    let (mut two, second) = flood(&rig, "web1", &outer);
    freeze(outer.master());
    rig.said(&["device", "lock", "ana-laptop"]);
    let gone = || {
        let held = rig.target("db1").held() + rig.target("web1").held() + rig.server().connections();
        (!alive(first) && !alive(second) && held == 0).then_some(())
    };
    until("both legs of both sessions to be gone", soon(), gone);
    drop(outer);
    for child in [&mut one, &mut two] {
        assert_eq!(ended("a client without its connection", child, DEADLINE).code(), Some(255));
    }
    assert_eq!(rig.sealed_recordings(2).len(), 2);
    rig.refusal("SESSION-002");
    rig.verify_everything();
}

#[test]
fn every_session_ends_with_the_connection_that_carries_it() {
    let rig = Rig::new().operator("ana").target("db1").target("web1").start();
    let outer = rig.client("ana").share_words();
    let (mut one, first) = flood(&rig, "db1", &outer);
    let (mut two, second) = flood(&rig, "web1", &outer);
    drop(outer);
    for child in [&mut one, &mut two] {
        assert_eq!(ended("a client without its connection", child, DEADLINE).code(), Some(255));
    }
    until("the programs to be gone", DEADLINE, || (!alive(first) && !alive(second)).then_some(()));
    until("the sessions to be off the list", DEADLINE, || rig.live().is_empty().then_some(()));
    assert_eq!(rig.sealed_recordings(2).len(), 2);
    rig.verify_everything();
}

#[test]
fn a_connection_is_idle_when_nothing_is_carried_over_it() {
    let rig = Rig::new().operator("ana").target("db1").setting("ssh", "idle_timeout = \"4s\"").start();
    let outer = rig.client("ana").share_words();
    // A command without a terminal may be silent for longer than a connection may carry nothing.
    let ran = rig.client("ana").over(&outer).ssh("db1", "sleep 6; echo done");
    assert_eq!(ran.stdout, b"done\n", "{ran:?}");
    until("the idle connection to be closed", DEADLINE, || (rig.server().connections() == 0).then_some(()));
    drop(outer);
}

/// `yes` over a shared connection, its output unread; the client, and the process on the target.
fn flood(rig: &Rig, target: &str, outer: &Shared) -> (Child, u32) {
    let mut ssh = rig.client("ana").over(outer).start(target, "echo $$; exec yes");
    let program = first_line(&mut ssh).parse().unwrap();
    (ssh, program)
}
