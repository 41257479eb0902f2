//! A bastion, a light target behind it, and a crowd of operators' connections, each with one session.
//! It never judges what they cost.

use std::net::IpAddr;
use std::time::Duration;

use bartizan_integration_tests::{Rig, Route, until};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::caller::{Caller, Line, Session};
use crate::echo::EchoTarget;
use crate::{raise_limit, runtime};

/// Logins under way at once.
const TOGETHER: usize = 6;
/// Long enough for a thousand recordings to be sealed.
pub const SETTLED: Duration = Duration::from_secs(120);

/// A bastion with a light target behind it.
pub struct Scene {
    // Dropped last: connections end with it.
    pub rig: Rig,
    target: EchoTarget,
    caller: Caller,
    runtime: Runtime,
    /// Memory and descriptors after the first sessions, which fill what is kept.
    pub warm: (u64, usize),
}

impl Scene {
    /// Starts it, with a few who have come and gone.
    pub fn start() -> Self {
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
    pub fn enter(&self, route: Route, count: usize) -> Vec<(Line, Session)> {
        self.enter_from(route, count, None)
    }

    /// The same, from another address of this machine.
    pub fn enter_from(&self, route: Route, count: usize, from: Option<IpAddr>) -> Vec<(Line, Session)> {
        let caller = from.map_or_else(|| self.caller.clone(), |from| self.caller.from(from));
        self.runtime.block_on(async {
            let (mut entering, mut inside) = (JoinSet::new(), Vec::new());
            for number in 0..count + TOGETHER {
                if number >= TOGETHER
                    && let Some(entered) = entering.join_next().await
                {
                    inside.push(entered.unwrap());
                }
                if number < count {
                    let caller = caller.clone();
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

    /// Politely.
    pub fn leave(&self, all: Vec<(Line, Session)>) {
        self.runtime.block_on(async {
            for (line, session) in all {
                session.end().await.unwrap();
                line.leave().await;
            }
        });
    }

    /// Waits until nothing of any session is left: not in the list, not at the target, no descriptor, no open recording.
    pub fn all_gone(&self, limit: Duration) {
        until("every session to be off the list", limit, || self.rig.live().is_empty().then_some(()));
        until("the target to have lost all", limit, || (self.target.held() == 0).then_some(()));
        until("the operators' connections to end", limit, || {
            (self.rig.server().connections() == 0).then_some(())
        });
        until("every recording to be sealed", limit, || {
            self.rig.recordings().iter().all(|one| !one["ended"].is_null()).then_some(())
        });
    }

    /// What the crowd held is given back.
    pub fn descriptors_are_back(&self) {
        until("descriptors to be given back", SETTLED, || {
            (self.rig.server().descriptors() <= self.warm.1 + 8).then_some(())
        });
    }
}
