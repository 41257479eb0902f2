//! Sessions whose client is gone without a word: its socket is closed, it is reset, or the machine is not there any more.
//! It never leaves this test's own network, which is how a machine can vanish from it.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::time::{Duration, Instant};

use bartizan_integration_tests::Route;

use crate::crowd::Scene;

/// The system asks who is silent for a few times, and that takes some minutes.
const SILENCE: Duration = Duration::from_secs(300);
/// Where the machines are that vanish, and what is said to the system for that.
const VANISHING: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 3, 1));
const VANISH: [&str; 6] = ["route", "add", "blackhole", "127.0.3.0/24", "table", "local"];

/// A third of the clients closes its socket, a third resets it, and a third vanishes with its network.
fn abandoned(test: &str, route: Route, count: usize) {
    if in_own_network(test) {
        left(route, count * 2 / 3, count / 3);
    }
}

fn left(route: Route, count: usize, vanish: usize) {
    let scene = Scene::start();
    let all = scene.enter(route, count);
    let vanishing = scene.enter_from(route, vanish, Some(VANISHING));
    assert_eq!(scene.rig.live().len(), count + vanish);
    if vanish > 0 {
        // Nothing is on its way to them: what is, the system tries to deliver for a quarter of an hour.
        std::thread::sleep(Duration::from_secs(2));
        assert!(Command::new("ip").args(VANISH).status().unwrap().success());
    }
    for (number, (line, _)) in all.iter().enumerate() {
        if number % 2 == 0 { line.grip().cut() } else { line.grip().reset() }
    }
    let began = Instant::now();
    scene.all_gone(SILENCE);
    println!("{route:?}: {count} and {vanish} abandoned sessions are gone after {:.0?}", began.elapsed());
    drop((all, vanishing));
    scene.descriptors_are_back();
    println!("memory before {} KiB, after {} KiB", scene.warm.0 >> 10, scene.rig.server().memory() >> 10);
    // And the bastion works as before.
    let last = scene.enter(route, 3);
    scene.leave(last);
}

/// Runs this test once more in a network of its own; `true` there.
fn in_own_network(test: &str) -> bool {
    let network = |who: &str| std::fs::read_link(format!("/proc/{who}/ns/net")).unwrap();
    if network("self") != network(&std::os::unix::process::parent_id().to_string()) {
        return true;
    }
    let mut again = Command::new("unshare");
    again.args(["--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
    again.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--include-ignored", "--nocapture"]);
    assert!(again.status().unwrap().success(), "{test}, in a network of its own");
    false
}

#[test]
fn a_dozen_named_sessions_leave_nothing() {
    left(Route::Direct, 12, 0);
}

#[test]
fn a_dozen_jumped_sessions_leave_nothing() {
    left(Route::Jump, 12, 0);
}

#[test]
#[ignore = "long: six hundred sessions, and the patience for machines that vanish"]
fn named_sessions_leave_nothing() {
    abandoned("abandoned::named_sessions_leave_nothing", Route::Direct, 600);
}

#[test]
#[ignore = "long: six hundred sessions, and the patience for machines that vanish"]
fn jumped_sessions_leave_nothing() {
    abandoned("abandoned::jumped_sessions_leave_nothing", Route::Jump, 600);
}
