//! The bastion killed under load, again and again: what was seen is kept, and the record says what happened.
//! It never mends anything by hand between two lives.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bartizan_integration_tests::{DEADLINE, Rig, binary, until};
use serde_json::Value;

/// How many lives one scene sees; a new one keeps the lists short.
const LIVES: usize = 100;

#[test]
fn what_clients_saw_before_a_kill_is_in_the_recordings() {
    killed_under_load(5);
}

#[test]
#[ignore = "long: a thousand kills"]
fn what_clients_saw_before_each_of_a_thousand_kills_is_in_the_recordings() {
    killed_under_load(1000);
}

fn killed_under_load(times: usize) {
    let (mut found, mut busy) = (Found::default(), Duration::ZERO);
    for first in (0..times).step_by(LIVES) {
        let mut rig = Rig::new().operator("ana").target("db1").start();
        let begun = Instant::now();
        // The code is given once, before many come at one moment.
        assert!(rig.client("ana").ssh("db1", "true").status.success());
        let mut known: BTreeSet<String> =
            rig.sealed_recordings(1).iter().map(|one| id(one).to_owned()).collect();
        for round in first..times.min(first + LIVES) {
            found.add(&one_life(&mut rig, round, &mut known));
        }
        busy += begun.elapsed();
        let recovered = rig.events().iter().filter(|event| event["type"] == "recording.recovered").count();
        assert_eq!(recovered, known.len() - 1, "each crash is in the log, with its counts");
        let verified = Command::new(binary("bartizan-verify")).arg(rig.state()).output().unwrap();
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        let so_far = times.min(first + LIVES);
        println!("{so_far} kills, {:.2} s each: {found:?}", busy.as_secs_f64() / so_far as f64);
    }
}

#[derive(Debug, Default)]
struct Found {
    recordings: usize,
    bytes_seen: usize,
    bytes_recorded: usize,
}

impl Found {
    fn add(&mut self, other: &Self) {
        self.recordings += other.recordings;
        self.bytes_seen += other.bytes_seen;
        self.bytes_recorded += other.bytes_recorded;
    }
}

/// An endless command, one through a jump, a shell and an upload; a kill when each has got somewhere; a new life.
fn one_life(rig: &mut Rig, round: usize, known: &mut BTreeSet<String>) -> Found {
    let endless = |way: &str| format!("i=0; while :; do echo \"{way} {round} line $i\"; i=$((i+1)); done");
    let running = [
        Watched::start(direct(rig).arg(endless("direct")), None),
        Watched::start(jump(rig).arg(endless("jump")), None),
        Watched::start(direct(rig).arg("-tt"), Some(&format!("stty -echo; {}\n", endless("shell")))),
    ];
    let upload = upload(rig);
    for (watched, enough) in running.iter().zip([5_000 + round * 7_919 % 60_000, 500, 500]) {
        watched.wait_for(enough);
    }
    // The upload's as well: a crash before its row is there leaves nothing to list.
    until("four recordings", DEADLINE, || (rig.recordings().len() >= known.len() + 4).then_some(()));
    rig.kill_server();
    let seen = running.map(Watched::end);
    end(upload);
    rig.start_server();

    let new: Vec<Value> =
        rig.recordings().into_iter().filter(|one| known.insert(id(one).to_owned())).collect();
    assert!(new.iter().all(|one| !one["ended"].is_null() && one["state"] == "recovered"), "{new:?}");
    let mut found = Found { recordings: new.len(), ..Found::default() };
    let outputs: Vec<Vec<u8>> = new.iter().map(|one| rig.output_of(id(one))).collect();
    found.bytes_recorded = outputs.iter().map(Vec::len).sum();
    for (way, seen) in ["direct", "jump", "shell"].into_iter().zip(&seen) {
        let first = format!("{way} {round} line 0");
        let found_first = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(&first);
        let own = outputs.iter().find(|output| found_first(output));
        let kept = own.map_or(0, |own| own.iter().zip(seen).take_while(|(a, b)| a == b).count());
        assert!(
            found_first(seen) && kept == seen.len(),
            "round {round}, {way}: of {} bytes {kept} are recorded: {:.200?} and not {:.200?}",
            seen.len(),
            String::from_utf8_lossy(&seen[kept..]),
            own.map(|own| String::from_utf8_lossy(&own[kept..])),
        );
        found.bytes_seen += seen.len();
    }
    found
}

fn direct(rig: &Rig) -> Command {
    let ana = rig.client("ana");
    let mut ssh = ana.command("ssh");
    ssh.arg(ana.at("db1"));
    ssh
}

fn jump(rig: &Rig) -> Command {
    let mut ssh = rig.client("ana").command("ssh");
    let known = format!("UserKnownHostsFile={}", rig.path("known_hosts").display());
    ssh.args(["-J", "ana@bastion", "-o", &known, "root@db1"]);
    ssh
}

/// An upload that does not end by itself.
fn upload(rig: &Rig) -> Child {
    let ana = rig.client("ana");
    let mut sftp = ana.command("sftp");
    sftp.arg("-q").arg("-b").arg("-").arg(ana.at("db1"));
    let mut sftp = sftp.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let to = rig.path("uploaded");
    let from = rig.path("to-upload");
    std::fs::File::create(&from).unwrap().set_len(1 << 30).unwrap();
    writeln!(sftp.stdin.as_mut().unwrap(), "put {} {}", from.display(), to.display()).unwrap();
    sftp
}

fn end(mut child: Child) {
    drop(child.stdin.take());
    child.wait().unwrap();
}

fn id(recording: &Value) -> &str {
    recording["id"].as_str().unwrap()
}

/// A client whose output is read all the time.
struct Watched {
    child: Child,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Watched {
    fn start(command: &mut Command, typed: Option<&str>) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        if let Some(typed) = typed {
            child.stdin.as_mut().unwrap().write_all(typed.as_bytes()).unwrap();
        }
        let mut out = child.stdout.take().unwrap();
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let reader = std::thread::spawn({
            let seen = seen.clone();
            move || {
                let mut chunk = [0; 4096];
                while let Ok(n @ 1..) = out.read(&mut chunk) {
                    seen.lock().unwrap().extend_from_slice(&chunk[..n]);
                }
            }
        });
        Self { child, seen, reader }
    }

    fn wait_for(&self, enough: usize) {
        until("output", DEADLINE, || (self.seen.lock().unwrap().len() >= enough).then_some(()));
    }

    /// All that it printed until its connection was gone.
    fn end(mut self) -> Vec<u8> {
        self.reader.join().unwrap();
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}
