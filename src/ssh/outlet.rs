//! What an operator is shown on one channel: russh's write half and handle, as the relay's `Sink`, and the words of a refusal.
//! Never used inside a callback of the same connection, for it waits for the operator's window.

use std::time::Duration;

use bytes::Bytes;
use russh::server::{Handle, Msg};
use russh::{ChannelWriteHalf, Sig};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::inlet::FromInlet;
use crate::channel::{FromTarget, Gone, Ingress, Sink};
use crate::refusal::Refusal;

/// Exit status of a channel that Bartizan refused or ended.
const REFUSED: u32 = 254;
/// How long an operator who does not read is given for the last words.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// The operator's side of one channel.
pub(super) struct Operator {
    from: FromInlet,
    to: Outlet,
    /// Whether the words of a refusal meet a terminal in raw mode.
    terminal: bool,
    /// Whether the request that began it was answered.
    accepted: bool,
}

/// What the operator is shown.
pub(super) struct Outlet {
    half: ChannelWriteHalf<Msg>,
    handle: Handle,
    gone: CancellationToken,
}

impl Operator {
    pub(super) fn new(
        from: FromInlet,
        half: ChannelWriteHalf<Msg>,
        handle: Handle,
        gone: CancellationToken,
        terminal: bool,
    ) -> Self {
        Self { from, to: Outlet { half, handle, gone }, terminal, accepted: false }
    }
}

impl Operator {
    /// What was typed before it was wanted comes before what is typed next.
    pub(super) fn typed_ahead(&self, bytes: &[u8]) {
        self.from.put_back(bytes);
    }

    /// Lines as they are to be shown here, each with its end.
    fn lines(&self, words: &str) -> Bytes {
        let text = format!("{words}\n");
        Bytes::from(if self.terminal { text.replace('\n', "\r\n") } else { text })
    }

    /// Ends a channel that was accepted, with words on stderr and exit status 254, within a bounded time.
    pub(super) async fn dismiss(&mut self, words: &str) {
        let text = self.lines(words);
        let _ = timeout(LAST_WORDS, async {
            self.to.put(FromTarget::Stderr(text)).await?;
            self.to.put(FromTarget::ExitStatus(REFUSED)).await?;
            self.to.put(FromTarget::Eof).await
        })
        .await;
        self.close().await;
    }
}

impl Ingress for Operator {
    type From = FromInlet;
    type To = Outlet;

    fn split(&mut self) -> (&mut FromInlet, &mut Outlet) {
        (&mut self.from, &mut self.to)
    }

    async fn accept(&mut self) {
        if std::mem::replace(&mut self.accepted, true) {
            return;
        }
        let accepting = self.to.handle.channel_success(self.to.half.id());
        tokio::select! {
            _ = accepting => {}
            () = self.to.gone.cancelled() => {}
        }
    }

    async fn notice(&mut self, lines: &[String]) {
        if !lines.is_empty() {
            let text = self.lines(&lines.join("\n"));
            let _ = timeout(LAST_WORDS, self.to.put(FromTarget::Stderr(text))).await;
        }
    }

    async fn refuse(&mut self, refusal: &Refusal) {
        // Words need a channel.
        self.accept().await;
        self.dismiss(&refusal.text()).await;
    }

    async fn close(&mut self) {
        let _ = timeout(LAST_WORDS, self.to.put(FromTarget::Close)).await;
    }
}

impl Sink for Outlet {
    type Item = FromTarget;

    async fn put(&mut self, item: FromTarget) -> Result<(), Gone> {
        let Self { half, handle, gone } = self;
        tokio::select! {
            // The cheaper one first: mostly there is room.
            biased;
            // Boxed, as it takes much room, and a session mostly has nothing to send.
            sent = Box::pin(send(half, handle, item)) => sent,
            () = gone.cancelled() => Err(Gone),
        }
    }
}

async fn send(half: &ChannelWriteHalf<Msg>, handle: &Handle, item: FromTarget) -> Result<(), Gone> {
    let sent = match item {
        FromTarget::Data(bytes) => half.data_bytes(bytes).await,
        FromTarget::Stderr(bytes) => half.extended_data_bytes(1, bytes).await,
        FromTarget::Eof => half.eof().await,
        FromTarget::ExitStatus(status) => half.exit_status(status).await,
        FromTarget::Close => half.close().await,
        FromTarget::ExitSignal { signal, core_dumped, message } => {
            // The write half knows no exit-signal; the handle's queue is the same, so the order is kept.
            let signal = Sig::Custom(signal);
            return handle
                .exit_signal_request(half.id(), signal, core_dumped, message, String::new())
                .await
                .map_err(|()| Gone);
        }
    };
    sent.map_err(|_| Gone)
}
