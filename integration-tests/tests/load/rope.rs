//! A socket that the test holds in its hand: it can be cut, go deaf, or fall silent in the middle of a sentence.
//! It never changes a byte that passes.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The hand on a [`Rope`].
#[derive(Clone, Default)]
pub struct Grip {
    deaf: Arc<AtomicBool>,
    silent: Arc<AtomicBool>,
    reset: Arc<AtomicBool>,
    cut: CancellationToken,
}

impl Grip {
    /// From now on nothing that comes is read.
    pub fn go_deaf(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    /// From now on nothing that is written leaves, after one more write.
    pub fn fall_silent(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// Closes the socket without a word.
    pub fn cut(&self) {
        self.cut.cancel();
    }

    /// The same, with a reset instead of an end.
    pub fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
        self.cut.cancel();
    }
}

/// A connection to the bastion.
pub struct Rope {
    stream: TcpStream,
    grip: Grip,
    silent: bool,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Rope {
    /// Holds this socket.
    pub fn new(stream: TcpStream) -> (Self, Grip) {
        let grip = Grip::default();
        let cut = Box::pin(grip.cut.clone().cancelled_owned());
        (Self { stream, grip: grip.clone(), silent: false, cut }, grip)
    }

    fn poll_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => {
                if self.grip.reset.load(Ordering::SeqCst) {
                    self.stream.set_zero_linger()?;
                }
                Err(io::Error::from(io::ErrorKind::ConnectionAborted))
            }
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Rope {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_cut(context)?;
        if self.grip.deaf.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Rope {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_cut(context)?;
        if self.silent {
            return Poll::Ready(Ok(bytes.len()));
        }
        let falling = self.grip.silent.load(Ordering::SeqCst);
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.silent = falling && written.is_ready();
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
