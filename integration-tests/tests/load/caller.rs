//! An operator's client in quantity: logs in with device and key by either route, opens sessions, exchanges echoes, leaves.
//! It never retries: what fails once has failed.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bartizan_integration_tests::{ACCOUNT, Rig, Route};
use russh::client::{self, AuthResult, Config, Handle, KeyboardInteractiveAuthResponse, Msg};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use russh::{Channel, ChannelMsg, Disconnect, Limits};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::rope::{Grip, Rope};

/// Long enough for a machine with two cores that others use too.
const PATIENCE: Duration = Duration::from_secs(30);

/// What did not succeed, and why.
#[derive(Debug, Clone)]
pub struct Failed(String);

impl Failed {
    fn at(step: &str, why: impl fmt::Debug) -> Self {
        Self(format!("{step}: {why:?}"))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

async fn within<T, E: fmt::Debug>(step: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, Failed> {
    match timeout(PATIENCE, work).await {
        Ok(done) => done.map_err(|why| Failed::at(step, why)),
        Err(_) => Err(Failed::at(step, PATIENCE)),
    }
}

/// Trusts whatever host key comes.
struct Trusting;

impl client::Handler for Trusting {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// An operator of the scene, at their device. It is known there by a code that was given before: see [`Caller::new`].
#[derive(Clone)]
pub struct Caller {
    bastion: SocketAddr,
    /// Where it calls from, if not from the usual address.
    from: Option<IpAddr>,
    operator: String,
    target: String,
    keys: [Arc<PrivateKey>; 2],
    config: Arc<Config>,
}

impl Caller {
    /// The operator gives one code with a stock client first; within `[login] fresh` no other is asked for.
    pub fn new(rig: &Rig, operator: &str, target: &str) -> Self {
        let said = rig.client(operator).word("whoami");
        assert!(said.status.success(), "{said:?}");
        let key = |path: &Path| Arc::new(load_secret_key(path, None).unwrap());
        let keys = ["device", "key"].map(|kind| key(&rig.path(format!("{operator}-{kind}"))));
        // As OpenSSH, which renews its keys by volume.
        let limits = Limits {
            rekey_write_limit: 1 << 30,
            rekey_read_limit: 1 << 30,
            rekey_time_limit: Duration::from_secs(1 << 20),
        };
        let config = Arc::new(Config { limits, nodelay: true, ..Config::default() });
        let (operator, target) = (operator.to_owned(), target.to_owned());
        Self { bastion: rig.server().address(), from: None, operator, target, keys, config }
    }

    /// The same operator, calling from this address of the machine.
    pub fn from(&self, address: IpAddr) -> Self {
        Self { from: Some(address), ..self.clone() }
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = self.from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        let stream = socket.connect(self.bastion).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Logs in.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn log_in(&self, route: Route) -> Result<Line, Failed> {
        let socket = within("connect", self.connect()).await?;
        let (rope, grip) = Rope::new(socket);
        let connecting = client::connect_stream(self.config.clone(), rope, Trusting);
        let mut handle = within("key exchange", connecting).await?;
        match route {
            Route::Direct => {
                let user = format!("{}+{ACCOUNT}+{}", self.operator, self.target);
                self.sign(&mut handle, &user).await?;
                Ok(Line { last: handle, outer: None, grip })
            }
            Route::Jump => {
                self.sign(&mut handle, &self.operator).await?;
                let last = self.jump(&handle).await?;
                Ok(Line { last, outer: Some(handle), grip })
            }
        }
    }

    async fn jump(&self, outer: &Handle<Trusting>) -> Result<Handle<Trusting>, Failed> {
        let opening = outer.channel_open_direct_tcpip(self.target.clone(), 22, "127.0.0.1", 0);
        let channel = within("jump", opening).await?;
        let connecting = client::connect_stream(self.config.clone(), channel.into_stream(), Trusting);
        let mut inner = within("inner key exchange", connecting).await?;
        match within("inner login", inner.authenticate_none(ACCOUNT)).await? {
            AuthResult::Success => Ok(inner),
            refused => Err(Failed::at("inner login", refused)),
        }
    }

    /// Device, then person; a code is not asked for.
    async fn sign(&self, handle: &mut Handle<Trusting>, user: &str) -> Result<(), Failed> {
        for key in &self.keys {
            let key = PrivateKeyWithHashAlg::new(key.clone(), None);
            match within("key", handle.authenticate_publickey(user, key)).await? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { partial_success: true, .. } => {}
                refused => return Err(Failed::at("key", refused)),
            }
        }
        let asking = handle.authenticate_keyboard_interactive_start(user, None);
        match within("code", asking).await? {
            KeyboardInteractiveAuthResponse::Success => Ok(()),
            asked => Err(Failed::at("code", asked)),
        }
    }
}

/// One login.
pub struct Line {
    last: Handle<Trusting>,
    outer: Option<Handle<Trusting>>,
    grip: Grip,
}

impl Line {
    /// Opens a session in which this runs.
    ///
    /// # Errors
    /// The step that failed.
    pub async fn session(&self, command: &str) -> Result<Session, Failed> {
        let mut channel = within("session", self.last.channel_open_session()).await?;
        within("exec", channel.exec(true, command)).await?;
        loop {
            let next = timeout(PATIENCE, channel.wait()).await;
            match next.map_err(|_| Failed::at("exec", PATIENCE))? {
                Some(ChannelMsg::Success) => return Ok(Session { channel, count: 0 }),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                other => return Err(Failed::at("exec", other)),
            }
        }
    }

    /// The hand on its socket.
    pub fn grip(&self) -> &Grip {
        &self.grip
    }

    /// Begins a key exchange of which only the first packet ever arrives.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn stall_exchange(&self) -> Result<(), Failed> {
        self.grip.fall_silent();
        within("rekey", self.outer.as_ref().unwrap_or(&self.last).rekey_soon()).await
    }

    /// Leaves as a client does.
    pub async fn leave(self) {
        let goodbye = |handle: Handle<Trusting>| async move {
            let _ = timeout(PATIENCE, handle.disconnect(Disconnect::ByApplication, "", "")).await;
            let _ = timeout(PATIENCE, handle).await;
        };
        goodbye(self.last).await;
        if let Some(outer) = self.outer {
            goodbye(outer).await;
        }
    }
}

/// One recorded session.
pub struct Session {
    channel: Channel<Msg>,
    count: u64,
}

impl Session {
    /// Sends some bytes, other ones each time, and waits until they are back. How long that took.
    ///
    /// # Errors
    /// When they do not come back as they were.
    pub async fn echo(&mut self) -> Result<Duration, Failed> {
        self.count += 1;
        let line = format!("echo number {:>20} of this session\n", self.count);
        let began = Instant::now();
        within("echo", self.channel.data_bytes(line.clone().into_bytes())).await?;
        let mut back = Vec::new();
        while back.len() < line.len() {
            let next = timeout(PATIENCE, self.channel.wait()).await;
            match next.map_err(|_| Failed::at("echo", PATIENCE))? {
                Some(ChannelMsg::Data { data }) => back.extend_from_slice(&data),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                other => return Err(Failed::at("echo", other)),
            }
        }
        let took = began.elapsed();
        if back == line.as_bytes() {
            Ok(took)
        } else {
            Err(Failed::at("echo", String::from_utf8_lossy(&back)))
        }
    }

    /// Waits for bytes of output.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn output(&mut self) -> Result<usize, Failed> {
        loop {
            let next = timeout(PATIENCE, self.channel.wait()).await;
            match next.map_err(|_| Failed::at("output", PATIENCE))? {
                Some(ChannelMsg::Data { data }) => return Ok(data.len()),
                Some(ChannelMsg::WindowAdjusted { .. }) => {}
                other => return Err(Failed::at("output", other)),
            }
        }
    }

    /// Ends its input and waits for the exit status.
    ///
    /// # Errors
    /// When it is not 0, or does not come.
    pub async fn end(mut self) -> Result<(), Failed> {
        within("end", self.channel.eof()).await?;
        loop {
            let next = timeout(PATIENCE, self.channel.wait()).await;
            match next.map_err(|_| Failed::at("end", PATIENCE))? {
                Some(ChannelMsg::ExitStatus { exit_status: 0 }) => return Ok(()),
                Some(ChannelMsg::WindowAdjusted { .. } | ChannelMsg::Eof) => {}
                other => return Err(Failed::at("end", other)),
            }
        }
    }
}
