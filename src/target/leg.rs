//! The target's side of a running channel: russh's two halves of it, as the relay's `Egress`.
//! Never opens or asks anything: that is over when a `Leg` exists.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use tokio::io::AsyncWrite;
use tokio::time::timeout;

use super::gate::{Gate, Meter};
use crate::channel::{Egress, FromOperator, FromTarget, Gone, Sink, Source};

/// How long a target may take to hear that a channel is over.
const GOODBYE: Duration = Duration::from_millis(200);
/// How often a channel is looked at that may hold up others, and how many times in a row it may be found to.
const LOOK: Duration = Duration::from_secs(1);
const STALLED: u32 = 10;
/// Longest text of a target about a signal that is passed on, in characters.
const WORDS: usize = 256;
/// Longest name of a signal (RFC 4254 section 6.10 has none over four; extensions bear a domain).
const SIGNAL_NAME: usize = 64;

/// A channel on which the target has accepted the request.
pub struct Leg {
    from: FromLeg,
    to: ToLeg,
}

/// What the target says.
pub struct FromLeg {
    /// What came between the request and its answer.
    early: VecDeque<FromTarget>,
    half: ChannelReadHalf,
    gate: Arc<Gate>,
    meter: Arc<Meter>,
}

/// What the target is told.
pub struct ToLeg {
    half: ChannelWriteHalf<Msg>,
    gate: Arc<Gate>,
}

impl Leg {
    pub(super) fn new(
        half: ChannelReadHalf,
        write: ChannelWriteHalf<Msg>,
        gate: Arc<Gate>,
        early: VecDeque<FromTarget>,
    ) -> Self {
        let meter = gate.meter(write.id());
        Self { from: FromLeg { early, half, gate: gate.clone(), meter }, to: ToLeg { half: write, gate } }
    }

    /// Tells the target that the channel is over, within a bounded time.
    pub async fn close(&self) {
        let _ = timeout(GOODBYE, self.to.half.close()).await;
    }

    /// Tells the program that its line is cut, as a lost terminal does: one that neither reads nor writes would not notice
    /// the end of the connection.
    pub(super) async fn hang_up(self) {
        let Self { from, to } = self;
        drop(from);
        let _ = to.half.signal(Sig::HUP).await;
    }

    /// The two directions, each for itself.
    pub(super) fn into_halves(self) -> (FromLeg, ToLeg) {
        (self.from, self.to)
    }

    /// Returns once this channel has kept its connection waiting for [`STALLED`] looks, and nothing of it was taken meanwhile.
    pub async fn holds_up_others(watch: Watch) {
        let (mut looks, mut before) = (0, watch.meter.taken());
        while looks < STALLED {
            tokio::time::sleep(LOOK).await;
            let taken = watch.meter.taken();
            let stands_still = taken == before && watch.gate.is_held_by(&watch.meter);
            (looks, before) = (if stands_still { looks + 1 } else { 0 }, taken);
        }
    }

    /// What [`Leg::holds_up_others`] looks at.
    pub fn watch(&self) -> Watch {
        Watch { gate: self.from.gate.clone(), meter: self.from.meter.clone() }
    }
}

/// How far a channel is behind, as its connection's gate counts it.
pub struct Watch {
    gate: Arc<Gate>,
    meter: Arc<Meter>,
}

impl Egress for Leg {
    type From = FromLeg;
    type To = ToLeg;

    fn split(&mut self) -> (&mut FromLeg, &mut ToLeg) {
        (&mut self.from, &mut self.to)
    }
}

impl Drop for FromLeg {
    fn drop(&mut self) {
        // What is not taken any more must not keep the others of the connection waiting.
        self.gate.leave(&self.meter);
    }
}

impl Source for FromLeg {
    type Item = FromTarget;

    async fn next(&mut self) -> Option<FromTarget> {
        if let Some(early) = self.early.pop_front() {
            return Some(early);
        }
        loop {
            if let Some(message) = read(self.half.wait().await?, &self.gate, &self.meter) {
                return Some(message);
            }
        }
    }

