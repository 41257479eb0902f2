//! The end of a connection, as its handler sees it: whatever way it ends, its session is closed and its place given back.
//! Never waits: what is to be logged is logged by a task of its own.

use super::channels::Broken;
use super::counts::{self, Dropped};
use super::handler::{Handler, Phase};
use crate::connection;
use crate::live::Cut;

impl Handler {
    /// The peer does what no client does: its connection ends.
    pub(super) fn broken(&self, _: Broken) -> russh::Error {
        self.conduct.end(Dropped::Excess);
        russh::Error::Inconsistent
    }

    /// The connection ends for what it did: counted, told, and said in its session.
    fn exceeded(&self, why: Dropped) {
        let reason = why.name();
        tracing::warn!(peer = %self.peer, reason, "a connection was ended: it asked for more than one may");
        counts::dropped(why);
        if let Phase::Open(connection) = &self.phase {
            connection.cutter.cut(Cut::Excess);
        }
    }
}

impl Drop for Handler {
    /// russh's own clean-up hook: whatever way a connection ends, its session is closed and its place given back.
    fn drop(&mut self) {
        self.kill.cancel();
        if let Some(why) = self.conduct.ended() {
            self.exceeded(why);
        }
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
