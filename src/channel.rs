//! What may be asked of a channel and what may travel on it: the nouns and the two small traits that all rooms share.
//! Never knows SSH, sockets, policy or storage; what is not an arm of these enums cannot pass through Bartizan.

use std::future::Future;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

/// A terminal's size: columns and rows in characters, then both in pixels (RFC 4254 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Columns in characters.
    pub columns: u32,
    /// Rows in characters.
    pub rows: u32,
    /// Width in pixels, 0 when unknown.
    pub width: u32,
    /// Height in pixels, 0 when unknown.
    pub height: u32,
}

/// Everything that may travel from the operator to the target in a running channel. What is not here cannot pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromOperator {
    /// Bytes for the program's standard input.
    Data(Bytes),
    /// The operator's window changed its size.
    Resize(Size),
    /// A signal by its name without `SIG` (RFC 4254 section 6.9).
    Signal(String),
    /// No more input will come.
    Eof,
    /// The operator closed the channel.
    Close,
}

/// Everything that may travel from the target to the operator in a running channel. What is not here cannot pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromTarget {
    /// Standard output.
    Data(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// No more output will come.
    Eof,
    /// The program ended with this status.
    ExitStatus(u32),
    /// The program was ended by a signal.
    ExitSignal {
        /// Name without `SIG`.
        signal: String,
        /// Whether it dumped core.
        core_dumped: bool,
        /// The target's words about it, already bounded.
        message: String,
    },
    /// The target closed the channel.
    Close,
}

/// The leg is gone: its connection ended or was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection ended")]
pub struct Gone;

/// Where messages of one direction come from.
pub trait Source: Send {
    /// What comes.
    type Item: Send;

    /// The next message; `None` when the leg is gone. Cancel-safe: a message is returned or stays.
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;

    /// Cancelled once the peer has closed the channel, whatever still waits to be carried; never, where that is an item.
    fn over(&self) -> CancellationToken {
        CancellationToken::new()
    }

    /// Says that a message has been carried to its end, so that its room may be used again.
    fn settle(&self, size: usize);
}

/// Where messages of one direction go.
pub trait Sink: Send {
    /// What goes.
    type Item: Send;

    /// Carries one message; waits while the peer has no room.
    fn put(&mut self, item: Self::Item) -> impl Future<Output = Result<(), Gone>> + Send;
}

/// The operator's side of a channel.
pub trait Ingress: Send {
    /// What the operator says.
    type From: Source<Item = FromOperator>;
    /// What the operator is shown.
    type To: Sink<Item = FromTarget>;

    /// The two directions, to be used at the same time.
    fn split(&mut self) -> (&mut Self::From, &mut Self::To);

    /// Answers the request that began the channel with success.
    fn accept(&mut self) -> impl Future<Output = ()> + Send;

    /// Puts lines on stderr before anything else is shown, within a bounded time.
    fn notice(&mut self, lines: &[String]) -> impl Future<Output = ()> + Send;

    /// Ends the channel with words on stderr and exit status 254, within a bounded time.
    fn dismiss(&mut self, words: &str) -> impl Future<Output = ()> + Send;

    /// Closes the channel, within a bounded time.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// The target's side of a channel.
pub trait Egress: Send {
    /// What the target says.
    type From: Source<Item = FromTarget>;
    /// What the target is told.
    type To: Sink<Item = FromOperator>;

    /// The two directions, to be used at the same time.
    fn split(&mut self) -> (&mut Self::From, &mut Self::To);
}

/// Room that a message without content is counted as, in bytes.
pub const SMALL: usize = 64;

impl FromOperator {
    /// Room this message takes in a queue, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Data(bytes) => bytes.len(),
            _ => SMALL,
        }
    }
}

impl FromTarget {
    /// Room this message takes in a queue, in bytes.
    pub fn size(&self) -> usize {
        match self {
            Self::Data(bytes) | Self::Stderr(bytes) => bytes.len(),
            _ => SMALL,
        }
    }
}

/// What the operator asks a session channel to run (RFC 4254 section 6.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The account's login shell.
    Shell,
    /// A command, byte for byte as it came.
    Exec(Bytes),
    /// A subsystem by name.
    Subsystem(String),
}

/// A terminal that the operator asked for (RFC 4254 section 6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// The value of `TERM`.
    pub term: String,
    /// Its size at the start.
    pub size: Size,
    /// Encoded terminal modes: opcode and value (RFC 4254 section 8).
    pub modes: Vec<(u8, u32)>,
}

/// All that was asked of a session channel before it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What to run.
    pub start: Start,
    /// The terminal, when one was asked for.
    pub terminal: Option<Terminal>,
    /// Variables from the allow-list, in the order they came.
    pub environment: Vec<(String, String)>,
}

impl Start {
    /// The command as text for records, with what is not UTF-8 replaced; `None` for a shell.
    pub fn command(&self) -> Option<String> {
        match self {
            Self::Shell => None,
            Self::Exec(command) => Some(String::from_utf8_lossy(command).into_owned()),
            Self::Subsystem(name) => Some(name.clone()),
        }
    }
}
