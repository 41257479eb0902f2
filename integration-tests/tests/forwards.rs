//! Streams through a target: `ssh -W`, `-L` and `-D`, to ports and to sockets, permitted, refused, recorded, cut.
//! The bastion never dials any of these places itself: a real sshd does, or nobody.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{
    DEADLINE, Peer, Rig, Route, Sum, ended, free_port, noise, sha256, soon, until,
};

/// The most memory the bastion may ever hold in these scenes.
const BOUND: u64 = 64 << 20;
const SIZE: usize = 50 << 20;

#[test]
fn fifty_megabytes_each_way_arrive_whole_and_their_digests_are_recorded() {
    let (up, down) = (noise(SIZE, 1), noise(SIZE - 7, 2));
    let peer = Peer::answering(down.clone());
    let place = peer.address().to_string();
    let rig = Rig::new().operator("ana").target("db1").forward_to(&place).start();
    for route in Route::ALL {
        let out = through(&rig, route, &place, &up);
        let (line, rest) = out.stdout.split_at(65);
        assert_eq!(
            String::from_utf8_lossy(line),
            format!("{}\n", sha256(&up)),
            "{route:?}: {:?}",
            told(&out)
        );
        assert_eq!(sha256(rest), sha256(&down), "{route:?}: what is sent after the client's end arrives");
    }
    assert!(rig.server().peak_memory() < BOUND, "{} bytes", rig.server().peak_memory());
    let back = [format!("{}\n", sha256(&up)).into_bytes(), down].concat();
    let recordings = rig.sealed_recordings(2);
    for recording in &recordings {
        assert_eq!((&recording["kind"], &recording["command"]), (&"forward".into(), &place.clone().into()));
        assert!(recording["bytes"].as_u64().unwrap() < 4096, "no content is kept: {recording}");
    }
    let closed = rig.events().into_iter().filter(|e| e["type"] == "channel.stream" && e["outcome"] == "ok");
    let closed: Vec<_> = closed.collect();
    assert_eq!(closed.len(), 2);
    for event in closed {
        let (detail, sum) = (&event["detail"], |bytes: &[u8]| sha256(bytes));
        assert_eq!((&detail["kind"], &detail["to"]), (&"forward".into(), &place.clone().into()));
        assert_eq!((&detail["input"]["bytes"], &detail["input"]["sha256"]), (&SIZE.into(), &sum(&up).into()));
        assert_eq!(detail["output"]["sha256"], sum(&back));
        assert_eq!(detail["output"]["bytes"], back.len());
    }
    rig.verify_everything();
}

#[test]
fn both_directions_at_once_do_not_wait_for_each_other() {
    let peer = Peer::echo();
    let place = peer.address().to_string();
    let rig = Rig::new().operator("ana").target("db1").forward_to(&place).start();
    let up = noise(SIZE, 1);
    for route in Route::ALL {
        let out = through(&rig, route, &place, &up);
        assert_eq!(sha256(&out.stdout), sha256(&up), "{route:?}: {:?}", told(&out));
    }
    assert!(rig.server().peak_memory() < BOUND, "{} bytes", rig.server().peak_memory());
}

