//! A small SSH server on loopback that runs its owner's own shell for holders of a certificate, for quickstart and benches.
//! It never listens anywhere else, never becomes another account, and never accepts a plain key or a password.

mod account;
mod certificate;
mod channel;
mod handler;
mod inbox;
mod pace;
mod program;
mod signals;
mod terminal;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use account::Account;
use handler::Connection;
use pace::Paced;

/// Connections served at once; one more is closed unanswered.
const MAX_CONNECTIONS: usize = 256;
/// A connection that has not logged in after this long is closed.
const LOGIN_GRACE: Duration = Duration::from_secs(30);
/// Pause after a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// The window given to a client per channel (RFC 4254 section 5.2), in bytes.
const WINDOW: u32 = 2 << 20;

/// What the server needs to know: who it is and whom it believes.
pub struct Config {
    /// The host key it proves itself with.
    pub host_key: ssh_key::PrivateKey,
    /// The one authority whose user certificates it accepts.
    pub user_ca: ssh_key::PublicKey,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The listener is reachable from other machines.
    #[error("the demo target listens on {0}, which is not a loopback address; bind it to 127.0.0.1 or ::1")]
    NotLoopback(SocketAddr),
    /// The listener has no address.
    #[error("the demo target's socket has no address: {0}; bind it before serving")]
    Listener(#[source] std::io::Error),
    /// The account this process runs as cannot be found.
    #[error(transparent)]
    Account(#[from] account::AccountError),
}

/// Serves until `shutdown`; then every connection and every program it started is ended.
///
/// # Errors
/// Refuses a listener that is not on loopback, and an account without a line in `/etc/passwd`.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), DemoError> {
    let address = listener.local_addr().map_err(DemoError::Listener)?;
    if !address.ip().is_loopback() {
        return Err(DemoError::NotLoopback(address));
    }
    let account = Arc::new(Account::own()?);
    let user_ca = Arc::new(config.user_ca);
    let ssh = Arc::new(protocol(config.host_key));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            tracing::warn!(%peer, "the demo target is full, connection closed");
            continue;
        };
        let connection = Connection::new(account.clone(), user_ca.clone(), peer.ip(), shutdown.child_token());
        tokio::spawn(converse(socket, ssh.clone(), connection, slot));
    }
}

/// One connection, from its identification line to its end.
async fn converse(
    socket: TcpStream,
    ssh: Arc<russh::server::Config>,
    connection: Connection,
    _slot: OwnedSemaphorePermit,
) {
    let (stop, logged_in) = (connection.stop(), connection.logged_in());
    let _ = socket.set_nodelay(true);
    let stream = Paced::new(BufReader::with_capacity(64 << 10, socket), connection.pace(), stop.clone());
    let login_deadline = async {
        if tokio::time::timeout(LOGIN_GRACE, logged_in.cancelled()).await.is_err() {
            return;
        }
        std::future::pending::<()>().await;
    };
    let talk = async {
        match russh::server::run_stream(ssh, stream, connection).await {
            Ok(running) => running.await,
            Err(error) => Err(error),
        }
    };
    tokio::select! {
        ended = talk => if let Err(error) = ended { tracing::debug!(%error, "a demo connection ended"); },
        () = login_deadline => tracing::debug!("a demo connection did not log in in time"),
        () = stop.cancelled() => {}
    }
    stop.cancel();
}

/// The algorithms and limits, spelled out: nothing by default of the library.
fn protocol(host_key: ssh_key::PrivateKey) -> russh::server::Config {
    use russh::{cipher, compression, kex, mac};
    russh::server::Config {
        server_id: russh::SshId::Standard("SSH-2.0-bartizan-demo".into()),
        methods: (&[russh::MethodKind::PublicKey][..]).into(),
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![host_key],
        // INVARIANT: a rekey is the client's to start; one started here ends a connection that uploads.
        limits: russh::Limits {
            rekey_write_limit: 1 << 40,
            rekey_read_limit: 1 << 40,
            rekey_time_limit: Duration::from_secs(365 * 86_400),
        },
        window_size: WINDOW,
        preferred: russh::Preferred {
            kex: vec![
                kex::MLKEM768X25519_SHA256,
                kex::CURVE25519,
                kex::CURVE25519_PRE_RFC_8731,
                kex::EXTENSION_SUPPORT_AS_SERVER,
                kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
            ]
            .into(),
            cipher: vec![cipher::AES_128_GCM, cipher::AES_256_GCM, cipher::CHACHA20_POLY1305].into(),
            mac: vec![mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM].into(),
            compression: vec![compression::NONE].into(),
            ..russh::Preferred::DEFAULT
        },
        max_auth_attempts: 6,
        inactivity_timeout: None,
        ..russh::server::Config::default()
    }
}
