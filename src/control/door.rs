//! `control.sock`: where commands on this machine reach the running server.
//! It never speaks with anybody but the directory's owner and root, and never lets one caller hold up another.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::caller::Caller;
use super::reply::{Far, Reply as _};
use super::wire::{self, Request};
use crate::bastion::Bastion;

/// The socket's name inside the directory.
pub const SOCKET: &str = "control.sock";
/// The longest path the system takes for a socket.
pub const PATH_MAX: usize = 107;
/// Conversations at once.
const CONVERSATIONS: usize = 64;
/// A request must have arrived whole by then.
const REQUEST_TIME: Duration = Duration::from_secs(60);
/// After a failed accept, so that a lack of file descriptors does not spin.
const BREATH: Duration = Duration::from_millis(100);
/// What running conversations get when the server ends.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The path is too long for a socket.
    #[error("{} is too long for a socket (at most {PATH_MAX} bytes); use a --dir with a shorter path", .0.display())]
    PathTooLong(PathBuf),
    /// The system refused.
    #[error("{} cannot be opened: {why}", .path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
}

/// The open socket; its file goes away with it.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
}

impl Door {
    /// Opens the socket in `dir`, in the place of one that a crash left. Whoever calls holds the directory's lock.
    pub fn open(dir: &Path) -> Result<Self, DoorError> {
        let path = dir.join(SOCKET);
        if path.as_os_str().len() > PATH_MAX {
            return Err(DoorError::PathTooLong(path));
        }
        let refused = |why| DoorError::Refused { path: path.clone(), why };
        // Made under another name and moved, so that nobody can connect before its mode is right.
        let new = dir.join("control.new");
        match std::fs::remove_file(&new) {
            Err(why) if why.kind() != std::io::ErrorKind::NotFound => return Err(refused(why)),
            _ => {}
        }
        let listener = UnixListener::bind(&new).map_err(refused)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).map_err(refused)?;
        std::fs::rename(&new, &path).map_err(refused)?;
        let owner = std::fs::metadata(dir).map_err(refused)?.uid();
        Ok(Self { listener, path, owner })
    }

    /// Answers until `shutdown`; then running conversations may say their last words.
    pub async fn serve(self, bastion: Arc<Bastion>, shutdown: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONVERSATIONS));
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "control.sock cannot accept");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            let Some(caller) = self.caller(&stream) else { continue };
            // Without a free slot the caller is shown the door, not a queue.
            let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
            let bastion = bastion.clone();
            tasks.spawn(async move {
                converse(&bastion, &caller, stream).await;
                drop(slot);
            });
        }
        tasks.close();
        let _ = tokio::time::timeout(LAST_WORDS, tasks.wait()).await;
    }

    /// The local administrator at the other end, or nobody.
    fn caller(&self, stream: &UnixStream) -> Option<Caller> {
        let uid = match stream.peer_cred() {
            Ok(peer) => peer.uid(),
            Err(error) => {
                tracing::warn!(%error, "control.sock cannot tell who calls");
                return None;
            }
        };
        if !admitted(uid, self.owner) {
            tracing::warn!(uid, "a stranger called at control.sock and got no answer");
            return None;
        }
        Some(Caller::local(uid))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Only the directory's owner and root are the local administrator.
fn admitted(uid: u32, owner: u32) -> bool {
    uid == owner || uid == 0
}

/// One conversation: a request, its answer, an exit code.
pub async fn converse<S: AsyncRead + AsyncWrite + Send + Unpin>(
    bastion: &Arc<Bastion>,
    caller: &Caller,
    stream: S,
) {
    let (from, to) = tokio::io::split(stream);
    let mut from = BufReader::new(from);
    let request =
        tokio::time::timeout(REQUEST_TIME, wire::hear::<Request, _>(&mut from, wire::REQUEST_MAX)).await;
    let (shape, word) = match request {
        Ok(Ok(Request { v: wire::VERSION, shape, word })) => (shape, Ok(word)),
        Ok(Ok(Request { v, .. })) => {
            (wire::Shape::default(), Err(format!("version {v} of the control protocol is not spoken here")))
        }
        Ok(Err(wire::WireError::Gone)) => return,
        Ok(Err(error)) => (wire::Shape::default(), Err(error.to_string())),
        Err(_) => return,
    };
    let mut far = Far::new(from, to, shape);
    let exit = match word {
        Ok(word) => super::dispatch(bastion, caller, word, &mut far).await,
        Err(why) => {
            let _ = far.err(&format!("bartizan: {why}\n")).await;
            2
        }
    };
    let _ = far.exit(exit).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_are_let_in() {
        assert!(admitted(1000, 1000) && admitted(0, 1000) && admitted(0, 0));
        assert!(!admitted(1001, 1000) && !admitted(1000, 0) && !admitted(65_534, 0));
    }

    #[tokio::test]
    async fn the_socket_is_its_owners_alone_and_takes_the_place_of_a_dead_one() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join(SOCKET);
        std::fs::write(&path, "left by a crash").expect("stale");
        let door = Door::open(dir.path()).expect("open");
        assert_eq!(std::fs::metadata(&path).expect("socket").mode() & 0o777, 0o600);
        assert!(!dir.path().join("control.new").exists());
        drop(door);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_too_long_for_a_socket_is_named() {
        let deep = PathBuf::from(format!("/tmp/{}", "d".repeat(120)));
        assert!(matches!(Door::open(&deep), Err(DoorError::PathTooLong(_))));
    }
}
