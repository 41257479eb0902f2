//! Waiting for what must come: by looking again and again, with a deadline.
//! It never sleeps for a fixed time and hopes.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Long enough for a loaded machine with two cores; only a failure ever takes this long.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Whether the long tests are asked for: they run for hours, and on a machine that does nothing else.
pub(crate) fn long() -> bool {
    std::env::args().any(|argument| argument == "--ignored" || argument == "--include-ignored")
}

/// What a promise of a second is held against: the letter with the long tests, more on a machine that does much else.
pub fn soon() -> Duration {
    Duration::from_secs(if long() { 1 } else { 5 })
}

/// What `look` finds, looked for every few milliseconds.
///
/// # Panics
/// After `limit`, naming what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// How a process ended.
///
/// # Panics
/// After `limit`; the process is killed first.
pub fn ended(what: &str, child: &mut Child, limit: Duration) -> ExitStatus {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!("waited {limit:?} for {what} to end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
