//! The channels of one connection before and while they run: what was asked for, the inlets, the windows.
//! Never lets one channel ask twice, and never keeps more of a request than its bounds allow.

use std::collections::HashMap;
use std::sync::Arc;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelId, ChannelWriteHalf, Sig};
use tokio_util::sync::CancellationToken;

use super::flow::{Pace, Violation, Windows};
use super::inlet::{Flood, FromInlet, Inlet};
use super::outlet::Operator;
use crate::channel::{Asked, FromOperator, Screen, Size, Start, Terminal};

/// Longest command, in bytes: the longest single argument Linux takes.
const COMMAND: usize = 128 << 10;
/// Longest subsystem name, in bytes.
const SUBSYSTEM: usize = 64;
/// Longest `TERM`, in bytes.
const TERM: usize = 64;
/// Variables of one channel.
const VARIABLES: usize = 64;
/// Longest value of a variable, in bytes.
const VALUE: usize = 1024;
/// Longest name and longest value of a cookie for a screen, in bytes.
const COOKIE: usize = 256;
/// Longest name of a signal.
const SIGNAL: usize = 64;

/// The peer does what no client does; the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl From<Violation> for Broken {
    fn from(_: Violation) -> Self {
        Self
    }
}

impl From<Flood> for Broken {
    fn from(_: Flood) -> Self {
        Self
    }
}

struct Slot {
    inlet: Arc<Inlet>,
    /// `None` once something runs.
    waiting: Option<Waiting>,
    /// A bare stream: sizes and signals mean nothing there.
    stream: bool,
}

struct Waiting {
    half: ChannelWriteHalf<Msg>,
    terminal: Option<Terminal>,
    environment: Vec<(String, String)>,
    agent: bool,
    screen: Option<Screen>,
}

/// All channels of one connection.
pub(super) struct Channels {
    slots: HashMap<ChannelId, Slot>,
    windows: Windows,
    gone: CancellationToken,
    max: usize,
}

impl Channels {
    pub(super) fn new(pace: Arc<Pace>, gone: CancellationToken, max: usize) -> Self {
        Self { slots: HashMap::new(), windows: Windows::new(pace), gone, max }
    }

    /// A new channel; `false` when there are too many.
    pub(super) fn open(&mut self, channel: Channel<Msg>) -> bool {
        self.forget_left();
        if self.slots.len() >= self.max {
            return false;
        }
        let id = channel.id();
        // Without a read half russh's loop never waits for us: data comes by the callbacks alone.
        let (read, half) = channel.split();
        drop(read);
        let inlet = Arc::new(Inlet::new(&self.gone, self.windows.pace().clone()));
        self.windows.open(id, inlet.clone());
        let waiting = Waiting { half, terminal: None, environment: Vec::new(), agent: false, screen: None };
        self.slots.insert(id, Slot { inlet, waiting: Some(waiting), stream: false });
        true
    }

    /// A channel that the operator's client has opened for us; `None` when there are too many.
    pub(super) fn back(&mut self, id: ChannelId) -> Option<Arc<Inlet>> {
        self.forget_left();
        if self.slots.len() >= self.max {
            return None;
        }
        let inlet = Arc::new(Inlet::new(&self.gone, self.windows.pace().clone()));
        self.windows.open(id, inlet.clone());
        self.slots.insert(id, Slot { inlet: inlet.clone(), waiting: None, stream: true });
        Some(inlet)
    }

    /// Whether there is such a channel already.
    pub(super) fn knows(&self, id: ChannelId) -> bool {
        self.slots.contains_key(&id)
    }

    /// What ends with the connection.
    pub(super) fn gone(&self) -> &CancellationToken {
        &self.gone
    }

    /// Takes a channel that is to carry a connection of its own; `None` when there are too many.
    pub(super) fn carry(&mut self, channel: Channel<Msg>) -> Option<(Arc<Inlet>, ChannelWriteHalf<Msg>)> {
        let id = channel.id();
        if !self.open(channel) {
            return None;
        }
        let slot = self.slots.get_mut(&id)?;
        slot.stream = true;
        Some((slot.inlet.clone(), slot.waiting.take()?.half))
    }

    /// What was asked for and the operator's side of it; `None` when the channel already runs something or asks for
    /// more than the bounds allow.
    pub(super) fn begin(
        &mut self,
        channel: ChannelId,
        start: Start,
        handle: Handle,
    ) -> Option<(Asked, Operator)> {
        let within = match &start {
            Start::Shell => true,
            Start::Exec(command) => command.len() <= COMMAND,
            Start::Subsystem(name) => {
                name.len() <= SUBSYSTEM && name.bytes().all(|byte| byte.is_ascii_graphic())
            }
            // Streams are opened, not asked for on a session channel.
            Start::Forward(_) | Start::Listen(_) | Start::Return(_) | Start::Agent | Start::X11(_) => false,
        };
        let slot = self.slots.get_mut(&channel)?;
        if !within {
            return None;
        }
        let Waiting { half, terminal, environment, agent, screen } = slot.waiting.take()?;
        let from = FromInlet::new(slot.inlet.clone(), self.gone.clone());
        let operator = Operator::new(from, half, handle, self.gone.clone(), terminal.is_some());
        Some((Asked { start, terminal, environment, agent, screen }, operator))
    }

    /// Keeps the terminal asked for; `false` when it is too late, the second, or out of bounds.
    pub(super) fn terminal(
        &mut self,
        channel: ChannelId,
        term: &str,
        size: Size,
        modes: Vec<(u8, u32)>,
    ) -> bool {
        let Some(waiting) = self.waiting(channel) else { return false };
        let within = term.len() <= TERM && term.bytes().all(|byte| byte.is_ascii_graphic());
        if !within || waiting.terminal.is_some() {
            return false;
        }
        waiting.terminal = Some(Terminal { term: term.to_owned(), size, modes });
        true
    }

