//! Two hundred sessions for an hour, with logins that come and go: nothing fails, nothing grows.
//! It never judges how fast the machine is.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{DEADLINE, Rig, Route, until};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::caller::{Caller, Failed, Line, Session};
use crate::echo::EchoTarget;
use crate::figures::{Times, per_hour};
use crate::runtime;

/// Between two echoes of a session.
const PAUSE: Duration = Duration::from_secs(5);
/// Logins under way at once while the crowd gathers.
const TOGETHER: usize = 6;
/// Between two looks at memory and descriptors.
const LOOK: Duration = Duration::from_secs(10);
/// Shorter scenes say nothing about growth.
const TELLING: Duration = Duration::from_secs(600);
/// What may be more after an hour: noise of the allocator, and of who happens to be there.
const MORE_MEMORY: f64 = 6.0 * (1 << 20) as f64;
const MORE_DESCRIPTORS: f64 = 8.0;

/// How much.
#[derive(Clone, Copy)]
struct Plan {
    sessions: usize,
    logins_per_second: f64,
    /// How long those stay who come and go.
    visit: Duration,
    time: Duration,
}

#[test]
fn twenty_sessions_come_go_and_leave_nothing() {
    let visit = Duration::from_secs(1);
    soak(Plan { sessions: 20, logins_per_second: 4.0, visit, time: Duration::from_secs(4) });
}

#[test]
#[ignore = "long: an hour"]
fn an_hour_of_two_hundred_sessions_fails_nobody_and_grows_nothing() {
    let (visit, time) = (Duration::from_secs(20), Duration::from_secs(3600));
    soak(Plan { sessions: 200, logins_per_second: 2.0, visit, time });
}

/// What happened.
#[derive(Default)]
struct Tally {
    /// From the first packet to the end of the login.
    logins: Times,
    /// From there to the first echo: deciding, recording, the target.
    sessions: Times,
    echoes: Times,
    failures: Vec<String>,
}

/// What all share.
#[derive(Clone)]
struct Scene {
    caller: Caller,
    tally: Arc<Mutex<Tally>>,
    over: CancellationToken,
}

impl Scene {
    fn failed(&self, who: &str, why: &Failed) {
        let mut tally = self.tally.lock().unwrap();
        println!("FAILED {who}: {why}");
        tally.failures.push(format!("{who}: {why}"));
    }

    async fn enter(&self, number: usize) -> Result<(Line, Session), Failed> {
        let began = Instant::now();
        let line = self.caller.log_in(Route::ALL[number % 2]).await?;
        let login = began.elapsed();
        let mut session = line.session("echo").await?;
        session.echo().await?;
        let mut tally = self.tally.lock().unwrap();
        tally.logins.add(login);
        tally.sessions.add(began.elapsed() - login);
        Ok((line, session))
    }

    /// Echoes now and then until `time` or everything is over; leaves politely, or every third time without a word.
    async fn stay(
        &self,
        (line, mut session): (Line, Session),
        number: usize,
        time: Duration,
    ) -> Result<(), Failed> {
        let end = tokio::time::Instant::now() + time;
        // So that not all speak at once.
        let mut pause = PAUSE * (number % 50) as u32 / 50;
        loop {
            tokio::select! {
                () = self.over.cancelled() => break,
                () = tokio::time::sleep_until(end) => break,
                () = sleep(pause) => {}
            }
            pause = PAUSE;
            let took = session.echo().await?;
            self.tally.lock().unwrap().echoes.add(took);
        }
        match number % 3 {
            0 => line.grip().cut(),
            1 => line.leave().await,
            _ => {
                session.end().await?;
                line.leave().await;
            }
        }
        Ok(())
    }
}

/// One who stays for so long.
async fn attend(scene: Scene, who: &'static str, number: usize, time: Duration) {
    let attended = async {
        let entered = scene.enter(number).await?;
        scene.stay(entered, number, time).await
    };
    if let Err(why) = attended.await {
        scene.failed(&format!("{who} {number}"), &why);
    }
}

/// All who stay to the end, let in a few at a time.
async fn gather(scene: &Scene, count: usize) -> JoinSet<()> {
    let (mut entering, mut staying) = (JoinSet::new(), JoinSet::new());
    let settle = |entered: (usize, Result<(Line, Session), Failed>), staying: &mut JoinSet<()>| {
        let (number, scene) = (entered.0, scene.clone());
        match entered.1 {
            Ok(entered) => {
                staying.spawn(async move {
                    if let Err(why) = scene.stay(entered, number, Duration::from_secs(1 << 20)).await {
                        scene.failed(&format!("held {number}"), &why);
                    }
                });
            }
            Err(why) => scene.failed(&format!("held {number}"), &why),
        }
    };
    for number in 0..count {
        if entering.len() >= TOGETHER {
            settle(entering.join_next().await.unwrap().unwrap(), &mut staying);
        }
        let scene = scene.clone();
        entering.spawn(async move { (number, scene.enter(number).await) });
    }
    while let Some(entered) = entering.join_next().await {
        settle(entered.unwrap(), &mut staying);
    }
    staying
}

