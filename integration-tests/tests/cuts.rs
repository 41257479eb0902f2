//! A session that must end now, ends now, at the operator's and at the target's: also when its client has stopped reading
//! and everything in between is full.
//! It never asks the client to help.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Output};
use std::time::Duration;

use bartizan_integration_tests::{
    DEADLINE, Rig, Route, alive, by_both_routes, end, ended, first_line, freeze, soon, thaw, until,
};

/// What `ssh` exits with when its connection is gone.
const CONNECTION_GONE: i32 = 255;
/// Exit status of a channel that Bartizan ended with words.
const REFUSED: i32 = 254;

by_both_routes! {
    session_kill_cuts_a_client_that_does_not_read,
    operator_disable_cuts_a_client_that_does_not_read,
    device_lock_cuts_a_client_that_does_not_read,
    a_bundle_without_the_grant_cuts_a_client_that_does_not_read,
    a_bundle_with_the_same_grant_cuts_nobody,
    a_cut_ends_an_upload_that_the_target_does_not_take,
    a_terminal_without_input_and_output_is_cut,
    a_stop_seals_everything_and_leaves_nothing_running,
}

fn session_kill_cuts_a_client_that_does_not_read(route: Route) {
    cut(route, Ends::Session, "SESSION-001", kill);
}

fn operator_disable_cuts_a_client_that_does_not_read(route: Route) {
    cut(route, Ends::Login, "SESSION-002", |rig| rig.bartizan(&["operator", "disable", "ana"]));
}

fn device_lock_cuts_a_client_that_does_not_read(route: Route) {
    cut(route, Ends::Login, "SESSION-002", |rig| rig.bartizan(&["device", "lock", "ana-laptop"]));
}

fn a_bundle_without_the_grant_cuts_a_client_that_does_not_read(route: Route) {
    cut(route, Ends::Session, "SESSION-002", Rig::apply_without_grants);
}

fn a_bundle_with_the_same_grant_cuts_nobody(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let mut ssh = rig.client("ana").by(route).start("db1", "echo ready; read line; echo \"got $line\"");
    let mut out = BufReader::new(ssh.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert!(rig.apply_again().status.success());
    ssh.stdin.take().unwrap().write_all(b"this\n").unwrap();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\ngot this\n");
    assert!(ssh.wait().unwrap().success());
}

fn a_cut_ends_an_upload_that_the_target_does_not_take(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").start();
    let mut ssh = rig.client("ana").by(route).start("db1", "echo $$; exec sleep 600");
    let program = first_line(&mut ssh).parse().unwrap();
    let mut input = ssh.stdin.take().unwrap();
    let sending = std::thread::spawn(move || while input.write_all(&[0; 1 << 16]).is_ok() {});
    until("everything in between to be full", DEADLINE, || still(ssh.id()).then_some(()));
    let said = kill(&rig);
    assert!(said.status.success(), "{said:?}");
    until("the target to have lost the bastion", soon(), || (rig.target("db1").held() == 0).then_some(()));
    assert_eq!(ended("the client", &mut ssh, DEADLINE).code(), Some(REFUSED), "it reads, so it is told");
    sending.join().unwrap();
    // `sshd` passes no signals on to root's programs, and says so: the program was to hear of it.
    until("the target to be asked for a signal", soon(), || {
        rig.target("db1").log().contains("signal").then_some(())
    });
    end(program);
    rig.refusal("SESSION-001");
    rig.sealed_recordings(1);
    rig.verify_everything();
}

fn a_terminal_without_input_and_output_is_cut(route: Route) {
    let rig = Rig::new().operator("ana").target("db1").setting("ssh", "idle_timeout = \"2s\"").start();
    let mut shell = rig.client("ana").by(route).terminal("db1");
    shell.expect("One-time code: ");
    shell.line(&rig.phone("ana").fresh());
    // What moves is not idle.
    shell.line("for n in 1 2 3 4 5; do sleep 0.7; echo still $n; done; echo pid=$$.");
    shell.expect("still 5");
    shell.expect("pid=");
    let program = shell.expect(".").parse().unwrap();
    shell.expect("this session was idle for too long [SESSION-004]");
    until("the shell to be gone", DEADLINE, || (!alive(program)).then_some(()));
    assert_ne!(shell.exit(), 0);
    until("an idle connection to be closed", DEADLINE, || (rig.server().connections() == 0).then_some(()));
    rig.refusal("SESSION-004");
    rig.sealed_recordings(1);
    rig.verify_everything();
}

fn a_stop_seals_everything_and_leaves_nothing_running(route: Route) {
    let mut rig = Rig::new().operator("ana").target("db1").start();
    let (mut ssh, program) = flood(&rig, route);
    freeze(&ssh);
    assert!(rig.stop_server().success());
    until("the program on the target to be gone", soon(), || (!alive(program)).then_some(()));
    ssh.kill().unwrap();
    thaw(&ssh);
    ssh.wait().unwrap();
    rig.start_server();
    rig.sealed_recordings(1);
    rig.verify_everything();
}

/// Whether a process reads and writes no more than the trickle that keeps a stalled channel awake.
fn still(pid: u32) -> bool {
    let moved = || -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
        let counts = io.lines().filter_map(|line| line.split_once("char: "));
        counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum()
    };
    let before = moved();
    std::thread::sleep(Duration::from_millis(300));
    moved() - before < 4096
}

