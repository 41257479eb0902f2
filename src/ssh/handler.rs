//! russh's callbacks, turned into the phases of one connection: the only place that holds "any phase".
//! Never decides: login callbacks act only while logging in, channel callbacks only when open, everything else refuses.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use policy::TargetName;
use russh::keys::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Disconnect, MethodKind, MethodSet, Pty, Sig};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::channels::{Broken, Channels};
use super::door::{Door, Entrance, ground};
use super::enrolment::Enrolment;
use super::flow::Pace;
use super::inner::{self, Arriving, Jump, Names, Outer};
use super::listener::Place;
use super::remediation::Remediation;
use super::tap::Bound;
use crate::bastion::Bastion;
use crate::channel::{Size, Start};
use crate::device;
use crate::live::{Connection, Cutter};
use crate::login::{Answer, Attempt, Authenticated, Methods, Offer};
use crate::refusal::Refusal;
use crate::{connection, session};

/// Answers to a prompt that are looked at; one is asked for, so a second is enough to refuse.
const ANSWERS: usize = 2;
/// Longest answer to a prompt, in bytes.
const ANSWER: usize = 1024;

pub(super) enum Phase {
    /// `Accepted` or `Assessed`: see `login`.
    Login(Box<Attempt>),
    /// Inside a jump: the login is done, the account has not come yet.
    Arriving(Box<Arriving>),
    /// A proven device that may not connect: texts and nothing else.
    Remediation(Remediation),
    /// A machine that is to be enrolled: its token and nothing else.
    Enrolment(Enrolment),
    /// `Authenticated`.
    Open(Arc<Connection>),
    Ended,
}

/// One connection.
pub(super) struct Handler {
    bastion: Arc<Bastion>,
    peer: SocketAddr,
    phase: Phase,
    channels: Channels,
    /// None inside a jump: no machine proves itself there.
    bound: Option<Bound>,
    handle: Arc<OnceLock<Handle>>,
    kill: CancellationToken,
    logged_in: CancellationToken,
    /// Inside a jump the outer connection's place is enough.
    place: Option<Place>,
    /// None inside a jump: from there no further jump leads on.
    names: Option<Arc<Names>>,
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
        bound: Bound,
    ) -> (Self, Entrance) {
        let bastion = door.bastion().clone();
        let handle = Arc::new(OnceLock::new());
        let logged_in = CancellationToken::new();
        let entrance = Entrance::new(bastion.clone(), peer, handle.clone(), logged_in.clone());
        let phase = Phase::Login(Box::new(Attempt::new(ground(&bastion), peer)));
        let channels = Channels::new(pace, kill.clone(), bastion.config.ssh.max_channels);
        let (bound, place, names) = (Some(bound), Some(place), Some(door.names().clone()));
        (Self { bastion, peer, phase, channels, bound, handle, kill, logged_in, place, names }, entrance)
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
        let (bound, handle, token) = (None, Arc::default(), logged_in.clone());
        (Self { bastion, peer, phase, channels, bound, handle, kill, logged_in, place: None, names: None }, token)
    }

    /// Carries out what the login answered, after it is logged.
    async fn answer(&mut self, answer: Answer) -> Auth {
        match answer {
            Answer::Refuse { methods, why } => {
                self.refused(&why).await;
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: false }
            }
            Answer::Pass { methods, .. } => {
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: false }
            }
            Answer::Partial { methods } => {
                Auth::Reject { proceed_with_methods: Some(advertised(methods)), partial_success: true }
            }
            Answer::Ask { instructions, prompt } => Auth::Partial {
                name: "".into(),
                instructions: instructions.into(),
                prompts: vec![(prompt.into(), false)].into(),
            },
            Answer::Done(authenticated) => self.open(*authenticated).await,
            Answer::Remediate(remediation) => self.remediate(&remediation).await,
            Answer::Enrol(enrolment) => {
                self.phase = Phase::Enrolment(Enrolment::new(*enrolment, self.peer, self.kill.clone()));
                self.finished();
                Auth::Accept
            }
            Answer::Disconnect { text, why } => {
                self.refused(&why).await;
                self.disconnect(text);
                Auth::reject()
            }
        }
    }

    async fn refused(&self, why: &Refusal) {
        let Phase::Login(attempt) = &self.phase else { return };
        connection::refused(&self.bastion, attempt, why, "auth.login").await;
    }

    async fn open(&mut self, authenticated: Authenticated) -> Auth {
        let cutter = Cutter::new(self.kill.clone());
        let entered = connection::enter(&self.bastion, authenticated, self.peer, cutter).await;
        let Some(connection) = entered else {
            self.phase = Phase::Ended;
            return Auth::reject();
        };
        tokio::spawn(connection::idle_out(connection.clone(), self.bastion.config.ssh.idle_timeout));
        self.phase = Phase::Open(connection);
        self.finished();
        Auth::Accept
    }

    async fn remediate(&mut self, remediation: &device::Remediation) -> Auth {
        if let Phase::Login(attempt) = &self.phase {
            connection::refused(&self.bastion, attempt, remediation.refusal(), "device.remediation").await;
        }
        self.phase = Phase::remediation(remediation.text(), self.kill.clone());
        self.finished();
        Auth::Accept
    }

    fn finished(&mut self) {
        self.logged_in.cancel();
        if let Some(place) = &mut self.place {
            place.authenticated();
        }
    }

    fn disconnect(&mut self, text: String) {
        self.phase = Phase::Ended;
        let Some(handle) = self.handle.get().cloned() else {
            self.kill.cancel();
            return;
        };
        // Not awaited here: russh's loop, which would carry it, is waiting for this callback.
        tokio::spawn(async move {
            let _ = handle.disconnect(Disconnect::NoMoreAuthMethodsAvailable, text, String::new()).await;
        });
    }

    fn begin(&mut self, channel: ChannelId, start: Start, session: &mut Session) -> Result<(), russh::Error> {
        match &mut self.phase {
            Phase::Open(connection) => {
                match self.channels.begin(channel, start, session.handle()) {
                    Some((asked, operator)) => {
                        let bastion = self.bastion.clone();
                        tokio::spawn(session::run(bastion, connection.clone(), asked, operator));
                    }
                    None => session.channel_failure(channel)?,
                }
                Ok(())
            }
            Phase::Remediation(remediation) => {
                match self.channels.begin(channel, start, session.handle()) {
                    Some((_, operator)) => remediation.show(operator),
                    None => session.channel_failure(channel)?,
                }
                Ok(())
            }
            Phase::Enrolment(enrolment) => {
                match self.channels.begin(channel, start, session.handle()) {
                    Some((asked, operator)) => enrolment.begin(&self.bastion, asked.start, operator),
                    None => session.channel_failure(channel)?,
                }
                Ok(())
            }
            Phase::Login(_) | Phase::Arriving(_) | Phase::Ended => session.channel_failure(channel),
        }
    }

    fn may_open_channels(&self) -> bool {
        match &self.phase {
            Phase::Open(_) => true,
            Phase::Remediation(remediation) => remediation.has_room(),
            Phase::Enrolment(enrolment) => enrolment.has_room(),
            Phase::Login(_) | Phase::Arriving(_) | Phase::Ended => false,
        }
    }

    /// What a jump from here rests on; `None` where none leads on.
    fn jump_from(&mut self) -> Option<(Arc<Names>, Outer)> {
        let names = self.names.clone()?;
        match &mut self.phase {
            Phase::Open(connection) => Some((names, Outer::Open(connection.clone()))),
            Phase::Remediation(told) => {
                let text = told.text().to_owned();
                told.told_elsewhere().then_some((names, Outer::Remediation(text)))
            }
            Phase::Login(_) | Phase::Arriving(_) | Phase::Enrolment(_) | Phase::Ended => None,
        }
    }
}

