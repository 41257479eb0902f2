//! Bytes over links that take time: 40 ms there and back between client and bastion, and as much between bastion and target.
//! It never limits how much a link carries, so that what limits is a window, or the machine.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use bartizan_integration_tests::{
    BLOCK, Client, DEADLINE, Link, Rig, Route, Shared, by_both_routes, end, ended, first_line, until,
};

/// One way over one link.
const DELAY: Duration = Duration::from_millis(20);
/// There and back over both.
const ROUND: Duration = Duration::from_millis(80);
/// What an echo may take more, while others are stalled.
const MORE: Duration = Duration::from_millis(50);
/// The same beside other tests: what is held up waits for ever.
const MUCH_MORE: Duration = Duration::from_secs(1);
/// What a window lets through in 40 ms, in bytes a second. OpenSSH's own is of 2 MiB.
const SMALL_WINDOW: f64 = (128 << 10) as f64 / 0.04;
const LARGE_WINDOW: f64 = (768 << 10) as f64 / 0.04;

by_both_routes! {
    a_transfer_is_not_held_up_by_a_small_window,
    #[ignore = "long: half a gibibyte each way"]
    a_long_transfer_is_not_held_up_by_a_small_window,
    siblings_of_a_stalled_channel_go_on,
    #[ignore = "long: one and three stalled channels, each way"]
    siblings_of_many_stalled_channels_go_on_as_fast_as_before,
}

/// A bastion between two links.
struct Scene {
    rig: Rig,
    near: Link,
}

impl Scene {
    fn start() -> Self {
        let rig = Rig::new().operator("ana").target("db1").start();
        let near = Link::to(rig.server().address(), DELAY);
        let target = rig.target("db1");
        let far = Link::to(target.address(), DELAY);
        let said = rig.apply(&rig.bundle_with("db1", far.address(), target.host_key()));
        assert!(said.status.success(), "{said:?}");
        Self { rig, near }
    }

    fn client(&self, route: Route) -> Client<'_> {
        self.rig.client("ana").by(route).through(&self.near)
    }
}

/// Takes so many blocks; bytes a second, from the first byte to the last.
fn down(mut program: Child, blocks: usize) -> f64 {
    let mut out = program.stdout.take().unwrap();
    out.read_exact(&mut [0]).unwrap();
    let (began, mut piece, mut count) = (Instant::now(), vec![0; 1 << 16], 1);
    while count < blocks * BLOCK {
        match out.read(&mut piece).unwrap() {
            0 => break,
            n => count += n,
        }
    }
    let took = began.elapsed();
    assert_eq!(count, blocks * BLOCK);
    assert!(ended("the transfer", &mut program, DEADLINE).success());
    count as f64 / took.as_secs_f64()
}

/// Sends so many blocks to what says a line first and counts them; bytes a second.
fn up(mut program: Child, blocks: usize) -> f64 {
    assert_eq!(first_line(&mut program), "ready");
    let (mut input, began) = (program.stdin.take().unwrap(), Instant::now());
    for _ in 0..blocks {
        input.write_all(&vec![0; BLOCK]).unwrap();
    }
    drop(input);
    let mut said = String::new();
    program.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    let took = began.elapsed();
    assert_eq!(said.trim(), (blocks * BLOCK).to_string());
    assert!(ended("the transfer", &mut program, DEADLINE).success());
    (blocks * BLOCK) as f64 / took.as_secs_f64()
}

const COUNTING: &str = "echo ready; wc -c";

fn sending(blocks: usize) -> String {
    format!("head -c {} /dev/zero", blocks * BLOCK)
}

fn a_transfer_is_not_held_up_by_a_small_window(route: Route) {
    transfer(route, 24, SMALL_WINDOW);
}

fn a_long_transfer_is_not_held_up_by_a_small_window(route: Route) {
    transfer(route, 512, LARGE_WINDOW);
}

fn transfer(route: Route, blocks: usize, least: f64) {
    let scene = Scene::start();
    let ana = scene.client(route);
    let down = down(ana.start("db1", &sending(blocks)), blocks);
    let up = up(ana.start("db1", COUNTING), blocks);
    println!("{route:?}, {blocks} MiB: down {:.1} MB/s, up {:.1} MB/s", down / 1e6, up / 1e6);
    assert!(down > least && up > least, "down {down:.0}, up {up:.0} bytes a second");
}

/// A program that sends back what it gets.
struct Echo {
    program: Child,
    to: ChildStdin,
    from: ChildStdout,
}

impl Echo {
    fn start(shared: &Shared) -> Self {
        let mut program = shared.start("cat");
        let (to, from) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
        let mut echo = Self { program, to, from };
        echo.once();
        echo
    }

    fn once(&mut self) -> Duration {
        let began = Instant::now();
        self.to.write_all(b"x").unwrap();
        self.from.read_exact(&mut [0]).unwrap();
        began.elapsed()
    }

    /// The median, and what nine of ten and all but one in a hundred do not exceed.
    fn times(&mut self, count: usize) -> [Duration; 3] {
        let mut times: Vec<Duration> = (0..count).map(|_| self.once()).collect();
        times.sort();
        [50, 90, 99].map(|percent| times[(count * percent / 100).min(count - 1)])
    }