/// Logins at a steady rate, each for a visit.
async fn come_and_go(scene: Scene, plan: Plan) {
    let mut visits = JoinSet::new();
    let mut clock = tokio::time::interval(Duration::from_secs_f64(1.0 / plan.logins_per_second));
    let mut number = 0;
    loop {
        tokio::select! {
            () = scene.over.cancelled() => break,
            _ = clock.tick() => {
                number += 1;
                visits.spawn(attend(scene.clone(), "visitor", number, plan.visit));
            }
            Some(_) = visits.join_next() => {}
        }
    }
    while visits.join_next().await.is_some() {}
}

/// What the bastion held, from time to time.
#[derive(Default)]
struct Samples {
    memory: Vec<(Duration, f64)>,
    descriptors: Vec<(Duration, f64)>,
}

impl Samples {
    fn look(&mut self, rig: &Rig, at: Duration) {
        self.memory.push((at, rig.server().memory() as f64));
        self.descriptors.push((at, rig.server().descriptors() as f64));
    }

    /// Growth an hour of both, when what comes before `warm` is left out.
    fn slopes(&self, warm: Duration) -> (f64, f64) {
        let after = |samples: &[(Duration, f64)]| {
            let kept: Vec<_> = samples.iter().filter(|(at, _)| *at >= warm).copied().collect();
            per_hour(&kept)
        };
        (after(&self.memory), after(&self.descriptors))
    }
}

/// Looks on until the time is over.
async fn watch(rig: &Rig, scene: &Scene, time: Duration) -> Samples {
    let (mut samples, began, mut minute) = (Samples::default(), Instant::now(), 0);
    while began.elapsed() < time {
        sleep(LOOK.min(time / 10)).await;
        samples.look(rig, began.elapsed());
        if began.elapsed().as_secs() / 60 > minute {
            minute = began.elapsed().as_secs() / 60;
            report(rig, scene, &format!("minute {minute}"));
        }
    }
    samples
}

fn report(rig: &Rig, scene: &Scene, when: &str) {
    let tally = scene.tally.lock().unwrap();
    println!(
        "{when}: memory {} KiB, descriptors {}, failures {}; logins {}; sessions {}; echoes {}",
        rig.server().memory() >> 10,
        rig.server().descriptors(),
        tally.failures.len(),
        tally.logins,
        tally.sessions,
        tally.echoes,
    );
}

fn soak(plan: Plan) {
    let runtime = runtime();
    let rig = Rig::new().operator("ana").target("db1").fresh("12h").start();
    let target = EchoTarget::start(runtime.handle());
    target.stands_in(&rig, "db1");
    let caller = Caller::new(&rig, "ana", "db1");
    let scene = Scene { caller, tally: Arc::default(), over: CancellationToken::new() };
    let idle = (rig.server().memory(), rig.server().descriptors());
    let samples = runtime.block_on(async {
        let began = Instant::now();
        let mut staying = gather(&scene, plan.sessions).await;
        report(&rig, &scene, &format!("{} sessions after {:?}", staying.len(), began.elapsed()));
        let visitors = tokio::spawn(come_and_go(scene.clone(), plan));
        let samples = watch(&rig, &scene, plan.time).await;
        assert!(target.held() >= plan.sessions, "{} of {}", target.held(), plan.sessions);
        scene.over.cancel();
        visitors.await.unwrap();
        while staying.join_next().await.is_some() {}
        samples
    });
    let warm = plan.time / 5;
    let (memory, descriptors) = samples.slopes(warm);
    report(&rig, &scene, "at the end");
    println!(
        "after a warm-up of {warm:?}, in an hour: memory {:.0} KiB more, descriptors {descriptors:.2} more",
        memory / 1024.0
    );
    until("every session to be off the list", DEADLINE, || rig.live().is_empty().then_some(()));
    until("the target to have lost all", DEADLINE, || (target.held() == 0).then_some(()));
    until("descriptors to be given back", DEADLINE, || {
        (rig.server().descriptors() <= idle.1 + 8).then_some(())
    });
    println!("memory before {} KiB, after {} KiB", idle.0 >> 10, rig.server().memory() >> 10);
    let tally = scene.tally.lock().unwrap();
    assert!(tally.failures.is_empty(), "{} failures: {:?}", tally.failures.len(), tally.failures.first());
    assert!(tally.echoes.count() > 0 && tally.logins.count() > plan.sessions);
    if plan.time >= TELLING {
        assert!(memory < MORE_MEMORY, "memory grows by {memory} bytes an hour");
        assert!(descriptors < MORE_DESCRIPTORS, "descriptors grow by {descriptors} an hour");
    }
    left_behind(&rig, tally.logins.count());
}

/// Every recording is sealed, and the log is whole.
fn left_behind(rig: &Rig, sessions: usize) {
    let recordings = rig.sealed_recordings(sessions);
    assert_eq!(recordings.len(), sessions);
    for recording in recordings.iter().step_by(sessions / 10) {
        rig.said(&["recording", "verify", recording["id"].as_str().unwrap()]);
    }
    let said = rig.said(&["audit", "verify"]);
    assert!(said.contains("ok"), "{said}");
}
