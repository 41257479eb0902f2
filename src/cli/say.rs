//! Brings a word to whoever carries it out: the running server, or this process when none runs.
//! It never speaks to a socket that others could have put there, and never works on a directory that is in use.

use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, BufReader};
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::directory::{self, DirectoryError};
use super::sink::Sink;
use super::terminal::{self, Raw};
use crate::config::Config;
use crate::control::lock::{Lock, LockError};
use crate::control::wire::{self, Added, Request, Said, WireError};
use crate::control::{self, AttachError, Caller, Word};

/// How long a directory may be in use without a server that answers: one that starts, or another command.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Why a word was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum SayError {
    /// A file it names did not come along.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// There is no directory.
    #[error("{} is not there; `bartizan init` makes one, `--dir DIR` names another", .0.display())]
    NoDirectory(PathBuf),
    /// Somebody else could answer in the server's place.
    #[error("{} may be written by others; `chmod go-w` it", .0.display())]
    Loose(PathBuf),
    /// The directory is somebody else's.
    #[error("{} belongs to user id {owner} and no server answers there; run the command as that user, or start the server", .dir.display())]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The socket is held by a stranger.
    #[error("the server at {} runs as user id {uid}, which is neither the owner of the directory nor root; nothing was sent to it", .path.display())]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Who answers.
        uid: u32,
    },
    /// No server, and the word is for one.
    #[error("no server answers in {}; start one with `bartizan serve`", .0.display())]
    NoServer(PathBuf),
    /// The caller is not let in, or the system refused.
    #[error("{} cannot be reached: {why}; only its owner and root may", .path.display())]
    Refused {
        /// The socket or directory.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
    /// The conversation broke.
    #[error("the server did not answer to the end ({0}); look at its log")]
    Wire(#[from] WireError),
    /// A signal.
    #[error("ended by a signal")]
    Ended,
    /// The output cannot be written.
    #[error("{path} cannot be written: {why}")]
    Output {
        /// Where to.
        path: String,
        /// What the system said.
        why: std::io::Error,
    },
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Carries a word out; gives its exit code.
pub(super) async fn say(dir: &Path, mut word: Word) -> Result<u8, SayError> {
    word.attach(&mut std::io::stdin())?;
    let sink = Sink::open(word.output(), word.replaces())?;
    let mut shape = terminal::shape(word.listens());
    shape.terminal &= word.output().is_none();
    let health = matches!(word, Word::Health);
    let request = Request { v: wire::VERSION, shape, word };
    let code = match reach(dir, health).await? {
        Reached::Server(stream) => talk(stream, &request, sink).await?,
        Reached::Nobody(lock) => alone(dir, lock, &request, sink).await?,
    };
    Ok(code)
}

/// Who carries words out in a directory.
pub(super) enum Reached {
    /// The server.
    Server(UnixStream),
    /// This process, which holds the lock now.
    Nobody(Lock),
}

/// Finds the server, or takes the directory's lock. A directory in use by one that does not answer yet is waited for.
pub(super) async fn reach(dir: &Path, server_only: bool) -> Result<Reached, SayError> {
    let about = std::fs::metadata(dir).map_err(|why| match why.kind() {
        ErrorKind::NotFound => SayError::NoDirectory(dir.to_owned()),
        _ => SayError::Refused { path: dir.to_owned(), why },
    })?;
    if !about.is_dir() {
        return Err(SayError::NoDirectory(dir.to_owned()));
    }
    if about.mode() & 0o022 != 0 {
        return Err(SayError::Loose(dir.to_owned()));
    }
    let since = Instant::now();
    loop {
        if let Some(stream) = connect(dir, &about).await? {
            return Ok(Reached::Server(stream));
        }
        if server_only {
            return Err(SayError::NoServer(dir.to_owned()));
        }
        if about.uid() != rustix::process::geteuid().as_raw() {
            return Err(SayError::NotOurs { dir: dir.to_owned(), owner: about.uid() });
        }
        match Lock::take(dir) {
            Ok(lock) => return Ok(Reached::Nobody(lock)),
            Err(LockError::Held(_)) if since.elapsed() < PATIENCE => sleep(LOOK).await,
            Err(error) => return Err(DirectoryError::from(error).into()),
        }
    }
}

async fn connect(dir: &Path, about: &Metadata) -> Result<Option<UnixStream>, SayError> {
    let path = dir.join(control::SOCKET);
    let stream = match UnixStream::connect(&path).await {
        Ok(stream) => stream,
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        // A path too long for a socket: no server can have opened one there.
        Err(why) if why.kind() == ErrorKind::InvalidInput => return Ok(None),
        Err(why) => return Err(SayError::Refused { path, why }),
    };
    let uid = stream.peer_cred().map_err(|why| SayError::Refused { path: path.clone(), why })?.uid();
    if uid != about.uid() && uid != 0 {
        return Err(SayError::Stranger { path, uid });
    }
    Ok(Some(stream))
}

/// No server runs: this process is the one writer for as long as the word takes.
async fn alone(dir: &Path, lock: Lock, request: &Request, sink: Sink) -> Result<u8, SayError> {
    let config = Config::load(dir).map_err(DirectoryError::from)?;
    let bastion = directory::open(config).await?;
    let caller = Caller::local(rustix::process::geteuid().as_raw());
    // The same conversation as with a server, so that there is one way to answer.
    let (near, far) = tokio::io::duplex(64 * 1024);
    let working = async {
        control::converse(&bastion, &caller, far).await;
    };
    let (code, ()) = tokio::join!(talk(near, request, sink), working);
    bastion.audit.stop().await;
    bastion.store.close().await;
    drop(lock);
    code
}

/// Says the request and passes the answer on.
pub(super) async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    request: &Request,
    mut sink: Sink,
) -> Result<u8, SayError> {
    let (from, mut to) = tokio::io::split(stream);
    let mut from = BufReader::new(from);
    wire::say(&mut to, request).await?;
    let raw = request.shape.keys.then(Raw::take).flatten();
    let page = Page::of(request);
    let (idle, silent) = mpsc::channel(1);
    let mut keys = if raw.is_some() { terminal::keys() } else { silent };
    let held = raw.is_some() || page.is_some() || sink.is_file();
    let answered = answer(&mut from, &mut to, &mut keys, &mut sink, held).await;
    drop((raw, idle));
    if let (Some(page), Ok(_)) = (page, &answered) {
        page.give_back();
    }
    let code = answered?;
    sink.finish(code)?;
    Ok(code)
}

/// A terminal that is drawn on: unless the one who drew gives it back, that is done when this is dropped, a panic included.
struct Page {
    given_back: bool,
}

impl Page {
    fn of(request: &Request) -> Option<Self> {
        (request.shape.terminal && request.word.draws()).then(|| Self { given_back: false })
    }

    fn give_back(mut self) {
        self.given_back = true;
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !self.given_back {
            let _ = terminal::out(control::LEAVE);
        }
    }
}

async fn answer<R, W>(
    from: &mut BufReader<R>,
    to: &mut W,
    keys: &mut mpsc::Receiver<String>,
    sink: &mut Sink,
    held: bool,
) -> Result<u8, SayError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let hook = |kind| signal(kind).map_err(WireError::Io);
    let mut resized = hook(SignalKind::window_change())?;
    // Only where something must be given back, or taken away, first.
    let mut ends = Vec::new();
    if held {
        for kind in [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()] {
            ends.push(hook(kind)?);
        }
    }
    let mut line = Zeroizing::new(Vec::new());
    loop {
        tokio::select! {
            heard = wire::line(from, &mut line, wire::LINE_MAX) => {
                heard?;
                let said: Said = serde_json::from_slice(&line).map_err(WireError::from)?;
                line.clear();
                let read = match said {
                    Said::Out(text) => sink.write(Zeroizing::new(text).as_bytes())?,
                    Said::Raw(text) => sink.write(&bytes(&text)?)?,
                    Said::Err(text) => {
                        terminal::err(&text);
                        true
                    }
                    Said::Exit(code) => return Ok(code),
                };
                if !read {
                    return Ok(0);
                }
            }
            Some(typed) = keys.recv() => wire::say(to, &Added::Keys(typed)).await?,
            Some(()) = resized.recv() => {
                let shape = terminal::shape(false);
                if shape.terminal {
                    wire::say(to, &Added::Size(shape.columns, shape.rows)).await?;
                }
            }
            () = told(&mut ends) => return Err(SayError::Ended),
        }
    }
}

