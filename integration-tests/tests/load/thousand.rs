//! What an idle recorded session costs, and what a thousand of them leave when they have gone, politely or not at all.
//! It never counts what the system keeps for sockets.

use std::time::{Duration, Instant};

use bartizan_integration_tests::{Rig, Route, until};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::caller::{Caller, Line, Session};
use crate::echo::EchoTarget;
use crate::{raise_limit, runtime};

/// Logins under way at once.
const TOGETHER: usize = 6;
/// The bastion asks a silent client a few times, and that takes some minutes.
const SILENCE: Duration = Duration::from_secs(240);
/// The allocator gives back what was not used for ten seconds.
const GIVEN_BACK: Duration = Duration::from_secs(60);
/// How long a thousand do nothing before they are measured.
const IDLE: Duration = Duration::from_secs(15);
/// Long enough for a thousand recordings to be sealed.
const SETTLED: Duration = Duration::from_secs(120);

/// A bastion with a light target behind it.
struct Scene {
    // Dropped last: connections end with it.
    rig: Rig,
    target: EchoTarget,
    caller: Caller,
    runtime: Runtime,
    /// Memory and descriptors after the first sessions, which fill what is kept.
    warm: (u64, usize),
}

impl Scene {
    fn start() -> Self {
        raise_limit();
        let runtime = runtime();
        let rig = Rig::new().operator("ana").target("db1").start();
        let target = EchoTarget::start(runtime.handle());
        target.stands_in(&rig, "db1");
        let caller = Caller::new(&rig, "ana", "db1");
        let mut scene = Self { rig, target, caller, runtime, warm: (0, 0) };
        for route in Route::ALL {
            let few = scene.enter(route, 10);
            scene.leave(few);
            scene.all_gone(SETTLED);
        }
        scene.warm = (scene.rig.server().memory(), scene.rig.server().descriptors());
        scene
    }

    /// Lets so many in, each with one echo.
    fn enter(&self, route: Route, count: usize) -> Vec<(Line, Session)> {
        self.runtime.block_on(async {
            let (mut entering, mut inside) = (JoinSet::new(), Vec::new());
            for number in 0..count + TOGETHER {
                if number >= TOGETHER
                    && let Some(entered) = entering.join_next().await
                {
                    inside.push(entered.unwrap());
                }
                if number < count {
                    let caller = self.caller.clone();
                    entering.spawn(async move {
                        let line = caller.log_in(route).await.unwrap();
                        let mut session = line.session("echo").await.unwrap();
                        session.echo().await.unwrap();
                        (line, session)
                    });
                }
            }
            inside
        })
    }

    fn leave(&self, all: Vec<(Line, Session)>) {
        self.runtime.block_on(async {
            for (line, session) in all {
                session.end().await.unwrap();
                line.leave().await;
            }
        });
    }

    /// Waits until nothing of any session is left: not in the list, not at the target, no descriptor, no open recording.
    fn all_gone(&self, limit: Duration) {
        until("every session to be off the list", limit, || self.rig.live().is_empty().then_some(()));
        until("the target to have lost all", limit, || (self.target.held() == 0).then_some(()));
        until("the operators' connections to end", limit, || {
            (self.rig.server().connections() == 0).then_some(())
        });
        until("every recording to be sealed", limit, || {
            self.rig.recordings().iter().all(|one| !one["ended"].is_null()).then_some(())
        });
    }

    fn descriptors_are_back(&self) {
        until("descriptors to be given back", SETTLED, || {
            (self.rig.server().descriptors() <= self.warm.1 + 8).then_some(())
        });
    }
}

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
    cost(Route::Direct, 50, 400.0);
}

#[test]
fn fifty_jumped_sessions_cost_little_and_leave_nothing() {
    cost(Route::Jump, 50, 500.0);
}

#[test]
#[ignore = "long: a thousand sessions"]
fn a_thousand_named_sessions_cost_little_and_leave_nothing() {
    cost(Route::Direct, 1000, 150.0);
}

#[test]
#[ignore = "long: a thousand sessions"]
fn a_thousand_jumped_sessions_cost_little_and_leave_nothing() {
    cost(Route::Jump, 1000, 230.0);
}

/// Every third one closes its socket, resets it, or falls silent for ever.
fn abandoned(route: Route, count: usize, limit: Duration) {
    let scene = Scene::start();
    let all = scene.enter(route, count);
    assert_eq!(scene.rig.live().len(), count);
    for (number, (line, _)) in all.iter().enumerate() {
        match number % 3 {
            0 => line.grip().cut(),
            1 => line.grip().reset(),
            _ => {
                line.grip().go_deaf();
                line.grip().fall_silent();
            }
        }
    }
    let began = Instant::now();
    scene.all_gone(limit);
    println!("{route:?}: {count} abandoned sessions are gone after {:?}", began.elapsed());
    drop(all);
    scene.descriptors_are_back();
    println!("memory before {} KiB, after {} KiB", scene.warm.0 >> 10, scene.rig.server().memory() >> 10);
    // And the bastion works as before.
    let last = scene.enter(route, 3);
    scene.leave(last);
}

#[test]
#[ignore = "long: six hundred sessions, and the patience for silent clients"]
fn six_hundred_named_sessions_that_are_abandoned_leave_nothing() {
    abandoned(Route::Direct, 600, SILENCE);
}

#[test]
#[ignore = "long: six hundred sessions, and the patience for silent clients"]
fn six_hundred_jumped_sessions_that_are_abandoned_leave_nothing() {
    abandoned(Route::Jump, 600, SILENCE);
}
