//! From a command to the end of both legs of every session that it ends: of clients that read, that do not, that stall an
//! exchange of keys, and that are stopped.
//! It never asks a client whether it was cut: the kernel says so.

use std::process::{Child, Output};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{DEADLINE, Rig, Route, first_line, freeze, soon, thaw, until};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::caller::{Caller, Line, Session};
use crate::echo::EchoTarget;
use crate::figures::Times;
use crate::kernel::{Pair, Watch, held_at};
use crate::{raise_limit, runtime};

/// From the command's return to the end of both legs.
const LIMIT: Duration = Duration::from_secs(1);
/// Sessions that one command each ends.
const KILLED: usize = 25;
/// Stock clients that are stopped.
const STOPPED: usize = 10;

/// What ends all sessions at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Lock,
    Disable,
    Grants,
}

/// How a client behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Reads,
    /// It asked for output without end.
    DoesNotRead,
    StallsAnExchange,
    /// A stock `ssh`.
    Stopped,
}

const MANNERS: [Manner; 4] = [Manner::Reads, Manner::DoesNotRead, Manner::StallsAnExchange, Manner::Stopped];

/// A bastion, a target, and sessions of every manner.
struct Scene {
    rig: Rig,
    target: EchoTarget,
    caller: Caller,
    runtime: Runtime,
    inside: Vec<(Line, Session)>,
    stopped: Vec<Child>,
}

impl Drop for Scene {
    fn drop(&mut self) {
        for ssh in &mut self.stopped {
            let _ = ssh.kill();
            let _ = ssh.wait();
        }
    }
}

impl Scene {
    fn start() -> Self {
        raise_limit();
        let runtime = runtime();
        let rig = Rig::new().operator("ana").operator("eve").target("db1").start();
        let target = EchoTarget::start(runtime.handle());
        target.stands_in(&rig, "db1");
        let caller = Caller::new(&rig, "ana", "db1");
        Self { rig, target, caller, runtime, inside: Vec::new(), stopped: Vec::new() }
    }

    /// Lets so many in, of all manners in turn and by both routes.
    fn fill(&mut self, count: usize) {
        let stopped = (count / MANNERS.len()).min(STOPPED);
        let caller = &self.caller;
        let others = self.runtime.block_on(async {
            let mut entering = JoinSet::new();
            let mut inside = Vec::new();
            for number in 0..count - stopped {
                let caller = caller.clone();
                entering.spawn(async move {
                    enter(&caller, Route::ALL[number % 2], MANNERS[number / 2 % 3]).await
                });
                if entering.len() >= 6 {
                    inside.push(entering.join_next().await.unwrap().unwrap());
                }
            }
            inside.extend(entering.join_all().await);
            inside
        });
        self.inside = others;
        for number in 0..stopped {
            self.stop_one(Route::ALL[number % 2]);
        }
        assert_eq!(self.rig.live().len(), count);
        // Those who do not read are to be stuck, and what they have asked for to be everywhere on the way.
        std::thread::sleep(Duration::from_millis(500));
    }

    /// A stock client with output without end that is stopped in its tracks.
    fn stop_one(&mut self, route: Route) {
        let mut ssh = self.rig.client("ana").by(route).start("db1", "flood");
        first_line(&mut ssh);
        freeze(&ssh);
        self.stopped.push(ssh);
    }

    /// The ends that the bastion holds towards operators, and the target's ends.
    fn legs(&self) -> Vec<Pair> {
        [held_at(self.rig.server().address()), held_at(self.target.address())].concat()
    }

    /// What `by` says, with the time at which it began and returned.
    fn say(&self, by: By) -> (Instant, Instant) {
        let began = Instant::now();
        let said = match by {
            By::Lock => self.rig.bartizan(&["device", "lock", "ana-laptop"]),
            By::Disable => self.rig.bartizan(&["operator", "disable", "ana"]),
            By::Grants => self.without_grants(),
        };
        assert!(said.status.success(), "{said:?}");
        (began, Instant::now())
    }

    /// The bundle again, and nobody may do anything.
    fn without_grants(&self) -> Output {
        let bundle = self.target.bundle(&self.rig, "db1");
        let (kept, _) = bundle.split_once("\n[[grant]]").unwrap();
        self.rig.apply(kept)
    }