    fn over(self) {
        let Self { mut program, to, .. } = self;
        drop(to);
        assert!(ended("the echo", &mut program, DEADLINE).success());
    }
}

/// Channels that do not move: output that nobody reads, or input that nobody takes.
struct Stalled {
    programs: Vec<Child>,
    sleepers: Vec<u32>,
    flooding: Vec<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    Down,
    Up,
}

impl Stalled {
    fn start(shared: &Shared, direction: Direction, count: usize) -> Self {
        let mut all = Self { programs: Vec::new(), sleepers: Vec::new(), flooding: Vec::new() };
        for _ in 0..count {
            let mut program = match direction {
                Direction::Down => shared.start("yes"),
                Direction::Up => shared.start("echo $$; exec sleep 600"),
            };
            let line = first_line(&mut program);
            if direction == Direction::Up {
                all.sleepers.push(line.parse().unwrap());
                let mut input = program.stdin.take().unwrap();
                let flood = move || while input.write_all(&[0; BLOCK]).is_ok() {};
                all.flooding.push(std::thread::spawn(flood));
            }
            all.programs.push(program);
        }
        until("everything in between to be full", DEADLINE, || shared_is_still(shared).then_some(()));
        all
    }

    fn over(mut self) {
        for program in &mut self.programs {
            program.kill().unwrap();
            program.wait().unwrap();
        }
        for flooding in self.flooding {
            flooding.join().unwrap();
        }
        for sleeper in self.sleepers {
            end(sleeper);
        }
    }
}

/// Whether the client that holds the connection moves no more than the trickle that keeps a stalled channel awake.
fn shared_is_still(shared: &Shared) -> bool {
    let moved = || -> u64 {
        let io = std::fs::read_to_string(format!("/proc/{}/io", shared.master().id())).unwrap();
        io.lines()
            .filter_map(|line| line.split_once("char: "))
            .map(|(_, count)| count.parse::<u64>().unwrap())
            .sum()
    };
    let before = moved();
    std::thread::sleep(Duration::from_millis(500));
    moved() - before < 64 << 10
}

/// Speed in both directions and delays of echoes on one connection.
#[derive(Debug)]
struct Figures {
    down: f64,
    up: f64,
    /// Median, and what nine of ten and all but one in a hundred do not exceed.
    echo: [Duration; 3],
}

fn siblings(shared: &Shared, blocks: usize, echoes: usize) -> Figures {
    let mut echo = Echo::start(shared);
    let times = echo.times(echoes);
    echo.over();
    let down = down(shared.start(&sending(blocks)), blocks);
    let up = up(shared.start(COUNTING), blocks);
    Figures { down, up, echo: times }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, most, nearly_all] = self.echo;
        write!(
            f,
            "down {:.1} MB/s, up {:.1} MB/s, echo p50 {median:.1?} p90 {most:.1?} p99 {nearly_all:.1?}",
            self.down / 1e6,
            self.up / 1e6
        )
    }
}

fn siblings_of_a_stalled_channel_go_on(route: Route) {
    let scene = Scene::start();
    let shared = scene.client(route).share("db1");
    for direction in [Direction::Down, Direction::Up] {
        let stalled = Stalled::start(&shared, direction, 1);
        let figures = siblings(&shared, 4, 20);
        println!("{route:?}, one stalled {direction:?}: {figures}");
        assert!(figures.echo[0] < ROUND + MUCH_MORE, "{figures}");
        stalled.over();
    }
    shared.close();
}

fn siblings_of_many_stalled_channels_go_on_as_fast_as_before(route: Route) {
    let scene = Scene::start();
    let shared = scene.client(route).share("db1");
    let free = siblings(&shared, 64, 200);
    println!("{route:?}, none stalled: {free}");
    let mut slower = Vec::new();
    for (direction, count) in
        [(Direction::Down, 1), (Direction::Up, 1), (Direction::Down, 3), (Direction::Up, 3)]
    {
        let stalled = Stalled::start(&shared, direction, count);
        let figures = siblings(&shared, 64, 200);
        println!("{route:?}, {count} stalled {direction:?}: {figures}");
        let prompt = figures.echo[1] < ROUND + MORE;
        if !prompt || figures.down < free.down / 2.0 || figures.up < free.up / 2.0 {
            slower.push(format!("{count} stalled {direction:?}: {figures}"));
        }
        stalled.over();
    }
    shared.close();
    assert!(slower.is_empty(), "{slower:#?}, none stalled: {free}");
}

/// Echoes while the same connection carries as much as it can.
#[test]
fn an_echo_is_not_held_up_by_a_transfer() {
    let scene = Scene::start();
    let shared = scene.client(Route::Direct).share("db1");
    let mut echo = Echo::start(&shared);
    let mut flood = shared.command("cat /dev/zero").stdout(Stdio::null()).spawn().unwrap();
    until("the transfer to run", DEADLINE, || (!shared_is_still(&shared)).then_some(()));
    let [median, _, longest] = echo.times(30);
    println!("echo under a transfer: p50 {median:.1?} p99 {longest:.1?}");
    assert!(median < ROUND + MUCH_MORE, "{median:?}");
    flood.kill().unwrap();
    flood.wait().unwrap();
    echo.over();
    shared.close();
}
