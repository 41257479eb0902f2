//! The bastion as whoever runs it sees it: numbers, health, a stop under live sessions, a restart that refuses nobody, a full
//! disk, and what the process has given up.
//! It never looks inside: `/proc`, HTTP, signals and stock clients tell.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{Builder, DEADLINE, Rig, binary, ended, get, lasting, number, until};
use serde_json::Value;

fn scene() -> Builder {
    Rig::new().operator("ana").target("db1").setting("admin", "listen = \"127.0.0.1:0\"")
}

/// A command that says `ready`, and ends with its standard input.
fn waiting(rig: &Rig, target: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut ssh = rig.client("ana").start(target, "echo ready; cat");
    let mut out = BufReader::new(ssh.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n", "{}", rest(ssh.stderr.take().unwrap()));
    (ssh, out)
}

fn rest(mut from: impl std::io::Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn the_numbers_tell_of_a_session_and_name_nobody() {
    let rig = scene().start();
    assert_eq!(rig.number("bartizan_sessions_open"), 0.0);
    assert_eq!(rig.number("bartizan_sessions_total"), 0.0);
    assert_eq!(rig.number("bartizan_audit_open"), 1.0);
    let (mut ssh, _out) = waiting(&rig, "db1");
    let text = rig.get("/metrics").1;
    for (series, expected) in [
        ("bartizan_door_connections", 1.0),
        ("bartizan_door_accepted_total", 1.0),
        ("bartizan_sessions_open", 1.0),
        ("bartizan_sessions_total", 1.0),
        ("bartizan_channels_open", 1.0),
        ("bartizan_recordings_open", 1.0),
        ("bartizan_logins_total{outcome=\"ok\",code=\"\"}", 1.0),
        ("bartizan_draining", 0.0),
    ] {
        assert_eq!(number(&text, series), Some(expected), "{series} in\n{text}");
    }
    ssh.stdin.take().unwrap().write_all(&[b'x'; 5000]).unwrap();
    assert!(ended("the client", &mut ssh, DEADLINE).success());
    let over = |commands: f64| {
        until("every connection to be counted as over", DEADLINE, || {
            let text = rig.get("/metrics").1;
            let over = number(&text, "bartizan_sessions_open")? == 0.0
                && number(&text, "bartizan_door_connections")? == 0.0
                && number(&text, "bartizan_channels_total{kind=\"exec\",outcome=\"ok\"}")? == commands;
            over.then_some(text)
        })
    };
    over(1.0);
    let refused =
        rig.client("ana").answering("000000").option("NumberOfPasswordPrompts 1").ssh("db1", "true");
    // The code of before still counts on this device, so nothing was asked: a forbidden name is what is refused.
    assert!(refused.status.success());
    assert!(!rig.client("ana").ssh("db9", "true").status.success());
    let text = over(2.0);
    assert_eq!(number(&text, "bartizan_relayed_bytes_total{to=\"target\"}"), Some(5000.0), "{text}");
    assert_eq!(number(&text, "bartizan_relayed_bytes_total{to=\"operator\"}"), Some(5006.0), "{text}");
    for leg in ["target", "operator"] {
        assert_eq!(number(&text, &format!("bartizan_queued_bytes{{for=\"{leg}\"}}")), Some(0.0), "{text}");
    }
    assert!(text.lines().any(|line| line.starts_with("bartizan_channels_refused_total{code=\"ACCESS-")));
    assert!(number(&text, "bartizan_audit_entries").unwrap() > 5.0);
    assert!(number(&text, "bartizan_audit_sync_seconds_count").unwrap() > 0.0);
    for name in ["ana", "db1", "db9", "laptop", "127.0.0.1"] {
        assert!(!text.contains(name), "{name} in\n{text}");
    }
    well_formed(&text);
}

#[test]
fn what_was_recorded_is_soon_on_disk() {
    let rig = scene().start();
    let mut cat = rig.client("ana").start("db1", "cat");
    let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let mut took = [(); 4].map(|()| {
        input.write_all(b"x").unwrap();
        output.read_exact(&mut [0]).unwrap();
        let written = Instant::now();
        until("the recording to be on disk", DEADLINE, || {
            let nothing = ["bartizan_recording_unsynced_bytes", "bartizan_recording_sync_age_seconds"]
                .map(|waits| rig.number(waits) == 0.0);
            (nothing == [true, true]).then_some(())
        });
        written.elapsed()
    });
    took.sort_unstable();
    // Every five seconds the log says how far recordings have come, for which they are put on disk too: that saves one of them.
    assert!(took[1] < Duration::from_secs(1), "{took:?}");
    drop(input);
    assert!(ended("the client", &mut cat, DEADLINE).success());
}

/// Every series has a type, every line is a comment or a number, and the page for operators knows them all.
fn well_formed(text: &str) {
    let page = include_str!("../../docs/operating.md");
    let kinds: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    for kind in &kinds {
        let name = kind.split(' ').next().unwrap();
        assert!(page.contains(&format!("`{name}`")), "docs/operating.md does not know {name}");
    }
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let name = series.split('{').next().unwrap();
        assert!(name.starts_with("bartizan_"), "{line}");
        let known = |kind: &&str| kind.split(' ').next().is_some_and(|known| name.starts_with(known));
        assert!(kinds.iter().any(known), "no type for {line}");
    }
}

#[test]
fn the_machines_door_answers_three_questions_and_no_others() {
    let rig = scene().start();
    assert_eq!(rig.get("/healthz"), (200, "ok\n".into()));
    assert_eq!(rig.get("/readyz"), (200, "ok\n".into()));
    for path in ["/", "/metrics/", "/../etc/passwd", "/debug"] {
        assert_eq!(rig.get(path).0, 404, "{path}");
    }
    // Whoever stays silent or talks nonsense neither holds it up nor ends it.
    let silent: Vec<_> = (0..40).map(|_| std::net::TcpStream::connect(rig.admin()).unwrap()).collect();
    let mut rude = std::net::TcpStream::connect(rig.admin()).unwrap();
    let _ = rude.write_all(&[0xff; 64 << 10]);
    drop((silent, rude));
    until("an answer after the noise", DEADLINE, || {
        std::net::TcpStream::connect(rig.admin()).ok()?;
        let asked = AssertUnwindSafe(|| get(rig.admin(), "/healthz"));
        catch_unwind(asked).ok().filter(|(status, _)| *status == 200)
    });
}

#[test]
fn a_stop_tells_who_works_refuses_what_is_new_and_waits() {
    let mut rig = scene().setting("ssh", "drain = \"60s\"").start();
    let shared = rig.client("ana").share("db1");
    let (mut ssh, mut out) = waiting(&rig, "db1");
    let mut beside = shared.start("echo ready; cat");
    let mut first = [0; 6];
    beside.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    let admin = rig.admin();
    rig.drain_server();
    until("readiness to end", DEADLINE, || (get(admin, "/readyz").0 == 503).then_some(()));
    assert_eq!(get(admin, "/healthz").0, 200);
    // On a connection that stands a new channel is refused, with a code; a new connection finds nobody.
    let refused = shared.command("true").output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(254), "{told}");
    assert!(told.contains("the bastion is stopping") && told.contains("[SESSION-005] ref "), "{told}");
    assert!(std::net::TcpStream::connect(rig.server().address()).is_err());
    // Who works is told, and goes on.
    ssh.stdin.as_mut().unwrap().write_all(b"still here\n").unwrap();
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "still here\n");
    drop(ssh.stdin.take());
    assert!(ended("the first client", &mut ssh, DEADLINE).success());
    let told = rest(ssh.stderr.take().unwrap());
    assert!(
        told.contains("bartizan: the bastion is stopping; this session may go on for 60 seconds"),
        "{told}"
    );
    drop(beside.stdin.take());
    assert!(ended("the second client", &mut beside, DEADLINE).success());
    // The last one has ended: nothing is waited for, though the shared connection still stands.
    assert!(rig.server_ended().success());
    drop(shared);
    rig.start_server();
    let all = rig.sealed_recordings(2);
    assert!(all.iter().all(|one| one["outcome"] == "ok"), "{all:?}");
    rig.verify_everything();
}

