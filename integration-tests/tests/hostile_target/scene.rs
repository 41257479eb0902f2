//! A scene with one target that is an enemy, one that is not, and somebody who works on that.
//! It never makes the enemy do anything by itself.

use std::io::{self, Write as _};
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{BareGuest, BareServer, DEADLINE, Rig, ended, until};

/// The most memory the bastion may hold, whatever the enemy does.
pub const BOUND: u64 = 64 << 20;

/// What an enemy does with one connection.
pub type Manner = Box<dyn Fn(&mut BareGuest) -> io::Result<()> + Send + Sync>;

/// The bastion, `db1` (the enemy) and `db2`.
pub struct Scene {
    pub rig: Rig,
    enemy: BareServer,
}

impl Scene {
    /// The enemy does the next of these with each connection; after the last it begins anew.
    pub fn of_each(manners: Vec<Manner>) -> Self {
        let next = AtomicUsize::new(0);
        Self::of(move |guest| manners[next.fetch_add(1, Ordering::SeqCst) % manners.len()](guest))
    }

    /// The enemy does this with every connection.
    pub fn of(manner: impl Fn(&mut BareGuest) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let rig = Rig::new().operator("ana").operator("bob").target("db1").target("db2").start();
        let enemy = BareServer::start(manner);
        rig.stand_in("db1", enemy.address(), enemy.host_key());
        Self { rig, enemy }
    }

    /// The address of the enemy leads to this server now; it is known by the key it had.
    pub fn moves_to(&self, other: &BareServer) {
        self.rig.stand_in("db1", other.address(), self.enemy.host_key());
    }

    /// A command of ana's on the enemy's machine.
    pub fn ssh(&self) -> Output {
        self.rig.client("ana").ssh("db1", "true")
    }

    /// The same, left running once its session is listed, or has come and gone.
    pub fn started(&self) -> Child {
        let mut command = self.rig.client("ana").command("ssh");
        let mut child = command
            .arg(self.rig.client("ana").at("db1"))
            .arg("true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("ana's session", DEADLINE, || {
            let gone = child.try_wait().unwrap().is_some();
            (gone || self.session_of_ana().is_some()).then_some(())
        });
        child
    }

    /// Kills ana's session, and says how long her client took to end.
    pub fn killed(&self, child: &mut Child) -> Duration {
        let id = self.session_of_ana().expect("ana's session");
        self.rig.said(&["session", "kill", &id]);
        let killed = Instant::now();
        ended("ana's client", child, DEADLINE);
        let took = killed.elapsed();
        self.over();
        took
    }

    /// Ana's client leaves, if it has not been left.
    pub fn left(&self, mut child: Child) {
        child.kill().unwrap();
        child.wait().unwrap();
        self.over();
    }

    fn over(&self) {
        until("ana's session to be over", DEADLINE, || self.session_of_ana().is_none().then_some(()));
    }

    /// Bob's work on the other target goes on, and the bastion is no larger than it may be.
    pub fn others_work(&self) {
        let mut child = self.rig.client("bob").start("db2", "cat");
        child.stdin.take().unwrap().write_all(b"unharmed\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"unharmed\n", "{}", told(&output));
        let peak = self.rig.server().peak_memory();
        assert!(peak < BOUND, "{peak}");
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.rig.path("server.log")).unwrap()
    }

    fn session_of_ana(&self) -> Option<String> {
        let live = self.rig.live();
        let of_ana = live.iter().find(|session| session["operator"] == "ana")?;
        Some(of_ana["id"].as_str().unwrap().to_owned())
    }
}

pub fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Nothing in it commands a terminal: no control characters but line ends, of neither set.
pub fn is_clean(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}
