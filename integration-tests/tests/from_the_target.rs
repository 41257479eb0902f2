//! Streams that begin on the target: `ssh -R`, the operator's agent, windows on the operator's screen.
//! Nothing of it is ever bound on the bastion, and nothing comes that was not asked for and granted.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{
    Client, DEADLINE, Peer, Rig, Route, ended, free_port, noise, sha256, soon, until,
};

const SIZE: usize = 8 << 20;

#[test]
fn a_port_of_the_target_leads_to_the_operators_side_whole_and_recorded() {
    let peer = Peer::echo();
    let rig = Rig::new().operator("ana").target("db1").allow("reverse-forward").start();
    let before = bound_by(rig.server().pid());
    for route in Route::ALL {
        let port = free_port();
        let mut far = Far::open(&rig, route, &format!("127.0.0.1:{port}:{}", peer.address()));
        let sent = noise(SIZE, 1);
        for _ in 0..3 {
            assert_eq!(sha256(&round_trip(port, &sent)), sha256(&sent), "{route:?}");
        }
        assert_eq!(bound_by(rig.server().pid()), before, "nothing is bound on the bastion");
        far.end();
        until("the target to listen no more", DEADLINE, || (!listens(port)).then_some(()));
    }
    let recordings = rig.sealed_recordings(8);
    assert_eq!(recordings.len(), 8, "a listener and three streams, by two routes: {recordings:?}");
    assert!(recordings.iter().all(|one| one["kind"] == "reverse-forward"), "{recordings:?}");
    let sum = sha256(&noise(SIZE, 1));
    let events = rig.events();
    let streams =
        events.iter().filter(|e| e["type"] == "channel.stream" && e["detail"]["input"]["sha256"] == *sum);
    assert_eq!(streams.filter(|event| event["detail"]["output"]["sha256"] == *sum).count(), 6);
    rig.verify_everything();
}

#[test]
fn the_port_that_the_target_chose_is_told_and_can_be_given_back() {
    let peer = Peer::echo();
    let rig = Rig::new().operator("ana").target("db1").allow("reverse-forward").start();
    let shared = rig.client("ana").share("db1");
    let control = |what: &str, forward: &str| {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-S"]).arg(shared.socket()).args(["-O", what, "-R", forward, "any"]);
        ssh.output().unwrap()
    };
    let said = control("forward", &format!("0:{}", peer.address()));
    assert!(said.status.success(), "{said:?}");
    let port: u16 = String::from_utf8_lossy(&said.stdout).trim().parse().unwrap();
    assert_eq!(round_trip(port, b"in"), b"in");
    // Asked in between, a command works as before.
    assert_eq!(shared.command("echo in").output().unwrap().stdout, b"in\n");
    let said = control("cancel", &format!("0:{}", peer.address()));
    assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
    until("the target to listen no more", DEADLINE, || (!listens(port)).then_some(()));
    assert_eq!(shared.command("echo in").output().unwrap().stdout, b"in\n");
    shared.close();
    rig.sealed_recordings(4);
    rig.verify_everything();
}

#[test]
fn a_socket_on_the_target_leads_to_the_operators_side() {
    let (peer, folder) = (Peer::echo(), tempfile::tempdir().unwrap());
    let rig = Rig::new().operator("ana").target("db1").allow("reverse-forward").start();
    for route in Route::ALL {
        let path = folder.path().join(format!("{route:?}.sock"));
        let _far = Far::open(&rig, route, &format!("{}:{}", path.display(), peer.address()));
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"in").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"in", "{route:?}");
    }
}

#[test]
fn without_a_grant_no_target_listens_and_the_session_goes_on() {
    let rig = Rig::new().operator("ana").target("db1").start();
    for route in Route::ALL {
        let ana = rig.client("ana").by(route);
        let port = free_port();
        let mut ssh = ana.command("ssh");
        ssh.args(["-R", &format!("{port}:127.0.0.1:1")]).arg(ana.at("db1")).arg("echo in");
        let out = ssh.output().unwrap();
        assert_eq!(out.stdout, b"in\n", "{out:?}");
        assert!(told(&out).contains("remote port forwarding failed"), "{}", told(&out));
        assert!(!listens(port));
    }
    assert_eq!(rig.refusal("ACCESS-002")["detail"]["kind"], "reverse-forward");
    assert_eq!(rig.target("db1").connections(), 2, "for the commands alone");
}

#[test]
fn a_listening_target_is_cut_within_a_second_when_the_grant_goes() {
    let peer = Peer::echo();
    for route in Route::ALL {
        let rig = Rig::new().operator("ana").target("db1").allow("reverse-forward").start();
        let port = free_port();
        let _far = Far::open(&rig, route, &format!("127.0.0.1:{port}:{}", peer.address()));
        let mut open = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        open.write_all(b"in").unwrap();
        let mut back = [0; 2];
        open.read_exact(&mut back).unwrap();
        assert!(rig.apply_without_forwards().status.success());
        let returned = Instant::now();
        open.set_read_timeout(Some(DEADLINE)).unwrap();
        assert!(matches!(open.read(&mut back), Ok(0) | Err(_)));
        until("the target to listen no more", DEADLINE, || (!listens(port)).then_some(()));
        assert!(returned.elapsed() < soon(), "{route:?}: {:?}", returned.elapsed());
        rig.sealed_recordings(2);
        rig.verify_everything();
    }
}

