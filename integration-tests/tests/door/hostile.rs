//! A client that may do what no client does once it is logged in: russh's, over a socket that the test holds in its hand.
//! It never misuses the protocol by itself.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bartizan_integration_tests::Rig;
use russh::client::{self, AuthResult, Config, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// Trusts whatever host key comes: it is the client that is hostile here.
pub struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// A socket whose writes can be made to go nowhere, after one more.
pub struct Valve {
    stream: TcpStream,
    closing: Arc<AtomicBool>,
    closed: bool,
}

impl AsyncRead for Valve {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Valve {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Ok(bytes.len()));
        }
        let closing = self.closing.load(Ordering::SeqCst);
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.closed = closing && written.is_ready();
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// One connection.
pub struct Hostile {
    pub handle: Handle<Trusting>,
    closing: Arc<AtomicBool>,
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Hostile {
    /// Exchanges keys, and no more; `before` is said before anything else.
    pub async fn connect(to: SocketAddr, before: &[u8]) -> Result<Self, russh::Error> {
        let mut stream = TcpStream::connect(to).await?;
        tokio::io::AsyncWriteExt::write_all(&mut stream, before).await?;
        let closing = Arc::new(AtomicBool::new(false));
        let valve = Valve { stream, closing: closing.clone(), closed: false };
        let handle = client::connect_stream(Arc::new(Config::default()), valve, Trusting).await?;
        Ok(Self { handle, closing })
    }

    /// Logs in as this operator, at their device, for this target.
    pub async fn log_in(rig: &Rig, operator: &str, target: &str, before: &[u8]) -> Self {
        let mut hostile = Self::connect(rig.server().address(), before).await.unwrap();
        let user = format!("{operator}+root+{target}");
        for key in ["device", "key"] {
            let answer = hostile.sign(rig, &user, &format!("{operator}-{key}")).await;
            if answer.success() {
                return hostile;
            }
            let partial = matches!(answer, AuthResult::Failure { partial_success: true, .. });
            assert!(partial, "{key}: {answer:?}");
        }
        let asked = hostile.handle.authenticate_keyboard_interactive_start(&user, None).await.unwrap();
        if let KeyboardInteractiveAuthResponse::InfoRequest { .. } = asked {
            let code = rig.phone(operator).fresh();
            let answer = hostile.handle.authenticate_keyboard_interactive_respond(vec![code]).await.unwrap();
            assert!(matches!(answer, KeyboardInteractiveAuthResponse::Success), "{answer:?}");
        } else {
            assert!(matches!(asked, KeyboardInteractiveAuthResponse::Success), "{asked:?}");
        }
        hostile
    }

    /// Offers a key of the scene, with its signature.
    pub async fn sign(&mut self, rig: &Rig, user: &str, key: &str) -> AuthResult {
        let key = PrivateKeyWithHashAlg::new(Arc::new(load_secret_key(rig.path(key), None).unwrap()), None);
        self.handle.authenticate_publickey(user, key).await.unwrap()
    }

    /// Begins a key exchange of which only the first packet ever arrives.
    pub async fn stall(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.handle.rekey_soon().await.unwrap();
    }

    /// Waits until the bastion has ended it.
    pub async fn until_ended(&self, limit: Duration) {
        let ended = async {
            while !self.handle.is_closed() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, ended).await.expect("the bastion ends it");
    }
}