#[test]
fn what_no_grant_names_is_refused_and_nobody_dials_it() {
    let peer = Peer::echo();
    let port = peer.port();
    let rig = Rig::new().operator("ana").target("db1").forward_to(&format!("127.0.0.1:{port}")).start();
    let own = rig.server().address().port();
    let places = [
        format!("localhost:{port}"),
        format!("127.1:{port}"),
        format!("0x7f000001:{port}"),
        format!("2130706433:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::1]:{port}"),
        format!("127.0.0.2:{port}"),
        format!("0.0.0.0:{port}"),
        format!("127.0.0.1:{own}"),
        format!("127.0.0.1:{}", rig.target("db1").address().port()),
        "169.254.169.254:80".to_owned(),
    ];
    for route in Route::ALL {
        let ana = rig.client("ana").by(route);
        for place in &places {
            let mut ssh = ana.command("ssh");
            let out = ssh.args(["-W", place]).arg(ana.at("db1")).output().unwrap();
            let said = told(&out);
            assert!(!out.status.success() && out.stdout.is_empty(), "{route:?} {place}: {said}");
            assert!(said.contains("administratively prohibited"), "{route:?} {place}: {said}");
            assert!(
                said.contains("[ACCESS-000] ref ") || said.contains("[ACCESS-010] ref "),
                "{place}: {said}"
            );
        }
    }
    assert_eq!((peer.taken(), rig.target("db1").connections()), (0, 0));
    let denied: Vec<_> = rig.events().into_iter().filter(|event| event["type"] == "access.denied").collect();
    assert_eq!(denied.len(), 2 * places.len());
    assert!(denied.iter().all(|event| event["detail"]["kind"] == "forward"), "{denied:?}");
    let told = |place: &str| denied.iter().find(|event| event["detail"]["to"] == place).cloned();
    assert_eq!(told(&format!("localhost:{port}")).unwrap()["code"], "ACCESS-002");
    assert_eq!(told(&format!("0x7f000001:{port}")).unwrap()["code"], "ACCESS-010");
    // And what is granted still is.
    let out = through(&rig, Route::Direct, &format!("127.0.0.1:{port}"), b"in");
    assert_eq!(out.stdout, b"in", "{}", self::told(&out));
}

#[test]
fn without_a_grant_for_forwards_a_shell_opens_none_and_an_engine_says_so_beforehand() {
    let peer = Peer::echo();
    let place = peer.address().to_string();
    let rig = Rig::new().operator("ana").target("db1").start();
    let out = through(&rig, Route::Jump, &place, b"in");
    assert!(!out.status.success() && out.stdout.is_empty(), "{}", told(&out));
    rig.refusal("ACCESS-002");
    let asked = ["access", "explain", "ana", "db1", "--do"];
    let explain = |rig: &Rig, what: &str| rig.bartizan(&[&asked[..], &[what]].concat()).status.success();
    assert!(!explain(&rig, &format!("forward:{place}")));
    let rig = Rig::new().operator("ana").target("db1").forward_to(&place).allow("agent").start();
    assert!(explain(&rig, &format!("forward:{place}")) && explain(&rig, "agent"));
    assert!(
        !explain(&rig, "forward:127.0.0.1:1") && !explain(&rig, "x11") && !explain(&rig, "reverse-forward")
    );
    let who = rig.said(&["access", "who-can", "db1"]);
    assert!(who.contains(&format!("forward:{place}")) && who.contains("agent"), "{who}");
}

#[test]
fn nobody_at_the_far_end_is_told_as_what_it_is() {
    let place = format!("127.0.0.1:{}", free_port());
    let rig = Rig::new().operator("ana").target("db1").forward_to(&place).start();
    let out = through(&rig, Route::Direct, &place, b"");
    assert!(told(&out).contains("connect failed"), "{}", told(&out));
    assert_eq!(rig.refusal("TARGET-007")["outcome"], "failed");
    let deaf =
        Rig::new().operator("ana").target("db1").sshd("AllowTcpForwarding no").forward_to(&place).start();
    let out = through(&deaf, Route::Jump, &place, b"");
    assert!(told(&out).contains("administratively prohibited"), "{}", told(&out));
    deaf.refusal("TARGET-006");
}

#[test]
fn a_local_port_serves_many_streams_one_after_the_other_and_at_once() {
    let peer = Peer::echo();
    let place = peer.address().to_string();
    let rig = Rig::new().operator("ana").target("db1").forward_to(&place).start();
    for route in Route::ALL {
        let local = Local::open(&rig, route, |port| vec!["-L".into(), format!("127.0.0.1:{port}:{place}")]);
        let many: Vec<_> = (0..6)
            .map(|number| {
                let mut stream = local.connect();
                std::thread::spawn(move || {
                    let sent = noise((1 << 20) + number, 1);
                    let (mut to, bytes) = (stream.try_clone().unwrap(), sent.clone());
                    let writing = std::thread::spawn(move || {
                        to.write_all(&bytes).unwrap();
                        to.shutdown(std::net::Shutdown::Write).unwrap();
                    });
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).unwrap();
                    writing.join().unwrap();
                    assert_eq!(sha256(&back), sha256(&sent));
                })
            })
            .collect();
        many.into_iter().for_each(|one| one.join().unwrap());
    }
    let recordings = rig.sealed_recordings(12);
    assert_eq!(recordings.len(), 12);
    assert_eq!(peer.taken(), 12);
    rig.verify_everything();
}

