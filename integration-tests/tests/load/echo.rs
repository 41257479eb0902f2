//! A target for load: any certificate opens it, and what is sent comes back. One process holds a thousand sessions.
//! It never starts a program: `echo` and `flood` are all it knows.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bartizan_integration_tests::Rig;
use russh::keys::{Algorithm, Certificate, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, run_stream};
use russh::{Channel, ChannelId, ChannelWriteHalf, Limits};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;

/// A server that listens until the runtime ends.
pub struct EchoTarget {
    address: SocketAddr,
    host_key: String,
    held: Arc<AtomicUsize>,
}

impl EchoTarget {
    /// Listens on loopback.
    pub fn start(on: &Handle) -> Self {
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
        let host_key = key.public_key().to_openssh().unwrap();
        let never = Limits {
            rekey_write_limit: 1 << 40,
            rekey_read_limit: 1 << 40,
            rekey_time_limit: Duration::from_secs(1 << 20),
        };
        let config = Arc::new(Config {
            keys: vec![key],
            limits: never,
            inactivity_timeout: None,
            auth_rejection_time: Duration::ZERO,
            ..Config::default()
        });
        let listener = on.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let held = Arc::new(AtomicUsize::new(0));
        let count = held.clone();
        on.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, config.clone(), Host::new(count.clone())));
            }
        });
        Self { address, host_key, held }
    }

    /// The bundle says from now on that the scene's target of this name is this one.
    pub fn stands_in(&self, rig: &Rig, target: &str) {
        let said = rig.apply(&self.bundle(rig, target));
        assert!(said.status.success(), "{said:?}");
    }

    /// The scene's bundle, with this one in place of its target of this name.
    pub fn bundle(&self, rig: &Rig, target: &str) -> String {
        rig.bundle_with(target, self.address, &self.host_key)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that it holds now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }
}

async fn converse(stream: TcpStream, config: Arc<Config>, host: Host) {
    let _ = stream.set_nodelay(true);
    if let Ok(running) = run_stream(config, stream, host).await {
        let _ = running.await;
    }
}

/// One connection.
struct Host {
    held: Arc<AtomicUsize>,
    channels: HashMap<ChannelId, ChannelWriteHalf<Msg>>,
}

impl Host {
    fn new(held: Arc<AtomicUsize>) -> Self {
        held.fetch_add(1, Ordering::SeqCst);
        Self { held, channels: HashMap::new() }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Host {
    type Error = russh::Error;

    async fn auth_openssh_certificate(&mut self, _: &str, _: &Certificate) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // Kept, the other half would stall the connection.
        let (_, write) = channel.split();
        self.channels.insert(write.id(), write);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        match command {
            b"echo" => session.channel_success(id),
            b"flood" => {
                session.channel_success(id)?;
                if let Some(write) = self.channels.remove(&id) {
                    tokio::spawn(
                        async move { while write.data_bytes(b"y\n".repeat(8 << 10)).await.is_ok() {} },
                    );
                }
                Ok(())
            }
            _ => session.channel_failure(id),
        }
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        if self.channels.contains_key(&id) {
            session.data(id, data.to_vec())?;
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        if self.channels.remove(&id).is_some() {
            session.exit_status_request(id, 0)?;
            session.eof(id)?;
            session.close(id)?;
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.remove(&id);
        Ok(())
    }
}
