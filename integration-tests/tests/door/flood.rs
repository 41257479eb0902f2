//! Floods: more half-open connections than there are places, while people work and log in.
//! It never counts on the order in which threads run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bartizan_integration_tests::{Builder, Rig, until};

use crate::raw::{address, from, is_closed, raise_limit};

/// How often each source opens again what was closed.
const ROUND: Duration = Duration::from_secs(1);
/// The most memory the bastion may hold.
const BOUND: u64 = 96 << 20;

/// Half-open connections, opened again as they are closed.
struct Flood {
    over: Arc<AtomicBool>,
    opened: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    /// So many connections from each of so many addresses; every other one says a line and nothing else.
    fn start(to: SocketAddr, sources: u8, each: usize) -> Self {
        raise_limit();
        let (over, opened) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let numbers: Vec<u8> = (1..=sources).collect();
        let threads = numbers.chunks(50).map(|some| {
            let (some, over, opened) = (some.to_vec(), over.clone(), opened.clone());
            std::thread::spawn(move || pour(&some, each, to, &over, &opened))
        });
        Self { threads: threads.collect(), over, opened }
    }

    fn stop(self) -> u64 {
        self.over.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        self.opened.load(Ordering::SeqCst)
    }
}

fn pour(sources: &[u8], each: usize, to: SocketAddr, over: &AtomicBool, opened: &AtomicU64) {
    let mut held: Vec<(Ipv4Addr, Option<TcpStream>)> =
        sources.iter().flat_map(|&n| (0..each).map(move |_| (address(n), None))).collect();
    while !over.load(Ordering::SeqCst) {
        let began = Instant::now();
        for (at, (source, stream)) in held.iter_mut().enumerate() {
            if stream.as_ref().is_none_or(is_closed) {
                *stream = from(*source, to).ok();
                opened.fetch_add(1, Ordering::SeqCst);
                if let Some(mut stream) = stream.as_ref().filter(|_| at % 2 == 0) {
                    let _ = stream.write_all(b"SSH-2.0-flood\r\n");
                }
            }
        }
        while began.elapsed() < ROUND && !over.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

struct Figures {
    logins: Vec<Duration>,
    echoes: Vec<Duration>,
}

/// Works in one session and logs in again and again, until both were done often enough and the time is over.
fn work(rig: &Rig, logins: usize, at_least: Duration) -> Figures {
    let ana = rig.client("ana");
    let mut session = ana.start("db1", "cat");
    let (mut to, mut from) = (session.stdin.take().unwrap(), BufReader::new(session.stdout.take().unwrap()));
    let over = Arc::new(AtomicBool::new(false));
    let ended = over.clone();
    let echoing = std::thread::spawn(move || {
        let mut echoes = Vec::new();
        while !ended.load(Ordering::SeqCst) {
            let (began, mut line) = (Instant::now(), String::new());
            to.write_all(b"echo\n").unwrap();
            from.read_line(&mut line).unwrap();
            assert_eq!(line, "echo\n");
            echoes.push(began.elapsed());
            std::thread::sleep(Duration::from_millis(10));
        }
        echoes
    });
    let began = Instant::now();
    let mut took = Vec::new();
    while took.len() < logins || began.elapsed() < at_least {
        let start = Instant::now();
        let output = ana.ssh("db1", "true");
        assert!(output.status.success(), "{output:?}");
        took.push(start.elapsed());
    }
    over.store(true, Ordering::SeqCst);
    let echoes = echoing.join().unwrap();
    assert!(session.wait().unwrap().success());
    Figures { logins: took, echoes }
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort();
    times[(times.len() * percent / 100).min(times.len() - 1)]
}

/// A scene in which the addresses of the flood are strangers, and the one of the people is not.
fn scene() -> Builder {
    Rig::new().operator("ana").target("db1").setting("ssh", "penalty_exempt = [\"127.0.0.1\"]")
}

fn flooded(rig: &Rig, sources: u8, each: usize, logins: usize, at_least: Duration) {
    assert!(rig.client("ana").ssh("db1", "true").status.success(), "the code is remembered from here on");
    let before = (rig.server().memory(), rig.server().descriptors());
    let flood = Flood::start(rig.server().address(), sources, each);
    let mut figures = work(rig, logins, at_least);
    let opened = flood.stop();
    // Whatever the flood held is given back.
    until("descriptors to come back", Duration::from_secs(60), || {
        (rig.server().descriptors() <= before.1 + 8).then_some(())
    });
    let after = rig.server().memory();
    println!(
        "{opened} connections; {} logins: p50 {:?} p99 {:?}; {} echoes: p50 {:?} p99 {:?}; memory before {} KiB, most {} KiB, after {} KiB",
        figures.logins.len(),
        percentile(&mut figures.logins, 50),
        percentile(&mut figures.logins, 99),
        figures.echoes.len(),
        percentile(&mut figures.echoes, 50),
        percentile(&mut figures.echoes, 99),
        before.0 >> 10,
        rig.server().peak_memory() >> 10,
        after >> 10,
    );
    assert!(rig.server().peak_memory() < BOUND, "{}", rig.server().peak_memory());
    rig.verify_everything();
}

#[test]
fn four_hundred_half_open_connections_shut_nobody_out() {
    let rig = scene().setting("ssh", "max_unauthenticated = 20").start();
    flooded(&rig, 40, 10, 5, Duration::from_secs(2));
}

#[test]
fn a_flood_that_is_never_punished_shuts_nobody_out_either() {
    let rig = scene()
        .setting("ssh", "max_unauthenticated = 20")
        .setting("ssh", "penalty_exempt = [\"127.0.0.0/8\"]")
        .start();
    flooded(&rig, 40, 10, 5, Duration::from_secs(2));
}

#[test]
#[ignore = "long: a minute of five thousand connections"]
fn five_thousand_half_open_connections_from_two_hundred_addresses() {
    let rig = scene().start();
    flooded(&rig, 200, 25, 50, Duration::from_secs(60));
}

#[test]
#[ignore = "long: a minute of five thousand connections"]
fn five_thousand_half_open_connections_that_are_never_punished() {
    let rig = scene().setting("ssh", "penalty_exempt = [\"127.0.0.0/8\"]").start();
    flooded(&rig, 200, 25, 50, Duration::from_secs(60));
}