#[test]
fn a_stream_that_nobody_takes_gives_way_to_its_siblings() {
    let rig = Rig::new().operator("ana").target("db1").allow("reverse-forward").start();
    for route in Route::ALL {
        let (peer, port) = (Peer::deaf_once(), free_port());
        let _far = Far::open(&rig, route, &format!("127.0.0.1:{port}:{}", peer.address()));
        let mut stalled = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        until("the deaf one to be reached", DEADLINE, || (peer.taken() == 1).then_some(()));
        stalled.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
        let block = vec![0; 1 << 20];
        while stalled.write_all(&block).is_ok() {}
        // Full everywhere; the sibling comes on the same connection of the target.
        let begun = Instant::now();
        assert_eq!(round_trip(port, b"in"), b"in", "{route:?}");
        eprintln!("{route:?}: a sibling of a stream that nobody takes waited {:?}", begun.elapsed());
        let again = Instant::now();
        let sent = noise(4 << 20, 1);
        assert_eq!(sha256(&round_trip(port, &sent)), sha256(&sent));
        eprintln!("{route:?}: and then 4 MiB took {:?}", again.elapsed());
        rig.refusal("SESSION-007");
    }
    assert!(rig.server().peak_memory() < 64 << 20, "{} bytes", rig.server().peak_memory());
}

#[test]
fn the_operators_agent_is_reached_only_where_it_is_granted() {
    let folder = tempfile::tempdir().unwrap();
    let agent = Agent::start(folder.path());
    let granted = Rig::new().operator("ana").target("db1").allow("agent").start();
    let denied = Rig::new().operator("ana").target("db1").start();
    for route in Route::ALL {
        let out = with_agent(&granted.client("ana").by(route), &agent, "ssh-add -L; ssh-add -L");
        let keys = String::from_utf8_lossy(&out.stdout).into_owned();
        assert_eq!(keys.matches(&agent.public).count(), 2, "{route:?}: {keys}{}", told(&out));
        let out =
            with_agent(&denied.client("ana").by(route), &agent, "ssh-add -L; echo \"in$SSH_AUTH_SOCK\"");
        assert_eq!(out.stdout, b"in\n", "the session goes on without it: {}", told(&out));
    }
    let recordings = granted.sealed_recordings(6);
    let kinds = |kind: &str| recordings.iter().filter(|one| one["kind"] == kind).count();
    assert_eq!((kinds("exec"), kinds("agent")), (2, 4), "each use is a record of its own");
    granted.verify_everything();
    assert_eq!(denied.refusal("ACCESS-002")["detail"]["kind"], "agent");
    assert_eq!(denied.sealed_recordings(2).len(), 2);
}

#[test]
fn a_window_opens_on_the_operators_screen_only_where_it_is_granted() {
    let screen = Screen::start();
    let folder = tempfile::tempdir().unwrap();
    let (terms, cookie) = (x11_terms(folder.path()), folder.path().join("cookie"));
    let scene = || Rig::new().operator("ana").target("db1").sshd(&terms);
    let granted = scene().allow("x11").start();
    let denied = scene().start();
    for (rig, opens) in [(&granted, true), (&denied, false)] {
        for route in Route::ALL {
            let ana = rig.client("ana").by(route);
            let mut ssh = ana.command("ssh");
            ssh.env("DISPLAY", format!("127.0.0.1:{}", screen.number)).args(["-Y"]).arg(ana.at("db1"));
            // What a program does: it says the cookie that was put down for it to the display that it was given.
            ssh.arg(format!("echo \"display=$DISPLAY\"; cat {} 2>&1; read line", cookie.display()));
            let mut ssh =
                ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let mut out = BufReader::new(ssh.stdout.take().unwrap());
            let mut line = String::new();
            out.read_line(&mut line).unwrap();
            let display = line.trim().trim_start_matches("display=").to_owned();
            assert_eq!(!display.is_empty(), opens, "{route:?}: {line}");
            if opens {
                line.clear();
                out.read_line(&mut line).unwrap();
                let number: u16 = display.split([':', '.']).nth(1).unwrap().parse().unwrap();
                window(number, line.split_whitespace().last().unwrap());
            }
            ssh.stdin.take().unwrap().write_all(b"\n").unwrap();
            ended("ssh", &mut ssh, DEADLINE);
            let _ = std::fs::remove_file(&cookie);
        }
    }
    let recordings = granted.sealed_recordings(4);
    assert_eq!(recordings.iter().filter(|one| one["kind"] == "x11").count(), 2, "{recordings:?}");
    granted.verify_everything();
    assert_eq!(denied.refusal("ACCESS-002")["detail"]["kind"], "x11");
}