#[test]
fn who_does_not_end_is_ended_at_the_deadline_and_everything_is_sealed() {
    let mut rig = scene().setting("ssh", "drain = \"10s\"").start();
    let (mut one, _out) = waiting(&rig, "db1");
    let (mut other, _other_out) = waiting(&rig, "db1");
    let mut terminal = rig.client("ana").terminal("db1");
    terminal.line("echo begun-$((1+1))");
    terminal.expect("begun-2");
    rig.drain_server();
    terminal.expect("bartizan: the bastion is stopping; this session may go on for 10 seconds");
    drop(one.stdin.take());
    assert!(ended("the one that ends by itself", &mut one, DEADLINE).success());
    assert!(rig.server_ended().success());
    assert_eq!(ended("the one that is ended", &mut other, DEADLINE).code(), Some(254));
    let told = rest(other.stderr.take().unwrap());
    assert!(told.contains("[SESSION-005]"), "{told}");
    rig.start_server();
    let all = rig.sealed_recordings(3);
    let outcomes = |word: &str| all.iter().filter(|one| one["outcome"] == word).count();
    assert_eq!((outcomes("ok"), outcomes("refused")), (1, 2), "{all:?}");
    let events = rig.events();
    assert!(
        !events.iter().any(|event| event["type"] == "recording.recovered"),
        "nothing was left to recover"
    );
    let stopped =
        events.iter().rposition(|event| event["type"] == "system.stopped").expect("an end in the log");
    assert!(
        !events[stopped..].iter().any(|event| event["type"] == "system.log_unsigned"),
        "the last checkpoint was signed"
    );
    rig.verify_everything();
}

