//! Asks a target for what the operator asked for: terminal, variables, then shell, command or subsystem.
//! Never sends a request before the one before it is answered.

use std::collections::VecDeque;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Pty};
use tokio::time::timeout;

use super::ConnectError;
use super::gate::{Gate, Meter};
use super::leg;
use crate::channel::{Asked, FromTarget, Screen, Start, Terminal};

/// The longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages a target may send before it has answered.
const EARLY: usize = 64;

/// A channel to a target on which nothing runs yet.
pub(super) struct Asking<'a> {
    pub(super) read: &'a mut ChannelReadHalf,
    pub(super) write: &'a ChannelWriteHalf<Msg>,
    pub(super) gate: &'a Gate,
    pub(super) meter: &'a Meter,
}

impl Asking<'_> {
    /// Asks for everything in order; answers with what the target said in between.
    pub(super) async fn ask(&mut self, asked: &Asked) -> Result<VecDeque<FromTarget>, ConnectError> {
        let mut early = VecDeque::new();
        if let Some(terminal) = &asked.terminal {
            self.terminal(terminal).await?;
            self.answered("a terminal", &mut early).await?;
        }
        if asked.agent {
            self.write.agent_forward(true).await.map_err(ConnectError::protocol)?;
            self.refusable(&mut early).await?;
        }
        if let Some(Screen { single, protocol: name, cookie, number }) = &asked.screen {
            let asking = self.write.request_x11(true, *single, name.as_str(), cookie.as_str(), *number);
            asking.await.map_err(ConnectError::protocol)?;
            self.refusable(&mut early).await?;
        }
        for (name, value) in &asked.environment {
            // Without a reply: a target's AcceptEnv is its own affair.
            self.write.set_env(false, name.as_str(), value.as_str()).await.map_err(ConnectError::protocol)?;
        }
        match &asked.start {
            Start::Shell => self.write.request_shell(true).await,
            Start::Exec(command) => self.write.exec(true, command.as_ref()).await,
            Start::Subsystem(name) => self.write.request_subsystem(true, name.as_str()).await,
            // Streams are opened, not asked for.
            Start::Forward(_) | Start::Listen(_) | Start::Return(_) | Start::Agent | Start::X11(_) => {
                return Ok(early);
            }
        }
        .map_err(ConnectError::protocol)?;
        let what = match asked.start {
            Start::Shell => "a shell",
            Start::Exec(_) => "the command",
            _ => "the subsystem",
        };
        self.answered(what, &mut early).await?;
        Ok(early)
    }

    async fn terminal(&self, terminal: &Terminal) -> Result<(), ConnectError> {
        let modes: Vec<(Pty, u32)> = terminal
            .modes
            .iter()
            .filter_map(|&(opcode, value)| Pty::from_u8(opcode).map(|mode| (mode, value)))
            .collect();
        let size = terminal.size;
        self.write
            .request_pty(true, &terminal.term, size.columns, size.rows, size.width, size.height, &modes)
            .await
            .map_err(ConnectError::protocol)
    }

    /// Waits for an answer that may be a no: the program runs without it then.
    async fn refusable(&mut self, early: &mut VecDeque<FromTarget>) -> Result<(), ConnectError> {
        match self.answered("this", early).await {
            Err(ConnectError::Request { .. }) => Ok(()),
            other => other,
        }
    }

    async fn answered(
        &mut self,
        what: &'static str,
        early: &mut VecDeque<FromTarget>,
    ) -> Result<(), ConnectError> {
        loop {
            let message = timeout(PATIENCE, self.read.wait())
                .await
                .map_err(|_| ConnectError::Timeout { step: "asking for the program" })?;
            match message {
                Some(answer @ (ChannelMsg::Success | ChannelMsg::Failure | ChannelMsg::Close)) => {
                    self.gate.gone(self.meter, leg::length(&answer));
                    let granted = matches!(answer, ChannelMsg::Success);
                    return if granted { Ok(()) } else { Err(ConnectError::Request { what }) };
                }
                None => return Err(ConnectError::Protocol { why: "the target ended the connection".into() }),
                Some(other) => {
                    if early.len() >= EARLY {
                        return Err(ConnectError::Protocol {
                            why: "the target talks before it answers".into(),
                        });
                    }
                    early.extend(leg::read(other, self.gate, self.meter));
                }
            }
        }
    }
}