/// The terms of a target whose sshd has a program to put cookies down with, in this folder.
fn x11_terms(folder: &Path) -> String {
    let (program, cookie) = (folder.join("xauth"), folder.join("cookie"));
    let text = format!(
        "#!/bin/sh\nwhile read -r line; do case \"$line\" in add*) echo \"$line\";; esac; done > '{}'\n",
        cookie.display()
    );
    std::fs::write(&program, text).unwrap();
    let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o700);
    std::fs::set_permissions(&program, mode).unwrap();
    format!("X11Forwarding yes\nXAuthLocation {}", program.display())
}

/// The first words of an X11 client, with this cookie in hex, to the display of this number; they are answered.
fn window(number: u16, cookie: &str) {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 6000 + number)).unwrap();
    let cookie = (0..cookie.len()).step_by(2).map(|at| u8::from_str_radix(&cookie[at..at + 2], 16).unwrap());
    let mut setup = b"l\0\x0b\0\0\0\x12\0\x10\0\0\0MIT-MAGIC-COOKIE-1\0\0".to_vec();
    setup.extend(cookie);
    assert_eq!(setup.len(), 48);
    stream.write_all(&setup).unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    assert_eq!(back, b"shown");
}

/// An operator's screen, as far as it answers the first words of a client.
struct Screen {
    number: u16,
}

impl Screen {
    fn start() -> Self {
        let listener = (40..400).find_map(|number| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 6000 + number)).ok().map(|listener| (number, listener))
        });
        let (number, listener) = listener.unwrap();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                let mut setup = [0; 48];
                if stream.read_exact(&mut setup).is_ok() && setup.starts_with(b"l\0\x0b\0") {
                    let _ = stream.write_all(b"shown");
                }
            }
        });
        Self { number }
    }
}

/// An operator's agent with one key.
struct Agent {
    process: Child,
    socket: PathBuf,
    public: String,
}

impl Agent {
    fn start(folder: &Path) -> Self {
        let (socket, key) = (folder.join("agent"), folder.join("key"));
        let mut process = Command::new("ssh-agent");
        let process = process.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        until("the agent", DEADLINE, || socket.exists().then_some(()));
        let mut make = Command::new("ssh-keygen");
        assert!(make.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap().success());
        let mut add = Command::new("ssh-add");
        add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket);
        assert!(add.status().unwrap().success());
        let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
        Self { process, socket, public: public.split(' ').nth(1).unwrap().to_owned() }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn with_agent(client: &Client<'_>, agent: &Agent, line: &str) -> Output {
    let mut ssh = client.command("ssh");
    ssh.args(["-A", "-o", "IdentityAgent=SSH_AUTH_SOCK"]).env("SSH_AUTH_SOCK", &agent.socket);
    ssh.arg(client.at("db1")).arg(line).output().unwrap()
}

/// `ssh -N -R`.
struct Far(Child);

impl Far {
    fn open(rig: &Rig, route: Route, forward: &str) -> Self {
        let ana = rig.client("ana").by(route);
        let mut ssh = ana.command("ssh");
        ssh.args(["-v", "-N", "-o", "ExitOnForwardFailure=yes", "-R", forward]).arg(ana.at("db1"));
        let mut ssh = ssh.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(ssh.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("remote forward success") {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "the target was not made to listen");
        }
        std::thread::spawn(move || while matches!(said.read_line(&mut String::new()), Ok(1..)) {});
        Self(ssh)
    }

    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.end();
    }
}

/// What comes back of these bytes, sent to this port and ended.
fn round_trip(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let (mut to, bytes) = (stream.try_clone().unwrap(), bytes.to_vec());
    let writing = std::thread::spawn(move || {
        let _ = to.write_all(&bytes);
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    back
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Whether anybody listens there, without connecting (state 0A in `/proc/net/tcp`).
fn listens(port: u16) -> bool {
    table().iter().any(|(own, _)| own.ends_with(&format!(":{port:04X}")))
}

/// Sockets that this process listens on.
fn bound_by(pid: u32) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let open: Vec<String> = folder
        .filter_map(|one| Some(std::fs::read_link(one.ok()?.path()).ok()?.to_string_lossy().into_owned()))
        .collect();
    table().iter().filter(|(_, inode)| open.contains(&format!("socket:[{inode}]"))).count()
}

/// Listening sockets by address and inode.
fn table() -> Vec<(String, String)> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
    let (four, six) = (read("tcp"), read("tcp6"));
    let lines = four.lines().skip(1).chain(six.lines().skip(1));
    let fields = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    fields.filter(|all| all[3] == "0A").map(|all| (all[1].clone(), all[9].clone())).collect()
}