#[test]
fn a_browser_reaches_what_is_granted_by_a_dynamic_forward() {
    let (page, other) = (Peer::page(), Peer::page());
    let place = page.address().to_string();
    let rig = Rig::new().operator("ana").target("db1").forward_to(&place).start();
    for route in Route::ALL {
        let local = Local::open(&rig, route, |port| vec!["-D".into(), format!("127.0.0.1:{port}")]);
        let curl = |to: &Peer| {
            let proxy = format!("127.0.0.1:{}", local.port);
            let url = format!("http://{}/", to.address());
            Command::new("curl").args(["-sS", "--max-time", "30", "--socks5", &proxy, &url]).output().unwrap()
        };
        for _ in 0..3 {
            let got = curl(&page);
            assert_eq!(got.stdout, b"in\n", "{route:?}: {got:?}");
        }
        assert!(!curl(&other).status.success());
    }
    assert_eq!(other.taken(), 0);
}

#[test]
fn a_socket_of_the_target_is_reached_by_its_path_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (open, shut) = (folder.path().join("open.sock"), folder.path().join("shut.sock"));
    Peer::echo_at(&open);
    Peer::echo_at(&shut);
    let rig =
        Rig::new().operator("ana").target("db1").forward_to(&format!("unix:{}", open.display())).start();
    let roundabout = folder.path().join("x/../open.sock");
    for route in Route::ALL {
        for (path, works) in [(&open, true), (&shut, false), (&roundabout, false)] {
            let to = path.display().to_string();
            let local = Local::open(&rig, route, |port| vec!["-L".into(), format!("127.0.0.1:{port}:{to}")]);
            let mut stream = local.connect();
            let _ = stream.write_all(b"in");
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut back = Vec::new();
            let _ = stream.read_to_end(&mut back);
            assert_eq!(back == b"in", works, "{route:?} {to}: {back:?}");
        }
    }
    let recordings = rig.sealed_recordings(2);
    assert!(
        recordings.iter().all(|one| one["command"] == format!("unix:{}", open.display())),
        "{recordings:?}"
    );
}

#[test]
fn a_stalled_stream_does_not_hold_up_its_siblings() {
    let (flood, echo) = (Peer::flooding(), Peer::echo());
    let places = [flood.address().to_string(), echo.address().to_string()];
    let rig = Rig::new().operator("ana").target("db1").forward_to(&places[0]).forward_to(&places[1]).start();
    for route in Route::ALL {
        let second = free_port();
        let local = Local::open(&rig, route, |port| {
            let to = |port: u16, place: &str| ["-L".to_owned(), format!("127.0.0.1:{port}:{place}")];
            [to(port, &places[0]), to(second, &places[1])].concat()
        });
        let mut stalled = local.connect();
        let mut first = [0; 1];
        stalled.read_exact(&mut first).unwrap();
        // Full everywhere between the flood and us, and nobody reads.
        until("the flood to stand still", DEADLINE, || {
            let before = rig.server().memory();
            std::thread::sleep(Duration::from_millis(300));
            (rig.server().memory().abs_diff(before) < (64 << 10)).then_some(())
        });
        let mut sibling = TcpStream::connect((Ipv4Addr::LOCALHOST, second)).unwrap();
        sibling.set_nodelay(true).unwrap();
        let mut slowest = Duration::ZERO;
        for round in 0..50_u8 {
            let begun = Instant::now();
            sibling.write_all(&[round]).unwrap();
            sibling.read_exact(&mut first).unwrap();
            assert_eq!(first[0], round);
            if round > 0 {
                slowest = slowest.max(begun.elapsed());
            }
        }
        eprintln!("{route:?}: slowest echo beside a stalled stream {slowest:?}");
        let bulk = noise(20 << 20, 1);
        let mut to = sibling.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            to.write_all(&bulk).unwrap();
            to.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut sum = Sum::default();
        let mut block = vec![0; 1 << 16];
        while let Ok(count @ 1..) = sibling.read(&mut block) {
            sum.add(&block[..count]);
        }
        writing.join().unwrap();
        assert_eq!(sum.end().1, sha256(&noise(20 << 20, 1)));
    }
    assert!(rig.server().peak_memory() < BOUND, "{} bytes", rig.server().peak_memory());
}

