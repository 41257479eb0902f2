//! russh's callbacks, turned into the phases of one connection: the only place that holds "any phase".
//! Never decides: login callbacks act only while logging in, channel callbacks only when open, everything else refuses.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use policy::TargetName;
use russh::keys::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Pty, Sig};
use tokio_util::sync::CancellationToken;

use super::answering::in_time;
use super::calling::Confirmed;
use super::channels::Channels;
use super::conduct::Conduct;
use super::device_errand::Visit;
use super::door::{Door, Entrance};
use super::flow::Pace;
use super::forwards::Forwards;
use super::inner::{self, Arriving, Jump, Names};
use super::overheard::Ear;
use super::places::Entry;
use super::remediation::Remediation;
use super::stepping::Stepping;
use super::tap::Bound;
use super::words::Talking;
use crate::bastion::Bastion;
use crate::channel::{End, Screen, Size, Start, Stream};
use crate::live::{Connection, Guest};
use crate::login::{Attempt, Ground};

pub(super) enum Phase {
    /// `Accepted` or `Assessed`: see `login`.
    Login(Box<Attempt>),
    /// Inside a jump: the login is done, the account has not come yet.
    Arriving(Box<Arriving>),
    /// The login is done, and more is asked for before it leads to a target.
    Stepping(Stepping),
    /// A proven device that may not connect: texts and nothing else.
    Remediation(Remediation),
    /// A device without a person: what it came for and nothing else.
    DeviceAlone(Visit),
    /// `Authenticated`.
    Open(Arc<Connection>),
    /// `Invited`: nothing but an authenticator can be enrolled, and no jump leads on.
    Enrolling(Arc<Guest>),
    /// The words of a disconnect are on their way.
    Dismissed,
    Ended,
}

/// What a machine's proof is held against, and what is heard of one that never comes this far.
pub(super) struct Proof {
    pub(super) bound: Bound,
    pub(super) ear: Arc<Ear>,
}

/// What a connection's stream and its handler share: how fast it may send, and what else it may ask for.
pub(super) struct Manners {
    pub(super) pace: Arc<Pace>,
    pub(super) conduct: Arc<Conduct>,
}

/// One connection.
pub(super) struct Handler {
    pub(super) bastion: Arc<Bastion>,
    pub(super) peer: SocketAddr,
    pub(super) phase: Phase,
    /// Boxed as the forwards are: russh keeps four times the room that a handler takes.
    pub(super) channels: Box<Channels>,
    /// None inside a jump: no machine proves itself there.
    pub(super) proof: Option<Proof>,
    pub(super) talking: Arc<Talking>,
    pub(super) handle: Arc<OnceLock<Handle>>,
    pub(super) kill: CancellationToken,
    pub(super) logged_in: CancellationToken,
    /// Inside a jump the outer connection's place is enough.
    pub(super) place: Option<Entry>,
    pub(super) conduct: Arc<Conduct>,
    /// None inside a jump: from there no further jump leads on.
    pub(super) names: Option<Arc<Names>>,
    /// Channels that the client has opened for us.
    pub(super) confirmed: Arc<Confirmed>,
    pub(super) forwards: Box<Forwards>,
}

impl Phase {
    pub(super) fn remediation(text: String, kill: CancellationToken) -> Self {
        Self::Remediation(Remediation::new(text, kill))
    }
}

impl Handler {
    pub(super) fn new(
        door: &Door,
        peer: SocketAddr,
        kill: CancellationToken,
        Manners { pace, conduct }: Manners,
        place: Entry,
        proof: Proof,
    ) -> (Self, Entrance) {
        let bastion = door.bastion().clone();
        let handle = Arc::new(OnceLock::new());
        let logged_in = CancellationToken::new();
        let entrance = Entrance::new(bastion.clone(), peer, handle.clone(), logged_in.clone());
        let phase = Phase::Login(Box::new(Attempt::new(Ground::of(&bastion), peer)));
        let channels = Box::new(Channels::new(pace, kill.clone(), bastion.config.ssh.max_channels));
        let (proof, place, names) = (Some(proof), Some(place), Some(door.names().clone()));
        let talking = door.talking().clone();
        let own = Self {
            bastion,
            peer,
            phase,
            channels,
            talking,
            proof,
            handle,
            kill,
            logged_in,
            place,
            confirmed: Arc::new(Confirmed::new(conduct.clone())),
            conduct,
            names,
            forwards: Box::default(),
        };
        (own, entrance)
    }

    /// The handler of a connection inside a jump, and what is cancelled when its login is finished.
    pub(super) fn inner(
        bastion: Arc<Bastion>,
        peer: SocketAddr,
        kill: CancellationToken,
        Manners { pace, conduct }: Manners,
        arriving: Arriving,
    ) -> (Self, CancellationToken) {
        let logged_in = CancellationToken::new();
        let channels = Box::new(Channels::new(pace, kill.clone(), bastion.config.ssh.max_channels));
        let phase = Phase::Arriving(Box::new(arriving));
        let token = logged_in.clone();
        // Every channel here names a target, so no word is said.
        let talking = Arc::default();
        let own = Self {
            bastion,
            peer,
            phase,
            channels,
            talking,
            proof: None,
            handle: Arc::default(),
            kill,
            logged_in,
            place: None,
            confirmed: Arc::new(Confirmed::new(conduct.clone())),
            conduct,
            names: None,
            forwards: Box::default(),
        };
        (own, token)
    }
}