fn bytes(text: &str) -> Result<Vec<u8>, WireError> {
    let wrong = |why: data_encoding::DecodeError| WireError::Io(std::io::Error::other(why));
    data_encoding::BASE64.decode(text.as_bytes()).map_err(wrong)
}

/// Returns once one of these signals has come.
async fn told(ends: &mut [Signal]) {
    std::future::poll_fn(|context| match ends.iter_mut().any(|end| end.poll_recv(context).is_ready()) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test]
    async fn a_directory_others_may_write_is_not_spoken_to() {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).expect("chmod");
        assert!(matches!(reach(dir.path(), false).await, Err(SayError::Loose(_))));
    }

    #[tokio::test]
    async fn health_without_a_server_is_a_plain_no() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(matches!(reach(dir.path(), true).await, Err(SayError::NoServer(_))));
        assert!(matches!(reach(&dir.path().join("gone"), true).await, Err(SayError::NoDirectory(_))));
    }

    #[tokio::test]
    async fn a_dead_socket_is_nobody() {
        let dir = tempfile::tempdir().expect("dir");
        drop(std::os::unix::net::UnixListener::bind(dir.path().join(control::SOCKET)).expect("bind"));
        assert!(matches!(reach(dir.path(), false).await, Ok(Reached::Nobody(_))));
    }
}
