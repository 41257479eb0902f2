//! The story of one channel: input to the program, its output to the client, then how it ended.
//! It never reads more output than the client has room for, and leaves no process of its own behind.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use russh::ChannelWriteHalf;
use russh::server::{Handle, Msg};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use crate::inbox::{Control, Inbox};
use crate::program::{Ends, Program};
use crate::signals;
use crate::terminal::winsize;

const CHUNK: usize = 32 << 10;
/// SSH_EXTENDED_DATA_STDERR (RFC 4254 section 5.2).
const STDERR: u32 = 1;
/// After the program on a terminal has gone, this much silence means that its last words have been read. Others may
/// hold the terminal open for as long as they like.
const QUIET: Duration = Duration::from_millis(50);
/// Between asking a process group to go and making it.
const HANGUP_GRACE: Duration = Duration::from_secs(1);

/// Runs the channel to its end.
pub(crate) async fn run(
    program: Program,
    inbox: Arc<Inbox>,
    write: ChannelWriteHalf<Msg>,
    handle: Handle,
    stop: CancellationToken,
) {
    let Program { mut child, ends } = program;
    let Some(group) = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)) else { return };
    let ended = tokio::select! {
        () = stop.cancelled() => None,
        status = relay(&mut child, ends, &inbox, &write, group) => status,
    };
    let Some(status) = ended else {
        hang_up(&mut child, group).await;
        let _ = write.close().await;
        return;
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = farewell(status, &write, &handle) => {}
    }
}

/// Moves bytes both ways until the program has gone and all it said is sent.
async fn relay(
    child: &mut Child,
    ends: Ends,
    inbox: &Inbox,
    write: &ChannelWriteHalf<Msg>,
    group: Pid,
) -> Option<ExitStatus> {
    match ends {
        Ends::Pipes { input, output, errors } => {
            let said = async { tokio::join!(send(output, write, None), send(errors, write, Some(STDERR))) };
            tokio::select! {
                (status, _) = async { tokio::join!(child.wait(), said) } => status.ok(),
                never = feed(Some(input), inbox, true) => match never {},
                never = steer(inbox, group, None) => match never {},
            }
        }
        Ends::Terminal { read, write: input, size } => {
            let gone = CancellationToken::new();
            let leaving = gone.clone().drop_guard();
            let exit = async {
                let status = child.wait().await;
                drop(leaving);
                status
            };
            tokio::select! {
                (status, ()) = async { tokio::join!(exit, send_terminal(read, write, &gone)) } => status.ok(),
                never = feed(Some(input), inbox, false) => match never {},
                never = steer(inbox, group, Some(&size)) => match never {},
            }
        }
    }
}

/// Sends one pipe to its end; waits for the client's window.
async fn send(mut from: impl AsyncRead + Unpin, write: &ChannelWriteHalf<Msg>, stream: Option<u32>) {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    while matches!(from.read_buf(&mut buffer).await, Ok(n) if n > 0) {
        let bytes = buffer.split().freeze();
        let sent = match stream {
            None => write.data_bytes(bytes).await,
            Some(stream) => write.extended_data_bytes(stream, bytes).await,
        };
        if sent.is_err() {
            return;
        }
        buffer.reserve(CHUNK);
    }
}

/// Sends what a terminal shows, until nobody holds it or its program has gone and it is quiet.
async fn send_terminal(
    mut from: impl AsyncRead + Unpin,
    write: &ChannelWriteHalf<Msg>,
    gone: &CancellationToken,
) {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        let read = if gone.is_cancelled() {
            match tokio::time::timeout(QUIET, from.read_buf(&mut buffer)).await {
                Ok(read) => read,
                Err(_) => return,
            }
        } else {
            tokio::select! {
                read = from.read_buf(&mut buffer) => read,
                () = gone.cancelled() => continue,
            }
        };
        // A terminal that nobody holds any more reads as EIO.
        if !matches!(read, Ok(n) if n > 0) || write.data_bytes(buffer.split().freeze()).await.is_err() {
            return;
        }
        buffer.reserve(CHUNK);
    }
}

/// Gives the client's input to the program. What a program no longer takes is thrown away, so that the client's
/// window goes on opening.
async fn feed<W: AsyncWrite + Unpin>(mut to: Option<W>, inbox: &Inbox, close_at_end: bool) -> Infallible {
    while let Some(bytes) = inbox.next().await {
        if let Some(open) = &mut to
            && open.write_all(&bytes).await.is_err()
        {
            to = None;
        }
    }
    if close_at_end {
        drop(to.take());
    }
    std::future::pending().await
}

/// Sizes for the terminal and signals for the program's group.
async fn steer(inbox: &Inbox, group: Pid, terminal: Option<&OwnedFd>) -> Infallible {
    loop {
        match (inbox.control().await, terminal) {
            (Control::Resize(size), Some(terminal)) => {
                let _ = rustix::termios::tcsetwinsize(terminal, winsize(size));
            }
            (Control::Resize(_), None) => {}
            (Control::Signal(signal), _) => {
                let _ = rustix::process::kill_process_group(group, signal);
            }
        }
    }
}

/// The client has left: the program is asked to go, then made to.
async fn hang_up(child: &mut Child, group: Pid) {
    let _ = rustix::process::kill_process_group(group, Signal::HUP);
    if tokio::time::timeout(HANGUP_GRACE, child.wait()).await.is_err() {
        let _ = rustix::process::kill_process_group(group, Signal::KILL);
        let _ = child.wait().await;
    }
}

/// How it ended: an exit status or a signal's name (RFC 4254 section 6.10), then the end of the channel.
async fn farewell(status: ExitStatus, write: &ChannelWriteHalf<Msg>, handle: &Handle) {
    let _ = write.eof().await;
    match (status.code(), status.signal()) {
        (Some(code), _) => {
            let _ = write.exit_status(u32::try_from(code).unwrap_or(255)).await;
        }
        (None, number) => {
            let name = number.map_or_else(signals::unnamed, signals::name);
            let core = status.core_dumped();
            let _ = handle.exit_signal_request(write.id(), name, core, String::new(), String::new()).await;
        }
    }
    let _ = write.close().await;
}
