//! The protocol's callbacks for one connection: log in by certificate, open session channels, start one program on each.
//! It never forwards anything and never waits inside a callback.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session};
use russh::{Channel, ChannelId, ChannelWriteHalf, Pty, Sig};
use ssh_key::{Certificate, PublicKey};
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::certificate::{self, Circumstances};
use crate::inbox::{Inbox, Size, TRICKLE};
use crate::pace::Pace;
use crate::program::{self, Setting, Task};
use crate::terminal::Terminal;
use crate::{WINDOW, channel, signals};

/// Channels open at once on one connection; one more is refused.
const MAX_CHANNELS: usize = 32;

/// One channel: what was asked for so far, and what the client has sent.
struct Slot {
    inbox: Arc<Inbox>,
    setting: Setting,
    /// Taken when the program starts: a channel runs one program (RFC 4254 section 6.5).
    write: Option<ChannelWriteHalf<Msg>>,
    stop: CancellationToken,
}

/// The state of one connection.
pub(crate) struct Connection {
    account: Arc<Account>,
    user_ca: Arc<PublicKey>,
    peer: IpAddr,
    slots: HashMap<ChannelId, Slot>,
    pace: Pace,
    /// The window the last grant was aimed at.
    aimed: u32,
    logged_in: CancellationToken,
    stop: CancellationToken,
}

impl Connection {
    pub(crate) fn new(
        account: Arc<Account>,
        user_ca: Arc<PublicKey>,
        peer: IpAddr,
        stop: CancellationToken,
    ) -> Self {
        Self {
            account,
            user_ca,
            peer,
            slots: HashMap::new(),
            pace: Pace::default(),
            aimed: WINDOW,
            logged_in: CancellationToken::new(),
            stop,
        }
    }

    pub(crate) fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Cancelled at the login.
    pub(crate) fn logged_in(&self) -> CancellationToken {
        self.logged_in.clone()
    }

    pub(crate) fn pace(&self) -> Pace {
        self.pace.clone()
    }

    /// Starts the channel's program, or tells the client that it cannot.
    fn start(&mut self, id: ChannelId, task: &Task, session: &mut Session) -> Result<(), russh::Error> {
        let Some(slot) = self.slots.get_mut(&id) else { return Ok(()) };
        let Some(write) = slot.write.take() else { return session.channel_failure(id) };
        match program::spawn(&self.account, &slot.setting, task) {
            Ok(program) => {
                session.channel_success(id)?;
                tokio::spawn(channel::run(
                    program,
                    slot.inbox.clone(),
                    write,
                    session.handle(),
                    slot.stop.clone(),
                ));
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "the demo target could not start a program");
                session.channel_failure(id)
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        let at = Circumstances {
            user_ca: &self.user_ca,
            login: user,
            own: &self.account.name,
            peer: self.peer,
            now: now(),
        };
        match certificate::check(certificate, &at) {
            Ok(()) => {
                self.logged_in.cancel();
                Ok(Auth::Accept)
            }
            Err(refused) => {
                tracing::info!(%refused, "the demo target refused a certificate");
                Ok(Auth::reject())
            }
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        // russh does not tell of a channel that was closed from here, so those that have ended are found by their inbox:
        // its program no longer shares it.
        self.slots.retain(|_, slot| slot.write.is_some() || Arc::strong_count(&slot.inbox) > 1);
        if self.slots.len() >= MAX_CHANNELS {
            reply.reject(russh::ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        // INVARIANT: the read half is dropped. Kept, its bounded queue would stall the whole connection with one channel.
        let (_, write) = channel.split();
        let slot = Slot {
            inbox: Arc::default(),
            setting: Setting::default(),
            write: Some(write),
            stop: self.stop.child_token(),
        };
        if let Some(write) = &slot.write {
            self.slots.insert(write.id(), slot);
        }
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let size = Size { columns, rows, width, height };
        match self.slots.get_mut(&id) {
            Some(slot) if slot.write.is_some() && slot.setting.terminal.is_none() => {
                slot.setting.terminal = Some(Terminal::wanted(term, size, modes));
                session.channel_success(id)
            }
            _ => session.channel_failure(id),
        }
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let slot = self.slots.get_mut(&id);
        match slot.is_some_and(|slot| slot.setting.accept_variable(name, value)) {
            true => session.channel_success(id),
            false => session.channel_failure(id),
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.start(id, &Task::Shell, session)
    }

    async fn exec_request(
        &mut self,
        id: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.start(id, &Task::Exec(command.to_vec()), session)
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match name {
            "sftp" => self.start(id, &Task::Sftp, session),
            _ => session.channel_failure(id),
        }
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _: &mut Session) -> Result<(), Self::Error> {
        if self.slots.get(&id).is_some_and(|slot| !slot.inbox.data(data)) {
            tracing::info!("a demo client sent beyond its window, connection closed");
            self.stop.cancel();
        }
        Ok(())
    }

    fn adjust_window(&mut self, _: ChannelId, _: u32) -> u32 {
        if self.aimed == TRICKLE {
            self.pace.hold_next();
        }
        self.aimed = self.slots.values().map(|slot| slot.inbox.window()).min().unwrap_or(WINDOW);
        self.aimed
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if let Some(slot) = self.slots.get(&id) {
            slot.inbox.resize(Size { columns, rows, width, height });
        }
        Ok(())
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, _: &mut Session) -> Result<(), Self::Error> {
        if let (Some(slot), Some(signal)) = (self.slots.get(&id), signals::number(&signal)) {
            slot.inbox.signal(signal);
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        if let Some(slot) = self.slots.get(&id) {
            slot.inbox.end();
        }
        Ok(())
    }

    async fn channel_close(&mut self, id: ChannelId, _: &mut Session) -> Result<(), Self::Error> {
        if let Some(slot) = self.slots.remove(&id) {
            slot.stop.cancel();
        }
        Ok(())
    }
}

/// Seconds since 1970 UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "the outermost edge of a server of its own, which has no Clock"
)]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
