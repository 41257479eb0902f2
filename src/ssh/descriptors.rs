//! File descriptors as a thing that runs out: newcomers are shed before running sessions feel it, and accepting goes on.
//! Never takes the last ones: a session needs more of them (its target, its recording) than the socket it came by.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};

/// The part of all descriptors that is kept for what runs already, and the most that are.
const KEPT: u64 = 4;
const KEPT_MOST: u64 = 1024;
/// How long a connection that is waiting already may take to be accepted, only to be closed.
const SHEDDING: Duration = Duration::from_millis(50);

/// As many descriptors as the system lets this process have.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(why) = setrlimit(Resource::Nofile, wanted) {
            tracing::warn!(%why, "the limit of open files cannot be raised");
        }
    }
}

/// Whether so many descriptors are in use that a new connection is to be closed at once. The system gives the lowest
/// number that is free, so a socket's own number tells how many are taken.
pub(super) fn scarce(stream: &TcpStream) -> bool {
    let own = u64::try_from(stream.as_raw_fd()).unwrap_or(u64::MAX);
    getrlimit(Resource::Nofile).current.is_some_and(|limit| own >= limit - (limit / KEPT).min(KEPT_MOST))
}

/// One descriptor that is given up when there are no others, so that whoever waits can be accepted and closed.
pub(super) struct Reserve(Option<OwnedFd>);

impl Reserve {
    /// A second descriptor of the listener itself: it needs no file.
    pub(super) fn new(listener: &TcpListener) -> Self {
        Self(listener.as_fd().try_clone_to_owned().ok())
    }

    /// Whether an accept failed because there are no descriptors.
    pub(super) fn is_shortage(why: &std::io::Error) -> bool {
        matches!(Errno::from_io_error(why), Some(Errno::MFILE | Errno::NFILE))
    }

    /// Accepts whoever waits, and closes the connection. `false` when nobody was shed.
    pub(super) async fn shed(&mut self, listener: &TcpListener) -> bool {
        drop(self.0.take());
        let shed = tokio::time::timeout(SHEDDING, listener.accept()).await;
        let done = matches!(shed, Ok(Ok(_)));
        drop(shed);
        self.0 = listener.as_fd().try_clone_to_owned().ok();
        done
    }
}