    fn settle(&self, size: usize) {
        self.gate.gone(&self.meter, size);
    }
}

/// What a message of russh means here; `None` for those that say nothing to an operator. The handler has counted all of them
/// as they arrived.
pub(super) fn read(message: ChannelMsg, gate: &Gate, meter: &Meter) -> Option<FromTarget> {
    let message = match message {
        ChannelMsg::Data { data } => return Some(FromTarget::Data(data)),
        ChannelMsg::ExtendedData { data, ext: 1 } => return Some(FromTarget::Stderr(data)),
        other => {
            gate.gone(meter, length(&other));
            other
        }
    };
    let message = match message {
        ChannelMsg::Eof => FromTarget::Eof,
        ChannelMsg::Close => FromTarget::Close,
        ChannelMsg::ExitStatus { exit_status } => FromTarget::ExitStatus(exit_status),
        ChannelMsg::ExitSignal { signal_name, core_dumped, error_message, .. } => FromTarget::ExitSignal {
            signal: signal_word(&signal_name),
            core_dumped,
            message: error_message.chars().filter(|c| !c.is_control()).take(WORDS).collect(),
        },
        // Nor does data of any kind but stderr: RFC 4254 section 5.2 defines no other.
        _ => return None,
    };
    gate.arrived(meter, message.size());
    Some(message)
}

/// The bytes of a target that a message bears, as the handler counts them.
pub(super) fn length(message: &ChannelMsg) -> usize {
    match message {
        ChannelMsg::Data { data } | ChannelMsg::ExtendedData { data, .. } => data.len(),
        ChannelMsg::ExitSignal { error_message, .. } => error_message.len(),
        _ => 0,
    }
}

impl ToLeg {
    /// The same direction as bare bytes.
    pub(super) fn writer(&self) -> impl AsyncWrite + Send + 'static {
        self.half.make_writer()
    }

    /// Something waits to be sent, or waits no longer.
    pub(super) fn waits(&self, waits: bool) {
        self.gate.upload_waits(waits);
    }
}

impl Sink for ToLeg {
    type Item = FromOperator;

    async fn put(&mut self, item: FromOperator) -> Result<(), Gone> {
        let sending = async {
            match item {
                FromOperator::Data(bytes) => {
                    self.waits(true);
                    let sent = self.half.data_bytes(bytes).await;
                    self.waits(false);
                    sent
                }
                FromOperator::Resize(size) => {
                    self.half.window_change(size.columns, size.rows, size.width, size.height).await
                }
                FromOperator::Signal(name) => self.half.signal(signal(&name)).await,
                FromOperator::Eof => self.half.eof().await,
                FromOperator::Close => self.half.close().await,
            }
        };
        // Boxed: its room is a third of a session's, which mostly sends nothing.
        Box::pin(sending).await.map_err(|_| Gone)
    }
}

/// The name of a signal without `SIG` (RFC 4254 section 6.10).
fn signal_word(signal: &Sig) -> String {
    match signal {
        Sig::Custom(name) => name.chars().filter(char::is_ascii_graphic).take(SIGNAL_NAME).collect(),
        known => format!("{known:?}"),
    }
}

fn signal(name: &str) -> Sig {
    match name {
        "ABRT" => Sig::ABRT,
        "ALRM" => Sig::ALRM,
        "FPE" => Sig::FPE,
        "HUP" => Sig::HUP,
        "ILL" => Sig::ILL,
        "INT" => Sig::INT,
        "KILL" => Sig::KILL,
        "PIPE" => Sig::PIPE,
        "QUIT" => Sig::QUIT,
        "SEGV" => Sig::SEGV,
        "TERM" => Sig::TERM,
        "USR1" => Sig::USR1,
        other => Sig::Custom(other.to_owned()),
    }
}