/// What happens a few times in a connection is boxed: russh holds the state of the largest callback for as long as the
/// connection lasts, and twice.
impl russh::server::Handler for Handler {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        let banner = self.bastion.config.ssh.banner.clone();
        let Phase::Arriving(arriving) = &self.phase else { return Ok(banner) };
        let Some(line) = Box::pin(arriving.forewarning(&self.bastion)).await else { return Ok(banner) };
        let banner = banner.map(|banner| format!("{}\n", banner.trim_end())).unwrap_or_default();
        Ok(Some(format!("{banner}{line}\n")))
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        Ok(Box::pin(self.arrive(user)).await)
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(Box::pin(in_time(self.key_offered(user, offer))).await)
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(Box::pin(in_time(self.key_proved(user, key))).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        shown: &Certificate,
    ) -> Result<Auth, russh::Error> {
        Ok(Box::pin(in_time(self.certificate_proved(user, shown))).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        Ok(Box::pin(in_time(self.prompted(user, response))).await)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.may_open_channels() && self.conduct.opens() && self.channels.open(channel) {
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        from: &str,
        from_port: u32,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        // The dropped reply refuses what leads nowhere, and what is no name: an address with a colon, a path, anything long.
        let (Ok(name), Some((names, outer))) = (TargetName::parse(host), self.jump_from()) else {
            let end = |host: &str, port| End::Tcp { host: host.to_owned(), port };
            let stream = Stream { to: end(host, port), from: Some(end(from, from_port)) };
            Box::pin(self.forward(channel, stream, reply, session)).await;
            return Ok(());
        };
        if !self.conduct.opens() {
            return Ok(());
        }
        let Some((inlet, half)) = self.channels.carry(channel) else { return Ok(()) };
        let (gone, peer) = (inlet.over().clone(), self.peer);
        reply.accept().await;
        tokio::spawn(inner::serve(
            self.bastion.clone(),
            names,
            Jump { outer, name, inlet, half, gone, peer },
        ));
        Ok(())
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let stream = Stream { to: End::Unix(path.to_owned()), from: None };
        Box::pin(self.forward(channel, stream, reply, session)).await;
        Ok(())
    }

    async fn channel_open_confirmation(
        &mut self,
        channel: ChannelId,
        _: u32,
        _: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // A client may confirm what nobody asked of it, and what is its own.
        if self.confirmed.expects() && !self.channels.knows(channel) {
            let inlet = if self.conduct.opens() { self.channels.back(channel) } else { None };
            self.confirmed.put(channel, inlet);
        }
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        host: &str,
        port: &mut u32,
        session: &mut Session,
    ) -> Result<bool, russh::Error> {
        let end = End::Tcp { host: host.to_owned(), port: *port };
        let bound = Box::pin(self.listen(end, session)).await;
        *port = bound.unwrap_or(*port);
        Ok(bound.is_some())
    }

    async fn cancel_tcpip_forward(
        &mut self,
        host: &str,
        port: u32,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        let end = End::Tcp { host: host.to_owned(), port };
        Ok(Box::pin(self.forwards.cancel(&end, &self.kill)).await)
    }

    async fn streamlocal_forward(&mut self, path: &str, session: &mut Session) -> Result<bool, russh::Error> {
        Ok(Box::pin(self.listen(End::Unix(path.to_owned()), session)).await.is_some())
    }

    async fn cancel_streamlocal_forward(
        &mut self,
        path: &str,
        _: &mut Session,
    ) -> Result<bool, russh::Error> {
        Ok(Box::pin(self.forwards.cancel(&End::Unix(path.to_owned()), &self.kill)).await)
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        self.channels.data(channel, data).map_err(|broken| self.broken(broken))?;
        self.conduct.data(data.len());
        Ok(())
    }

    async fn extended_data(
        &mut self,
        channel: ChannelId,
        _: u32,
        data: &[u8],
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // A session has no extended data towards the server (RFC 4254 section 6): counted, then forgotten.
        self.channels.forget(channel, data.len()).map_err(|broken| self.broken(broken))
    }

    fn adjust_window(&mut self, channel: ChannelId, current: u32) -> u32 {
        self.channels.granted(channel, current)
    }

    async fn window_adjusted(&mut self, _: ChannelId, _: u32, _: &mut Session) -> Result<(), russh::Error> {
        self.conduct.read();
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.eof(channel).map_err(|broken| self.broken(broken))
    }

    async fn channel_close(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.close(channel);
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let size = Size { columns, rows, width, height };
        let modes = modes.iter().map(|&(mode, value)| (mode as u8, value)).collect();
        if self.channels.terminal(channel, term, size, modes) {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.channels.variable(channel, name, value) {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        self.begin(channel, Start::Shell, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(channel, Start::Exec(bytes::Bytes::copy_from_slice(data)), session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        self.begin(channel, Start::Subsystem(name.to_owned()), session)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        let size = Size { columns, rows, width, height };
        self.channels.resize(channel, size).map_err(|broken| self.broken(broken))
    }

    async fn signal(&mut self, channel: ChannelId, signal: Sig, _: &mut Session) -> Result<(), russh::Error> {
        self.channels.signal(channel, &signal).map_err(|broken| self.broken(broken))
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        single: bool,
        protocol: &str,
        cookie: &str,
        number: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        let screen = Screen { single, protocol: protocol.to_owned(), cookie: cookie.to_owned(), number };
        let asked = Start::X11(End::Tcp { host: "screen".to_owned(), port: number });
        if Box::pin(self.may_also(channel, asked)).await && self.channels.screen(channel, screen) {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn agent_request(&mut self, channel: ChannelId, _: &mut Session) -> Result<bool, russh::Error> {
        Ok(Box::pin(self.may_also(channel, Start::Agent)).await && self.channels.agent(channel))
    }
}