/// What ends with a cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// The session; by a jump, the connection that it came over holds on.
    Session,
    /// The login, and with it every connection that rests on it.
    Login,
}

fn kill(rig: &Rig) -> Output {
    let live = rig.live();
    assert_eq!(live.len(), 1, "{live:?}");
    rig.bartizan(&["session", "kill", live[0]["id"].as_str().unwrap()])
}

/// One scene where the client's output is not read, and one where the client itself stands still.
fn cut(route: Route, ends: Ends, code: &str, act: impl Fn(&Rig) -> Output) {
    for frozen in [false, true] {
        let rig = Rig::new().operator("ana").target("db1").start();
        let (mut ssh, program) = flood(&rig, route);
        if frozen {
            freeze(&ssh);
        }
        until("everything in between to be full", DEADLINE, || still(program).then_some(()));
        // A table that is read while others change it may miss a row.
        let both = || ((rig.server().connections(), rig.target("db1").held()) == (1, 1)).then_some(());
        until("both legs to be seen", DEADLINE, both);
        let said = act(&rig);
        assert!(said.status.success(), "{said:?}");
        gone_from_target(&rig, program);
        if ends == Ends::Login || route == Route::Direct {
            until("the operator's connection to be gone", soon(), || {
                (rig.server().connections() == 0).then_some(())
            });
        }
        until("the session to be off the list", DEADLINE, || rig.live().is_empty().then_some(()));
        if frozen {
            thaw(&ssh);
            // It reads what was on its way, and then there is nothing more.
            ssh.stdout.take();
        }
        let status = ended("the client", &mut ssh, DEADLINE);
        assert_eq!(status.code(), Some(CONNECTION_GONE), "{status}");
        rig.refusal(code);
        rig.sealed_recordings(1);
        rig.verify_everything();
    }
}

/// The target's own end of the connection, and what ran there. A look that a busy machine delays counts as when it began.
fn gone_from_target(rig: &Rig, program: u32) {
    let gone = || (rig.target("db1").held() == 0 && !alive(program)).then_some(());
    until("the target to have lost the bastion, and its program", soon(), gone);
}

/// `yes` through the bastion; the client, and the process on the target.
fn flood(rig: &Rig, route: Route) -> (Child, u32) {
    let mut ssh = rig.client("ana").by(route).start("db1", "echo $$; exec yes");
    let program = first_line(&mut ssh).parse().unwrap();
    (ssh, program)
}