#[test]
fn a_second_signal_ends_at_once_and_still_seals() {
    let mut rig = scene().setting("ssh", "drain = \"1h\"").start();
    let (mut ssh, _out) = waiting(&rig, "db1");
    let admin = rig.admin();
    rig.drain_server();
    until("the stop to begin", DEADLINE, || (get(admin, "/readyz").0 == 503).then_some(()));
    rig.drain_server();
    assert!(rig.server_ended().success());
    assert_eq!(ended("the client", &mut ssh, DEADLINE).code(), Some(254));
    rig.start_server();
    let all = rig.sealed_recordings(1);
    assert_eq!(all[0]["outcome"], "refused", "{all:?}");
    assert!(!rig.events().iter().any(|event| event["type"] == "recording.recovered"));
    rig.verify_everything();
}

/// A server on a socket that this test holds, and that it tells its state, as to a service manager.
struct Activated {
    child: Child,
    heard: UnixDatagram,
}

impl Activated {
    fn start(rig: &Rig, socket: &TcpListener) -> Self {
        let notify = rig.path("notify");
        let _ = std::fs::remove_file(&notify);
        let heard = UnixDatagram::bind(&notify).unwrap();
        heard.set_read_timeout(Some(DEADLINE)).unwrap();
        let log = std::fs::File::options().create(true).append(true).open(rig.path("server.log")).unwrap();
        // The shell gives the socket its number, and the server the process id that LISTEN_PID wants.
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg("exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\"")
            .arg("sh")
            .arg(binary("bartizan"))
            .arg("--dir")
            .arg(rig.state())
            .arg("serve")
            .env("NOTIFY_SOCKET", &notify)
            .stdin(Stdio::from(socket.as_fd().try_clone_to_owned().unwrap()))
            .stdout(Stdio::null())
            .stderr(log);
        let child = lasting(&mut command);
        let activated = Self { child, heard };
        assert_eq!(activated.hear(), "READY=1");
        activated
    }