    /// Keeps a variable of the allow-list; `false` for every other.
    pub(super) fn variable(&mut self, channel: ChannelId, name: &str, value: &str) -> bool {
        let Some(waiting) = self.waiting(channel) else { return false };
        let within = value.len() <= VALUE && !value.chars().any(char::is_control);
        if !allowed(name) || !within || waiting.environment.len() >= VARIABLES {
            return false;
        }
        waiting.environment.push((name.to_owned(), value.to_owned()));
        true
    }

    /// Whether the channel may still ask for the operator's agent or screen.
    pub(super) fn asks(&mut self, channel: ChannelId) -> bool {
        self.waiting(channel).is_some()
    }

    /// The operator's agent is to be reached from the target, as is permitted.
    pub(super) fn agent(&mut self, channel: ChannelId) -> bool {
        self.waiting(channel).map(|waiting| waiting.agent = true).is_some()
    }

    /// The operator's screen is to be reached from the target, as is permitted; `false` when it is too late, the second, or
    /// out of bounds.
    pub(super) fn screen(&mut self, channel: ChannelId, screen: Screen) -> bool {
        let Some(waiting) = self.waiting(channel) else { return false };
        let within = [&screen.protocol, &screen.cookie]
            .iter()
            .all(|text| text.len() <= COOKIE && text.bytes().all(|byte| byte.is_ascii_graphic()));
        if !within || waiting.screen.is_some() {
            return false;
        }
        waiting.screen = Some(screen);
        true
    }

    pub(super) fn data(&mut self, channel: ChannelId, data: &[u8]) -> Result<(), Broken> {
        self.windows.arrived(channel, data.len())?;
        if let Some(slot) = self.slots.get(&channel) {
            slot.inlet.data(data);
        }
        Ok(())
    }

    /// Data that means nothing here: only its place in the window counts.
    pub(super) fn forget(&mut self, channel: ChannelId, bytes: usize) -> Result<(), Broken> {
        Ok(self.windows.arrived(channel, bytes)?)
    }

    pub(super) fn granted(&mut self, channel: ChannelId, current: u32) -> u32 {
        self.windows.granted(channel, current)
    }

    pub(super) fn resize(&mut self, channel: ChannelId, size: Size) -> Result<(), Broken> {
        let Some(slot) = self.slots.get_mut(&channel) else { return Ok(()) };
        match &mut slot.waiting {
            Some(waiting) => {
                if let Some(terminal) = &mut waiting.terminal {
                    terminal.size = size;
                }
                Ok(())
            }
            None if slot.stream => Ok(()),
            None => Ok(slot.inlet.control(FromOperator::Resize(size))?),
        }
    }

    pub(super) fn signal(&mut self, channel: ChannelId, signal: &Sig) -> Result<(), Broken> {
        let name = match signal {
            Sig::Custom(name) => name.clone(),
            known => format!("{known:?}"),
        };
        let within = name.len() <= SIGNAL && name.bytes().all(|byte| byte.is_ascii_graphic());
        match self.slots.get(&channel) {
            Some(slot) if within && slot.waiting.is_none() && !slot.stream => {
                Ok(slot.inlet.control(FromOperator::Signal(name))?)
            }
            _ => Ok(()),
        }
    }

    pub(super) fn eof(&mut self, channel: ChannelId) -> Result<(), Broken> {
        match self.slots.get(&channel) {
            Some(slot) if !slot.inlet.ended() => Ok(slot.inlet.control(FromOperator::Eof)?),
            _ => Ok(()),
        }
    }

    /// The operator closed the channel: whatever runs is told, whatever waits is forgotten.
    pub(super) fn close(&mut self, channel: ChannelId) {
        self.windows.close(channel);
        // One that runs keeps its place until the relay has left it: what it still holds counts.
        let running = self.slots.get(&channel).is_some_and(|slot| slot.waiting.is_none());
        if running && let Some(slot) = self.slots.get(&channel) {
            slot.inlet.close();
        } else {
            self.slots.remove(&channel);
        }
    }

    /// russh says nothing of channels that we closed first: those are forgotten when the next one comes.
    fn forget_left(&mut self) {
        let left: Vec<ChannelId> =
            self.slots.iter().filter(|(_, slot)| slot.inlet.left()).map(|(id, _)| *id).collect();
        for id in left {
            self.windows.close(id);
            self.slots.remove(&id);
        }
    }

    fn waiting(&mut self, channel: ChannelId) -> Option<&mut Waiting> {
        self.slots.get_mut(&channel)?.waiting.as_mut()
    }
}

/// Variables that cannot change what a program runs or loads.
fn allowed(name: &str) -> bool {
    matches!(name, "LANG" | "TERM" | "COLORTERM" | "GIT_PROTOCOL")
        || name.strip_prefix("LC_").is_some_and(|rest| {
            (1..=32).contains(&rest.len())
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_variables_that_cannot_change_what_runs_are_passed_on() {
        for good in ["LANG", "LC_ALL", "LC_TIME", "TERM", "COLORTERM", "GIT_PROTOCOL"] {
            assert!(allowed(good), "{good}");
        }
        for bad in ["PATH", "LD_PRELOAD", "BASH_ENV", "LC_", "LC_A=B", "LC_A\nB", "lang", ""] {
            assert!(!allowed(bad), "{bad}");
        }
    }
}
