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

use super::answering::{advertised, bounded, no_question};
use super::channels::{Broken, Channels};
use super::device_errand::Visit;
use super::door::{Door, Entrance};
use super::flow::Pace;
use super::inner::{self, Arriving, Jump, Names, Outer};
use super::listener::Place;
use super::overheard::Ear;
use super::remediation::Remediation;
use super::stepping::Stepping;
use super::tap::Bound;
use super::words::{self, Speaker, Talking};
use crate::bastion::Bastion;
use crate::channel::{Size, Start};
use crate::live::{Connection, Guest};
use crate::login::{Answer, Attempt, Ground, Offer};
use crate::{connection, session};

/// Refused forwards of one connection that are logged one by one.
const FORWARDS_LOGGED: u32 = 16;

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

/// One connection.
pub(super) struct Handler {
    pub(super) bastion: Arc<Bastion>,
    pub(super) peer: SocketAddr,
    pub(super) phase: Phase,
    channels: Channels,
    /// None inside a jump: no machine proves itself there.
    pub(super) proof: Option<Proof>,
    talking: Arc<Talking>,
    pub(super) handle: Arc<OnceLock<Handle>>,
    pub(super) kill: CancellationToken,
    pub(super) logged_in: CancellationToken,
    /// Inside a jump the outer connection's place is enough.
    pub(super) place: Option<Place>,
    /// None inside a jump: from there no further jump leads on.
    names: Option<Arc<Names>>,
    /// Forwards that were asked for.
    forwards: u32,
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
        pace: Arc<Pace>,
        place: Place,
        proof: Proof,
    ) -> (Self, Entrance) {
        let bastion = door.bastion().clone();
        let handle = Arc::new(OnceLock::new());
        let logged_in = CancellationToken::new();
        let entrance = Entrance::new(bastion.clone(), peer, handle.clone(), logged_in.clone());
        let phase = Phase::Login(Box::new(Attempt::new(Ground::of(&bastion), peer)));
        let channels = Channels::new(pace, kill.clone(), bastion.config.ssh.max_channels);
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
            names,
            forwards: 0,
        };
        (own, entrance)
    }

    /// The handler of a connection inside a jump, and what is cancelled when its login is finished.
    pub(super) fn inner(
        bastion: Arc<Bastion>,
        peer: SocketAddr,
        kill: CancellationToken,
        pace: Arc<Pace>,
        arriving: Arriving,
    ) -> (Self, CancellationToken) {
        let logged_in = CancellationToken::new();
        let channels = Channels::new(pace, kill.clone(), bastion.config.ssh.max_channels);
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
            names: None,
            forwards: 0,
        };
        (own, token)
    }

    fn begin(&mut self, channel: ChannelId, start: Start, session: &mut Session) -> Result<(), russh::Error> {
        if matches!(
            self.phase,
            Phase::Login(_) | Phase::Arriving(_) | Phase::Stepping(_) | Phase::Dismissed | Phase::Ended
        ) {
            return session.channel_failure(channel);
        }
        let Some((asked, operator)) = self.channels.begin(channel, start, session.handle()) else {
            return session.channel_failure(channel);
        };
        let bastion = self.bastion.clone();
        match &mut self.phase {
            Phase::Open(connection) if connection.route.target.is_none() => {
                let speaker = Speaker::Operator(connection.clone());
                words::begin(bastion, &self.talking, speaker, asked, operator);
            }
            Phase::Open(connection) => {
                // Counted before the task runs: the connection does not end before its channels do.
                tokio::spawn(session::run(bastion, connection.carry(), asked, operator));
            }
            Phase::Enrolling(guest) => {
                words::begin(bastion, &self.talking, Speaker::Guest(guest.clone()), asked, operator);
            }
            Phase::Remediation(remediation) => remediation.show(operator),
            Phase::DeviceAlone(visit) => visit.begin(&bastion, asked.start, operator),
            Phase::Login(_) | Phase::Arriving(_) | Phase::Stepping(_) | Phase::Dismissed | Phase::Ended => {}
        }
        Ok(())
    }

    fn may_open_channels(&self) -> bool {
        match &self.phase {
            Phase::Open(_) | Phase::Enrolling(_) => true,
            Phase::Remediation(remediation) => remediation.has_room(),
            Phase::DeviceAlone(visit) => visit.has_room(),
            Phase::Login(_) | Phase::Arriving(_) | Phase::Stepping(_) | Phase::Dismissed | Phase::Ended => {
                false
            }
        }
    }

    /// What a jump from here rests on; `None` where none leads on.
    fn jump_from(&mut self) -> Option<(Arc<Names>, Outer)> {
        let names = self.names.clone()?;
        match &mut self.phase {
            // A login name that names a target leads there and nowhere else.
            Phase::Open(connection) if connection.route.target.is_none() => {
                Some((names, Outer::Open(connection.clone())))
            }
            Phase::Remediation(told) => {
                let text = told.text().to_owned();
                told.told_elsewhere().then_some((names, Outer::Remediation(text)))
            }
            Phase::Open(_)
            | Phase::Login(_)
            | Phase::Arriving(_)
            | Phase::Stepping(_)
            | Phase::Enrolling(_)
            | Phase::DeviceAlone(_)
            | Phase::Dismissed
            | Phase::Ended => None,
        }
    }

    /// A forward: by policy, and no policy permits one yet.
    fn refuse_forward(&mut self, to: String) {
        let Phase::Open(connection) = &self.phase else { return };
        self.forwards += 1;
        if self.forwards <= FORWARDS_LOGGED {
            let (bastion, connection) = (self.bastion.clone(), connection.clone());
            tokio::spawn(async move { connection::refuse_forward(&bastion, &connection, to).await });
        }
    }
}

