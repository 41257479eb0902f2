//! The operator's side of a bare stream: one that their client opens, or one that it is asked to take.
//! Never accepts a stream before the target has, and never puts words into it: a refusal is the answer to its opening.

use std::time::Duration;

use russh::ChannelOpenFailure;
use russh::ChannelWriteHalf;
use russh::server::{ChannelOpenHandle, Msg};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::inlet::FromInlet;
use crate::channel::{FromTarget, Gone, Ingress, Sink};
use crate::refusal::Refusal;

/// How long an operator who does not read is given for the end of a stream.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// Longest text of a refusal, in characters.
const WORDS: usize = 400;

/// The operator's side of one stream.
pub(super) struct Tunnel {
    from: FromInlet,
    to: Mouth,
    /// Until it is answered; none where the operator's client has answered us.
    reply: Option<ChannelOpenHandle>,
}

/// What goes to the operator's client.
pub(super) struct Mouth {
    half: ChannelWriteHalf<Msg>,
    gone: CancellationToken,
}

impl Tunnel {
    pub(super) fn new(
        from: FromInlet,
        half: ChannelWriteHalf<Msg>,
        reply: Option<ChannelOpenHandle>,
        gone: CancellationToken,
    ) -> Self {
        Self { from, to: Mouth { half, gone }, reply }
    }
}

impl Ingress for Tunnel {
    type From = FromInlet;
    type To = Mouth;

    fn split(&mut self) -> (&mut FromInlet, &mut Mouth) {
        (&mut self.from, &mut self.to)
    }

    async fn accept(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply.accept().await;
        }
    }

    async fn notice(&mut self, _: &[String]) {}

    async fn refuse(&mut self, refusal: &Refusal) {
        match self.reply.take() {
            Some(reply) => reply.reject(reason(refusal)).await,
            None => self.close().await,
        }
    }

    async fn close(&mut self) {
        let _ = timeout(LAST_WORDS, self.to.put(FromTarget::Close)).await;
    }
}

impl Sink for Mouth {
    type Item = FromTarget;

    async fn put(&mut self, item: FromTarget) -> Result<(), Gone> {
        let sending = async {
            match item {
                FromTarget::Data(bytes) => self.half.data_bytes(bytes).await,
                FromTarget::Eof => self.half.eof().await,
                FromTarget::Close => self.half.close().await,
                // A stream has no standard error and no status.
                FromTarget::Stderr(_) | FromTarget::ExitStatus(_) | FromTarget::ExitSignal { .. } => Ok(()),
            }
        };
        tokio::select! {
            biased;
            sent = sending => sent.map_err(|_| Gone),
            () = self.gone.cancelled() => Err(Gone),
        }
    }
}

/// The reason as SSH numbers it (RFC 4254 section 5.1), with the one line of the refusal.
fn reason(refusal: &Refusal) -> ChannelOpenFailure {
    let known = match refusal.code() {
        "TARGET-007" => ChannelOpenFailure::ConnectFailed,
        _ => ChannelOpenFailure::AdministrativelyProhibited,
    };
    let line = refusal.line().chars().take(WORDS).collect();
    ChannelOpenFailure::Other { code: known.code(), reason: line }
}
