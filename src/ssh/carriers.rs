//! The threads that carry connections: one a core, each with an event loop of its own. All of a connection, the leg to its target
//! and its recording stay on one thread: what passes between them wakes nobody else and lies in that core's cache.
//! Never moves a connection: it goes to the thread that has the fewest, and stays.

use std::future::Future;
use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// The threads; they end when this is dropped.
pub struct Carriers {
    carriers: Vec<Carrier>,
    _over: DropGuard,
}

struct Carrier {
    handle: Handle,
    /// One clone is ours, each other one a connection's.
    load: Arc<()>,
}

impl Carriers {
    /// So many threads; at least one.
    ///
    /// # Errors
    /// The system has no thread or descriptor to give.
    pub fn start(threads: usize) -> io::Result<Self> {
        let over = CancellationToken::new();
        // Ends also those that were started when one cannot be.
        let guard = over.clone().drop_guard();
        let carriers = (0..threads.max(1)).map(|_| Carrier::start(over.clone())).collect::<Result<_, _>>()?;
        Ok(Self { carriers, _over: guard })
    }

    /// Has the thread with the fewest connections carry `stream`, in the way that `carry` begins there.
    pub(super) fn carry<F>(
        &self,
        tracker: &TaskTracker,
        stream: std::net::TcpStream,
        carry: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let Some(carrier) = self.carriers.iter().min_by_key(|carrier| Arc::strong_count(&carrier.load))
        else {
            return;
        };
        let load = carrier.load.clone();
        let carried = async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => carry(stream).await,
                Err(why) => tracing::warn!(%why, "a connection cannot be waited for; it was closed"),
            }
            drop(load);
        };
        tracker.spawn_on(carried, &carrier.handle);
    }
}

impl Carrier {
    fn start(over: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name("carrier".into()).spawn(move || {
            runtime.block_on(over.cancelled());
            // A thread that waits for a disk must not hold up the end.
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, load: Arc::default() })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn each_goes_to_the_thread_that_has_the_fewest_and_a_panic_ends_itself_alone() {
        let carriers = Carriers::start(2).expect("threads");
        let (tracker, listener) =
            (TaskTracker::new(), std::net::TcpListener::bind("127.0.0.1:0").expect("bind"));
        let (told, mut heard) = mpsc::unbounded_channel();
        let go_on = CancellationToken::new();
        let carry = |panics: bool| {
            let stream =
                std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
            stream.set_nonblocking(true).expect("as accepted");
            let (told, go_on) = (told.clone(), go_on.clone());
            carriers.carry(&tracker, stream, move |_| async move {
                told.send(std::thread::current().id()).expect("told");
                assert!(!panics, "as it must");
                go_on.cancelled().await;
            });
        };
        carry(false);
        carry(false);
        let (first, second) = (heard.recv().await.expect("first"), heard.recv().await.expect("second"));
        assert_ne!(first, second);
        carry(true);
        heard.recv().await.expect("one that panics");
        carry(false);
        heard.recv().await.expect("one after it");
        go_on.cancel();
        tracker.close();
        tracker.wait().await;
    }
}