#[test]
fn a_stream_is_cut_within_a_second_when_its_grant_goes_though_it_is_idle() {
    cut("SESSION-002", |rig| rig.apply_without_forwards());
}

#[test]
fn session_kill_ends_streams() {
    cut("SESSION-001", |rig| {
        let live = rig.live();
        rig.bartizan(&["session", "kill", live[0]["id"].as_str().unwrap()])
    });
}

fn cut(code: &str, act: impl Fn(&Rig) -> Output) {
    let peer = Peer::echo();
    let place = peer.address().to_string();
    for route in Route::ALL {
        let rig = Rig::new().operator("ana").target("db1").forward_to(&place).start();
        let local = Local::open(&rig, route, |port| vec!["-L".into(), format!("127.0.0.1:{port}:{place}")]);
        let mut stream = local.connect();
        stream.write_all(b"in").unwrap();
        let mut back = [0; 2];
        stream.read_exact(&mut back).unwrap();
        let said = act(&rig);
        assert!(said.status.success(), "{said:?}");
        let returned = Instant::now();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert!(matches!(stream.read(&mut back), Ok(0) | Err(_)), "the stream ends");
        assert!(returned.elapsed() < soon(), "{route:?}: {:?}", returned.elapsed());
        until("the session to be off the list", DEADLINE, || rig.live().is_empty().then_some(()));
        rig.refusal(code);
        rig.sealed_recordings(1);
        rig.verify_everything();
    }
}

#[test]
fn a_connection_without_a_stream_ends_when_it_has_idled_long_enough() {
    let rig = Rig::new().operator("ana").target("db1").setting("ssh", "idle_timeout = \"1s\"").start();
    for route in Route::ALL {
        let ana = rig.client("ana").by(route);
        let mut ssh = ana.command("ssh").arg("-N").arg(ana.at("db1")).spawn().unwrap();
        ended("an idle connection", &mut ssh, DEADLINE);
    }
}

/// One stream by `ssh -W`: what is sent, and what comes back.
fn through(rig: &Rig, route: Route, place: &str, bytes: &[u8]) -> Output {
    let ana = rig.client("ana").by(route);
    let mut ssh = ana.command("ssh");
    ssh.args(["-W", place]).arg(ana.at("db1"));
    let mut ssh = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut to, bytes) = (ssh.stdin.take().unwrap(), bytes.to_vec());
    let writing = std::thread::spawn(move || {
        let _ = to.write_all(&bytes);
    });
    let output = ssh.wait_with_output().unwrap();
    writing.join().unwrap();
    output
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// `ssh -N` with a local port.
struct Local {
    ssh: Child,
    port: u16,
}

impl Local {
    fn open(rig: &Rig, route: Route, forwards: impl Fn(u16) -> Vec<String>) -> Self {
        let (ana, port) = (rig.client("ana").by(route), free_port());
        let mut ssh = ana.command("ssh");
        ssh.args(["-N", "-o", "ExitOnForwardFailure=yes"]).args(forwards(port)).arg(ana.at("db1"));
        let mut ssh = ssh.stderr(Stdio::null()).spawn().unwrap();
        until("the local port", DEADLINE, || {
            assert!(ssh.try_wait().unwrap().is_none(), "the connection was not let in");
            listens(port).then_some(())
        });
        Self { ssh, port }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap()
    }
}

/// Whether anybody listens there, without connecting (state 0A in `/proc/net/tcp`).
fn listens(port: u16) -> bool {
    let own = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).any(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1].ends_with(&own) && fields[3] == "0A"
    })
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}