impl From<Broken> for russh::Error {
    fn from(_: Broken) -> Self {
        Self::Inconsistent
    }
}

impl russh::server::Handler for Handler {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        let banner = self.bastion.config.ssh.banner.clone();
        let Phase::Arriving(arriving) = &self.phase else { return Ok(banner) };
        let Some(line) = arriving.forewarning(&self.bastion).await else { return Ok(banner) };
        let banner = banner.map(|banner| format!("{}\n", banner.trim_end())).unwrap_or_default();
        Ok(Some(format!("{banner}{line}\n")))
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        Ok(self.arrive(user).await)
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        self.overheard().await;
        let Phase::Login(attempt) = &mut self.phase else { return Ok(Auth::reject()) };
        Ok(match attempt.offered(user, offer.public_key, offer.algorithm).await {
            Offer::Sign => Auth::Accept,
            Offer::Refuse { methods } => {
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: false }
            }
        })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        let Phase::Login(attempt) = &mut self.phase else { return Ok(Auth::reject()) };
        let answer = attempt.proved(user, key.public_key, key.algorithm).await;
        Ok(self.answer(answer).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        shown: &Certificate,
    ) -> Result<Auth, russh::Error> {
        let (Phase::Login(attempt), Some(Proof { bound, .. })) = (&mut self.phase, &self.proof) else {
            return Ok(Auth::reject());
        };
        let answer = attempt.certified(user, shown, bound).await;
        Ok(self.answer(answer).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        self.overheard().await;
        let answers = response.map(bounded);
        let given: Option<Vec<&[u8]>> =
            answers.as_ref().map(|answers| answers.iter().map(|answer| answer.as_slice()).collect());
        let answer = match (&mut self.phase, given) {
            (Phase::Login(attempt), None) => attempt.prompt(user).await,
            (Phase::Login(attempt), Some(given)) => attempt.answers(user, &given).await,
            (Phase::Stepping(_), None) => return Ok(self.ask_more(user).await),
            (Phase::Stepping(_), Some(given)) => return Ok(self.answer_more(user, &given).await),
            (Phase::Dismissed, _) => return Ok(no_question()),
            _ => return Ok(Auth::reject()),
        };
        let ends = matches!(answer, Answer::Disconnect { .. });
        let done = self.answer(answer).await;
        if matches!(self.phase, Phase::Stepping(_)) {
            // In the same exchange: a client may not begin this method a second time.
            return Ok(self.ask_more(user).await);
        }
        // After a failure a client may leave without reading why; after no question at all it waits, and reads.
        Ok(if ends { no_question() } else { done })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        if self.may_open_channels() && self.channels.open(channel) {
            reply.accept().await;
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // The dropped reply refuses what leads nowhere, and what is no name: an address with a colon, a path, anything long.
        let (Ok(name), Some((names, outer))) = (TargetName::parse(host), self.jump_from()) else {
            self.refuse_forward(format!("{host}:{port}"));
            return Ok(());
        };
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

    async fn data(&mut self, channel: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        Ok(self.channels.data(channel, data)?)
    }

    async fn extended_data(
        &mut self,
        channel: ChannelId,
        _: u32,
        data: &[u8],
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // A session has no extended data towards the server (RFC 4254 section 6): counted, then forgotten.
        Ok(self.channels.forget(channel, data.len())?)
    }

    fn adjust_window(&mut self, channel: ChannelId, current: u32) -> u32 {
        self.channels.granted(channel, current)
    }

    async fn channel_eof(&mut self, channel: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        Ok(self.channels.eof(channel)?)
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
        Ok(self.channels.resize(channel, Size { columns, rows, width, height })?)
    }

    async fn signal(&mut self, channel: ChannelId, signal: Sig, _: &mut Session) -> Result<(), russh::Error> {
        Ok(self.channels.signal(channel, &signal)?)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _: bool,
        _: &str,
        _: &str,
        _: u32,
        session: &mut Session,
    ) -> Result<(), russh::Error> {
        session.channel_failure(channel)
    }

    async fn agent_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<bool, russh::Error> {
        session.channel_failure(channel)?;
        Ok(false)
    }
}

impl Drop for Handler {
    /// russh's own clean-up hook: whatever way a connection ends, its session is closed and its place given back.
    fn drop(&mut self) {
        self.kill.cancel();
        let bastion = self.bastion.clone();
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Open(connection) => {
                tokio::spawn(connection::leave(bastion, connection));
            }
            Phase::Enrolling(guest) => bastion.live.dismiss(&guest),
            Phase::Stepping(stepping) => {
                tokio::spawn(async move { stepping.unfinished(&bastion).await });
            }
            Phase::Login(mut attempt) => {
                let heard = self.proof.as_ref().and_then(|proof| proof.ear.take());
                let why = heard.map(|code| attempt.overheard(code));
                tokio::spawn(async move {
                    if let Some(why) = why {
                        connection::refused(&bastion, &attempt, &why, "auth.login").await;
                    }
                    connection::unfinished(&bastion, &attempt).await;
                });
            }
            Phase::Arriving(_)
            | Phase::Remediation(_)
            | Phase::DeviceAlone(_)
            | Phase::Dismissed
            | Phase::Ended => {}
        }
    }
}