    fn hear(&self) -> String {
        let mut words = [0; 64];
        let length = self.heard.recv(&mut words).unwrap();
        String::from_utf8(words[..length].to_vec()).unwrap()
    }

    fn stop(mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert_eq!(self.hear(), "STOPPING=1");
        assert!(ended("the server", &mut self.child, DEADLINE).success());
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_restart_on_a_socket_that_is_kept_refuses_nobody() {
    let rig = scene().without_server().start();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let first = Activated::start(&rig, &socket);
    let client = rig.client("ana").option(&format!("Port {port}")).option("HostName 127.0.0.1");
    let said = client.clone().ssh("db1", "echo one");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "one\n", "{}", String::from_utf8_lossy(&said.stderr));
    first.stop();
    // Between two servers: who comes now waits in the socket.
    let mut early = client.start("db1", "echo two");
    let second = Activated::start(&rig, &socket);
    assert!(ended("the client that came between", &mut early, DEADLINE).success());
    assert_eq!(rest(early.stdout.take().unwrap()), "two\n");
    second.stop();
}

#[test]
fn a_server_has_no_privileges_no_core_dumps_and_no_files_but_its_own() {
    let rig = scene().start();
    assert!(rig.client("ana").ssh("db1", "true").status.success(), "sessions run under it");
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.server().pid())).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim_start_matches(':').trim().to_owned()
    };
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    for thread in std::fs::read_dir(format!("/proc/{}/task", rig.server().pid())).unwrap() {
        let path = thread.unwrap().path().join("status");
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        assert!(text.contains("CapEff:\t0000000000000000") && text.contains("NoNewPrivs:\t1"), "{text}");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", rig.server().pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    // Its own file elsewhere, readable by its own account: the kernel keeps it away all the same.
    let told = rig.said(&["check", "--json"]);
    let line = |told: &str, what: &str| -> Value {
        let report: Value = serde_json::from_str(told).unwrap();
        report["checks"].as_array().unwrap().iter().find(|line| line["what"] == what).cloned().unwrap()
    };
    assert_eq!(line(&told, "config")["ok"], true, "{told}");
    let sandbox = line(&told, "sandbox");
    assert_eq!(sandbox["ok"], true, "{told}");
    let held = sandbox["says"].as_str().unwrap().ends_with("no files but its own");
    let (config, elsewhere) = (rig.state().join("bartizan.toml"), rig.path("elsewhere.toml"));
    std::fs::rename(&config, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &config).unwrap();
    let told = String::from_utf8(rig.bartizan(&["check", "--json"]).stdout).unwrap();
    let found = line(&told, "config");
    assert_eq!(found["ok"], !held, "{told}");
    assert!(!held || found["says"].as_str().unwrap().contains("Permission denied"), "{told}");
}

/// A small disk under one folder of the state; unmounted when dropped.
struct Small {
    at: std::path::PathBuf,
}

impl Small {
    fn under(rig: &Rig, folder: &str, size: &str) -> Self {
        let at = rig.state().join(folder);
        let aside = rig.new_folder("aside");
        for entry in std::fs::read_dir(&at).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), aside.join(entry.file_name())).unwrap();
        }
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).status();
        assert!(mounted.unwrap().success(), "these tests run as root and mount small disks");
        for entry in std::fs::read_dir(&aside).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), at.join(entry.file_name())).unwrap();
        }
        Self { at }
    }

    /// Fills it to the last byte, and what became free since.
    fn fill(&self) {
        let mut file =
            std::fs::File::options().create(true).append(true).open(self.at.join("filler")).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
        while file.write_all(&[7]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.at.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).status();
    }
}