    /// Nothing is left, and everything is proven.
    fn settle(mut self) {
        until("every session to be off the list", DEADLINE, || self.rig.live().is_empty().then_some(()));
        for ssh in &mut self.stopped {
            thaw(ssh);
            let _ = ssh.kill();
            let _ = ssh.wait();
        }
        self.stopped.clear();
        let expected = self.rig.recordings().len();
        self.rig.sealed_recordings(expected);
        let said = self.rig.said(&["audit", "verify"]);
        assert!(said.contains("ok"), "{said}");
    }
}

async fn enter(caller: &Caller, route: Route, manner: Manner) -> (Line, Session) {
    let line = caller.log_in(route).await.unwrap();
    let command = if manner == Manner::DoesNotRead { "flood" } else { "echo" };
    let mut session = line.session(command).await.unwrap();
    match manner {
        Manner::DoesNotRead => {
            session.output().await.unwrap();
            line.grip().go_deaf();
        }
        Manner::StallsAnExchange => {
            session.echo().await.unwrap();
            line.stall_exchange().await.unwrap();
        }
        Manner::Reads | Manner::Stopped => {
            session.echo().await.unwrap();
        }
    }
    (line, session)
}

/// One command ends all of them.
fn at_once(by: By, count: usize) {
    let mut scene = Scene::start();
    scene.fill(count);
    let target = scene.target.address();
    let mut legs = scene.legs();
    // Without a grant a session ends, and so does its connection; of a jump only what is inside.
    if by == By::Grants {
        legs.retain(|pair| pair.own == target.port());
    }
    let watch = Watch::over(&legs);
    let (began, returned) = scene.say(by);
    until("both legs of every session to be gone", DEADLINE, || (watch.gone() == legs.len()).then_some(()));
    told(&format!("{by:?}"), count, &watch.times(returned), returned - began);
    scene.settle();
}

/// One command for each.
fn one_by_one(count: usize) {
    let mut scene = Scene::start();
    scene.fill(count);
    let (mut all, mut longest) = (Vec::new(), Duration::ZERO);
    let live = scene.rig.live();
    for session in live.iter().take(KILLED.min(count * 2 / 3)) {
        let before = scene.target.held();
        let watched = held_at(scene.target.address());
        let watch = Watch::over(&watched);
        let began = Instant::now();
        scene.rig.said(&["session", "kill", session["id"].as_str().unwrap()]);
        let returned = Instant::now();
        until("its leg to be gone", DEADLINE, || (watch.gone() > 0).then_some(()));
        all.push(watch.first().saturating_duration_since(returned));
        longest = longest.max(returned - began);
        until("the target to have lost it", DEADLINE, || (scene.target.held() < before).then_some(()));
    }
    told("Kill", count, &all, longest);
    // The others were not touched.
    let left = count - all.len();
    until("those who were killed to be off the list", DEADLINE, || {
        (scene.rig.live().len() == left).then_some(())
    });
    std::thread::sleep(LIMIT);
    assert_eq!((scene.rig.live().len(), scene.target.held()), (left, left));
    scene.say(By::Lock);
    scene.settle();
}

/// Prints the figures, and holds them against the promise.
fn told(by: &str, sessions: usize, times: &[Duration], command: Duration) {
    let mut all = Times::default();
    all.extend(times.iter().copied());
    println!(
        "{by}: {sessions} sessions; the command took {command:.0?} at most; from its return to the end of a leg: {all}"
    );
    assert!(all.longest() < soon(), "{all}");
}

#[test]
fn device_lock_cuts_both_legs_of_all() {
    at_once(By::Lock, 12);
}

#[test]
fn a_bundle_without_grants_cuts_all() {
    at_once(By::Grants, 8);
}

#[test]
fn session_kill_cuts_one_by_one() {
    one_by_one(12);
}

#[test]
#[ignore = "long: a hundred sessions"]
fn device_lock_cuts_both_legs_of_a_hundred() {
    at_once(By::Lock, 100);
}

#[test]
#[ignore = "long: a hundred sessions"]
fn operator_disable_cuts_both_legs_of_a_hundred() {
    at_once(By::Disable, 100);
}

#[test]
#[ignore = "long: a hundred sessions"]
fn a_bundle_without_grants_cuts_a_hundred() {
    at_once(By::Grants, 100);
}

#[test]
#[ignore = "long: a hundred sessions"]
fn session_kill_cuts_a_hundred_one_by_one() {
    one_by_one(100);
}
