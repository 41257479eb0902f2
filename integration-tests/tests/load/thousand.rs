//! What an idle recorded session costs, and what a thousand of them leave when they have gone.
//! It never counts what the system keeps for sockets.

use std::time::{Duration, Instant};

use bartizan_integration_tests::Route;

use crate::crowd::{SETTLED, Scene};

/// The allocator gives back what was not used for ten seconds.
const GIVEN_BACK: Duration = Duration::from_secs(60);
/// How long a thousand do nothing before they are measured.
const IDLE: Duration = Duration::from_secs(15);

/// What so many sessions cost, each, in KiB, and what of it is still there when they have gone.
fn cost(route: Route, count: usize, most: f64) {
    let scene = Scene::start();
    let memory = || scene.rig.server().memory();
    let began = Instant::now();
    let all = scene.enter(route, count);
    let entered = began.elapsed();
    let first = memory();
    // Idle: what the logins needed is given back, if it ever is.
    if count >= 1000 {
        std::thread::sleep(IDLE);
    }
    let held = memory();
    let each = (held - scene.warm.0) as f64 / 1024.0 / count as f64;
    assert_eq!(scene.rig.live().len(), count);
    scene.leave(all);
    scene.all_gone(SETTLED);
    scene.descriptors_are_back();
    let left = memory();
    // What is free is given back in time.
    let began = Instant::now();
    let enough = scene.warm.0 + scene.warm.0 / 5;
    while memory() > enough && began.elapsed() < GIVEN_BACK {
        std::thread::sleep(Duration::from_millis(500));
    }
    let after = memory();
    println!(
        "{route:?}: {count} sessions in {entered:?}; {each:.0} KiB each; memory before {} KiB, with all {} KiB and {} KiB when they are idle, afterwards {} KiB, {} KiB after {:?}, most {} KiB",
        scene.warm.0 >> 10,
        first >> 10,
        held >> 10,
        left >> 10,
        after >> 10,
        began.elapsed(),
        scene.rig.server().peak_memory() >> 10,
    );
    assert!(each < most, "{each:.0} KiB for each session");
    assert!(after <= enough, "{after} bytes stay behind");
}

#[test]
fn fifty_named_sessions_cost_little_and_leave_nothing() {
    cost(Route::Direct, 50, 250.0);
}

#[test]
fn fifty_jumped_sessions_cost_little_and_leave_nothing() {
    cost(Route::Jump, 50, 350.0);
}

#[test]
#[ignore = "long: a thousand sessions"]
fn a_thousand_named_sessions_cost_little_and_leave_nothing() {
    cost(Route::Direct, 1000, 170.0);
}

#[test]
#[ignore = "long: a thousand sessions"]
fn a_thousand_jumped_sessions_cost_little_and_leave_nothing() {
    cost(Route::Jump, 1000, 230.0);
}
