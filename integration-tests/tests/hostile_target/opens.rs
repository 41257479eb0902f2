//! A target that opens channels by itself: what was not asked for on that very connection is refused, whatever it is.
//! The server here speaks SSH as the library does and does only what a hostile one would.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};

use bartizan_integration_tests::{DEADLINE, Rig, Route, until};
use russh::keys::{Algorithm, Certificate, PrivateKey};
use russh::server::{self, Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, Server as _, Session};
use russh::{Channel, ChannelId};
use tokio::net::TcpListener;

/// What it tries: each word, and whether it was let in.
type Tried = Arc<Mutex<Vec<(&'static str, bool)>>>;

const EVERYTHING: [&str; 7] = [
    "agent",
    "x11",
    "forwarded-tcpip",
    "forwarded-streamlocal",
    "direct-tcpip",
    "direct-streamlocal",
    "session",
];

#[test]
fn a_target_that_opens_channels_unasked_is_refused_and_the_session_goes_on() {
    let rig =
        Rig::new().operator("ana").target("db1").allow("agent").allow("x11").allow("reverse-forward").start();
    let hostile = Hostile::start();
    hostile.stands_in(&rig);
    for route in Route::ALL {
        let ana = rig.client("ana").by(route);
        let out = ana.command("ssh").arg(ana.at("db1")).arg("try").output().unwrap();
        assert_eq!(out.stdout, b"tried\n", "{}", told(&out));
        assert_eq!(
            hostile.take(),
            EVERYTHING.map(|what| (what, false)),
            "granted, and not asked for: {route:?}"
        );
    }
    let recordings = rig.sealed_recordings(2);
    assert_eq!(recordings.len(), 2, "nothing was carried: {recordings:?}");
    rig.verify_everything();
}

#[test]
fn a_target_that_listens_may_only_bring_what_came_there() {
    let rig = Rig::new().operator("ana").target("db1").allow("reverse-forward").allow("agent").start();
    let hostile = Hostile::start();
    hostile.stands_in(&rig);
    for route in Route::ALL {
        let ana = rig.client("ana").by(route);
        let mut ssh = ana.command("ssh");
        ssh.args(["-N", "-R", "0:127.0.0.1:1"]).arg(ana.at("db1")).stderr(Stdio::null());
        let mut ssh = ssh.spawn().unwrap();
        let tried = until("the target to have tried", DEADLINE, || {
            let tried = hostile.tried.lock().unwrap().clone();
            (tried.len() >= EVERYTHING.len()).then_some(tried)
        });
        assert_eq!(tried, EVERYTHING.map(|what| (what, false)), "{route:?}");
        hostile.take();
        ssh.kill().unwrap();
        ssh.wait().unwrap();
    }
    let recordings = rig.sealed_recordings(2);
    assert!(recordings.iter().all(|one| one["kind"] == "reverse-forward"), "{recordings:?}");
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The server, on a thread of its own.
struct Hostile {
    address: SocketAddr,
    host_key: String,
    tried: Tried,
    _runtime: tokio::runtime::Runtime,
}

impl Hostile {
    fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let tried = Tried::default();
        let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
        let host_key = key.public_key().to_openssh().unwrap();
        let config = Arc::new(Config { keys: vec![key], ..Config::default() });
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let mut door = Door(tried.clone());
        runtime.spawn(async move {
            let _ = door.run_on_socket(config, &listener).await;
        });
        Self { address, host_key, tried, _runtime: runtime }
    }

    /// The bundle says that db1 is this one.
    fn stands_in(&self, rig: &Rig) {
        rig.stand_in("db1", self.address, &self.host_key);
    }

    fn take(&self) -> Vec<(&'static str, bool)> {
        std::mem::take(&mut self.tried.lock().unwrap())
    }
}

struct Door(Tried);

impl server::Server for Door {
    type Handler = Host;

    fn new_client(&mut self, _: Option<SocketAddr>) -> Host {
        Host(self.0.clone())
    }
}

struct Host(Tried);

async fn try_everything(handle: &Handle, tried: &Tried) {
    let note = |what: &'static str, let_in: bool| tried.lock().unwrap().push((what, let_in));
    note("agent", handle.channel_open_agent().await.is_ok());
    note("x11", handle.channel_open_x11("127.0.0.1", 6000).await.is_ok());
    note(
        "forwarded-tcpip",
        handle.channel_open_forwarded_tcpip("localhost", 22, "127.0.0.1", 4000).await.is_ok(),
    );
    note("forwarded-streamlocal", handle.channel_open_forwarded_streamlocal("/run/x").await.is_ok());
    note("direct-tcpip", handle.channel_open_direct_tcpip("127.0.0.1", 22, "127.0.0.1", 4000).await.is_ok());
    note("direct-streamlocal", handle.channel_open_direct_streamlocal("/run/x").await.is_ok());
    note("session", handle.channel_open_session().await.is_ok());
}

impl Handler for Host {
    type Error = russh::Error;

    async fn auth_openssh_certificate(&mut self, _: &str, _: &Certificate) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_success(channel)?;
        let (handle, tried) = (session.handle(), self.0.clone());
        tokio::spawn(async move {
            try_everything(&handle, &tried).await;
            let _ = handle.data(channel, &b"tried\n"[..]).await;
            let _ = handle.exit_status_request(channel, 0).await;
            let _ = handle.close(channel).await;
        });
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        _: &str,
        port: &mut u32,
        session: &mut Session,
    ) -> Result<bool, russh::Error> {
        *port = 40_000;
        let (handle, tried) = (session.handle(), self.0.clone());
        tokio::spawn(async move { try_everything(&handle, &tried).await });
        Ok(true)
    }
}