#[test]
fn a_full_log_cuts_and_refuses_and_goes_on_by_itself_when_there_is_room() {
    let mut rig = scene().without_server().start();
    let disk = Small::under(&rig, "log", "16m");
    rig.start_server();
    let (mut ssh, _out) = waiting(&rig, "db1");
    // Words that change something are logged first, so one of the next few meets the full disk; a later one meets it again, when
    // the reserve is spent too.
    until("the log to be closed", DEADLINE, || {
        disk.fill();
        rig.bartizan(&["operator", "unlock", "ana"]);
        (!rig.bartizan(&["health"]).status.success()).then_some(())
    });
    assert_eq!(ended("the client", &mut ssh, DEADLINE).code(), Some(254));
    // Whichever comes first: nothing more is recorded without the reserve, and nothing goes on without the log.
    let said = rest(ssh.stderr.take().unwrap());
    assert!(said.contains("[RECORD-001]") || said.contains("[SESSION-006]"), "{said}");
    let (status, why) = rig.get("/readyz");
    assert_eq!((status, why.contains("disk is full")), (503, true), "{why}");
    assert_eq!(rig.get("/healthz").0, 200, "a restart would not help");
    assert_eq!(rig.number("bartizan_audit_open"), 0.0);
    assert!(!rig.client("ana").ssh("db1", "true").status.success(), "no login is taken");
    let server = rig.server().pid();
    disk.free();
    until("the log to be open again", DEADLINE, || rig.bartizan(&["health"]).status.success().then_some(()));
    assert!(rig.client("ana").ssh("db1", "true").status.success());
    assert_eq!(rig.server().pid(), server);
    until("what was left open to be closed", DEADLINE, || {
        let events = rig.events();
        let has = |kind: &str| events.iter().any(|event| event["type"] == kind);
        (has("system.log_mended") && has("recording.recovered")).then_some(())
    });
    rig.sealed_recordings(2);
    assert_eq!(rig.get("/readyz"), (200, "ok\n".into()));
    rig.verify_everything();
    assert!(rig.stop_server().success());
    drop(disk);
}

#[test]
fn a_recording_on_a_full_disk_ends_its_channel_and_is_closed_without_a_restart() {
    let mut rig = scene().without_server().start();
    let disk = Small::under(&rig, "recordings", "2m");
    rig.start_server();
    let mut ssh = rig.client("ana").start("db1", "head -c 20000000 /dev/urandom | base64");
    let seen = rest(ssh.stdout.take().unwrap());
    assert_eq!(ended("the client", &mut ssh, DEADLINE).code(), Some(254));
    assert!(rest(ssh.stderr.take().unwrap()).contains("[RECORD-001]"));
    assert!(!seen.is_empty());
    assert_eq!(rig.get("/readyz").0, 503);
    // A second one does not begin.
    assert_eq!(rig.client("ana").ssh("db1", "true").status.code(), Some(254));
    let recording = until("the recording to be closed", DEADLINE, || {
        rig.recordings().into_iter().find(|one| !one["ended"].is_null())
    });
    until("nothing to be unsealed", DEADLINE, || {
        (rig.number("bartizan_recordings_unsealed") == 0.0).then_some(())
    });
    let id = recording["id"].as_str().unwrap();
    assert!(rig.said(&["recording", "verify", id]).contains("ok"));
    let text = rig.text_of(id);
    assert!(text.starts_with(&seen), "{} bytes seen, {} recorded", seen.len(), text.len());
    std::fs::remove_file(rig.state().join("recordings").join(format!("{id}.rec"))).unwrap();
    assert!(rig.client("ana").ssh("db1", "true").status.success(), "with room it goes on");
    assert!(rig.stop_server().success());
    drop(disk);
}

#[test]
fn json_lines_are_json() {
    let rig = scene().without_server().start();
    let mut command = Command::new(binary("bartizan"));
    command.arg("--dir").arg(rig.state()).args(["serve", "--log-format", "json"]);
    let mut child = lasting(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    until("the server to answer", DEADLINE, || rig.bartizan(&["health"]).status.success().then_some(()));
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(ended("the server", &mut child, DEADLINE).success());
    let said = rest(child.stderr.take().unwrap());
    assert!(said.lines().count() > 0);
    for line in said.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        assert!(line["level"].is_string() && line["message"].is_string(), "{line}");
    }
}