fn advertised(methods: Methods) -> MethodSet {
    let mut kinds = Vec::with_capacity(2);
    if methods.publickey {
        kinds.push(MethodKind::PublicKey);
    }
    if methods.keyboard_interactive {
        kinds.push(MethodKind::KeyboardInteractive);
    }
    MethodSet::from(&kinds[..])
}

impl From<Broken> for russh::Error {
    fn from(_: Broken) -> Self {
        Self::Inconsistent
    }
}

impl russh::server::Handler for Handler {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, russh::Error> {
        Ok(self.bastion.config.ssh.banner.clone())
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, russh::Error> {
        let Phase::Arriving(arriving) = &self.phase else { return Ok(Auth::reject()) };
        let Some(phase) = arriving.arrive(&self.bastion, user).await else { return Ok(Auth::reject()) };
        self.phase = phase;
        self.finished();
        Ok(Auth::Accept)
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
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

    async fn auth_openssh_certificate(&mut self, user: &str, shown: &Certificate) -> Result<Auth, russh::Error> {
        let (Phase::Login(attempt), Some(bound)) = (&mut self.phase, &self.bound) else { return Ok(Auth::reject()) };
        let answer = attempt.certified(user, shown, bound).await;
        Ok(self.answer(answer).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Phase::Login(attempt) = &mut self.phase else { return Ok(Auth::reject()) };
        let answer = match response {
            None => attempt.prompt(user).await,
            Some(response) => {
                let answers: Vec<Zeroizing<Vec<u8>>> = response
                    .take(ANSWERS)
                    .map(|answer| Zeroizing::new(answer.iter().copied().take(ANSWER).collect()))
                    .collect();
                let given: Vec<&[u8]> = answers.iter().map(|answer| answer.as_slice()).collect();
                attempt.answers(user, &given).await
            }
        };
        Ok(self.answer(answer).await)
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
        _: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // The dropped reply refuses what is no name: an address with a colon, a path, anything over long.
        let Ok(name) = TargetName::parse(host) else { return Ok(()) };
        let Some((names, outer)) = self.jump_from() else { return Ok(()) };
        let Some((inlet, half)) = self.channels.carry(channel) else { return Ok(()) };
        let (gone, peer) = (self.channels.gone().clone(), self.peer);
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
            Phase::Login(attempt) => {
                tokio::spawn(async move { connection::unfinished(&bastion, &attempt).await });
            }
            Phase::Arriving(_) | Phase::Remediation(_) | Phase::Enrolment(_) | Phase::Ended => {}
        }
    }
}
