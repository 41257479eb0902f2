//! Sources: what one of them may hold, what it has to wait for what it did, and where connections really come from.
//! It never waits for a penalty without a bound.

use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{Builder, DEADLINE, Rig, until};

use crate::hostile::{Hostile, runtime};
use crate::raw::{PATIENCE, address, from, greeted, is_answered, is_closed, until_closed};

fn scene() -> Builder {
    Rig::new().operator("ana").target("db1")
}

fn silent(rig: &Rig, source: Ipv4Addr, count: usize) -> Vec<TcpStream> {
    (0..count).map(|_| from(source, rig.server().address()).unwrap()).collect()
}

fn open(streams: &[TcpStream]) -> usize {
    streams.iter().filter(|stream| !is_closed(stream)).count()
}

#[test]
fn silent_connections_shut_out_neither_others_nor_their_own_neighbours() {
    let rig = scene()
        .setting("ssh", "max_unauthenticated = 16")
        .setting("ssh", "max_unauthenticated_per_source = 8")
        .start();
    // From another address, and from the very one that people come from.
    for source in [address(1), Ipv4Addr::LOCALHOST] {
        let flood = silent(&rig, source, 100);
        assert_eq!(rig.client("ana").ssh("db1", "echo in").stdout, b"in\n", "{source}");
        assert!(open(&flood) <= 8, "{source} holds {}", open(&flood));
    }
}

#[test]
fn somebody_at_the_prompt_is_not_pushed_out_by_a_flood() {
    let rig = scene().setting("ssh", "max_unauthenticated = 8").start();
    runtime().block_on(async {
        let mut waiting = Hostile::connect(rig.server().address(), b"").await.unwrap();
        waiting.sign(&rig, "ana", "ana-device").await;
        let _flood: Vec<_> = (0..20).map(|_| silent(&rig, Ipv4Addr::LOCALHOST, 5)).collect();
        let partial = waiting.sign(&rig, "ana", "ana-key").await;
        assert!(!partial.success() && !waiting.handle.is_closed());
    });
}

#[test]
fn the_caps_of_one_source_hold_for_those_inside_too() {
    let rig = scene().setting("ssh", "max_connections_per_source = 1").start();
    let held = rig.client("ana").share("db1");
    assert!(!is_answered(Ipv4Addr::LOCALHOST, rig.server().address()));
    assert!(is_answered(address(1), rig.server().address()));
    assert_eq!(held.command("echo in").output().unwrap().stdout, b"in\n");
}

#[test]
fn failed_logins_make_their_source_wait_and_no_other() {
    let rig = scene().setting("ssh", "penalty_exempt = []").start();
    let (ana, to) = (rig.client("ana"), rig.server().address());
    let stranger = ana.clone().without_device().option("BindAddress 127.0.1.1");
    let session = ana.share("db1");
    // Each is a failed login; some are not yet enough.
    assert!(!stranger.ssh("db1", "true").status.success());
    assert!(is_answered(address(1), to));
    let began = Instant::now();
    until("the source to be made to wait", DEADLINE, || {
        let barred = !is_answered(address(1), to);
        if !barred {
            stranger.ssh("db1", "true");
        }
        barred.then_some(())
    });
    assert!(is_answered(Ipv4Addr::LOCALHOST, to), "others are not meant");
    assert_eq!(session.command("echo in").output().unwrap().stdout, b"in\n");
    assert_eq!(ana.ssh("db1", "echo in").stdout, b"in\n");
    until("the penalty to be over", Duration::from_secs(60), || is_answered(address(1), to).then_some(()));
    println!("answered again after {:?}", began.elapsed());
}

#[test]
fn what_no_client_says_is_punished_and_the_order_of_offers_is_not() {
    let rig = scene().setting("ssh", "penalty_exempt = []").start();
    let to = rig.server().address();
    // The person's key comes first and is turned away each time; the login is then finished.
    let backwards = rig.client("ana").option(&format!("IdentityFile {}", rig.path("ana-key").display()));
    for _ in 0..6 {
        assert_eq!(backwards.ssh("db1", "echo in").stdout, b"in\n");
    }
    until("a scanner to be made to wait", DEADLINE, || {
        let Ok(mut stream) = from(address(2), to) else { return None };
        if !greeted(&mut stream) {
            return Some(());
        }
        let _ = stream.write_all(b"GET / HTTP/1.1\r\n\r\n");
        until_closed(&mut stream);
        None
    });
    assert_eq!(rig.client("ana").ssh("db1", "echo in").stdout, b"in\n");
}

#[test]
fn a_proxy_that_is_configured_says_where_a_connection_comes_from() {
    let rig = scene()
        .setting("ssh", "proxy_protocol_from = [\"127.0.0.1\"]")
        .setting("ssh", "penalty_exempt = []")
        .setting("ssh", "login_grace = \"5s\"")
        .start();
    let (me, to) = (Ipv4Addr::LOCALHOST, rig.server().address());
    let header = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 22\r\n";
    runtime().block_on(async {
        let client = Hostile::log_in(&rig, "ana", "db1", header).await;
        let login = rig.events().into_iter().find(|e| e["type"] == "auth.login" && e["outcome"] == "ok");
        assert_eq!(login.unwrap()["detail"]["peer"], "203.0.113.9:4711");
        drop(client);
    });
    // No header, half a header, an endless one: closed without a word of ours.
    for said in [&b"SSH-2.0-x\r\n"[..], &[b'P'; 300], b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n"] {
        let mut stream = from(me, to).unwrap();
        let _ = stream.write_all(said);
        assert!(!greeted(&mut stream), "{said:?}");
    }
    let began = Instant::now();
    let mut slow = from(me, to).unwrap();
    slow.write_all(b"PROXY TCP4 1.2").unwrap();
    until_closed(&mut slow);
    assert!(began.elapsed() < PATIENCE / 2, "the login's deadline holds here too");
    // Whoever is no proxy is not believed.
    let mut stranger = from(address(3), to).unwrap();
    assert!(greeted(&mut stranger));
    stranger.write_all(header).unwrap();
    until_closed(&mut stranger);
    // Penalties are for the source that is named.
    let named = |source: u8| {
        let mut stream = from(me, to).unwrap();
        let header = format!("PROXY TCP4 203.0.113.{source} 10.0.0.1 4711 22\r\n");
        let _ = stream.write_all(header.as_bytes());
        (greeted(&mut stream), stream)
    };
    until("the named source to be made to wait", DEADLINE, || {
        let (answered, mut stream) = named(1);
        if answered {
            let _ = stream.write_all(b"nonsense\r\n");
            until_closed(&mut stream);
        }
        (!answered).then_some(())
    });
    assert!(named(2).0, "another one behind the same proxy");
}
