//! When the kernel sees connections end: looked at often and from outside, so that nobody who is cut has to tell.
//! It never looks beyond TCP over IPv4 on this machine.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(4);
/// States of `/proc/net/tcp` in which the holder of this end has not closed it: established, and closed by the other side.
const HELD: [&str; 2] = ["01", "08"];

/// A connection, by the ports of both ends; the first is the one that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// The port of the end that is watched.
    pub own: u16,
    /// The port of the other end.
    pub other: u16,
}

/// The ends that are held now.
pub fn held() -> Vec<Pair> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |end: &str| end.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    let pair = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let (own, other, state) = (fields.next()?, fields.next()?, fields.next()?);
        HELD.contains(&state).then_some(Pair { own: port(own)?, other: port(other)? })
    };
    table.lines().skip(1).filter_map(pair).collect()
}

/// The ends that a server holds of what others have connected to it.
pub fn held_at(server: SocketAddr) -> Vec<Pair> {
    held().into_iter().filter(|pair| pair.own == server.port()).collect()
}

/// Watches some ends until all are gone, or it is dropped.
pub struct Watch {
    gone: Arc<Mutex<HashMap<Pair, Option<Instant>>>>,
    over: Arc<AtomicBool>,
    looking: Option<JoinHandle<()>>,
}

impl Watch {
    /// Watches these.
    pub fn over(pairs: &[Pair]) -> Self {
        let gone = Arc::new(Mutex::new(pairs.iter().map(|pair| (*pair, None)).collect::<HashMap<_, _>>()));
        let over = Arc::new(AtomicBool::new(false));
        let looking = std::thread::spawn({
            let (gone, over) = (gone.clone(), over.clone());
            move || look(&gone, &over)
        });
        Self { gone, over, looking: Some(looking) }
    }

    /// How many are gone.
    pub fn gone(&self) -> usize {
        self.gone.lock().unwrap().values().flatten().count()
    }

    /// When the first was seen to be gone.
    ///
    /// # Panics
    /// When none is.
    pub fn first(&self) -> Instant {
        self.gone.lock().unwrap().values().flatten().min().copied().expect("one is gone")
    }

    /// How long after `begun` each was seen to be gone.
    ///
    /// # Panics
    /// When one is still there.
    pub fn times(self, begun: Instant) -> Vec<Duration> {
        let gone = self.gone.lock().unwrap();
        let time = |at: &Option<Instant>| at.expect("it is gone").saturating_duration_since(begun);
        gone.values().map(time).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(looking) = self.looking.take() {
            let _ = looking.join();
        }
    }
}

fn look(gone: &Mutex<HashMap<Pair, Option<Instant>>>, over: &AtomicBool) {
    // A table that is read while others change it may miss a row: what is missing twice in a row is gone.
    let mut missed: HashMap<Pair, Instant> = HashMap::new();
    while !over.load(Ordering::Relaxed) {
        let seen = held();
        let now = Instant::now();
        let mut gone = gone.lock().unwrap();
        for (pair, at) in gone.iter_mut().filter(|(_, at)| at.is_none()) {
            if seen.contains(pair) {
                missed.remove(pair);
            } else if let Some(first) = missed.get(pair) {
                *at = Some(*first);
            } else {
                missed.insert(*pair, now);
            }
        }
        let all = gone.values().all(Option::is_some);
        drop(gone);
        if all {
            return;
        }
        std::thread::sleep(LOOK);
    }
}
