//! What may be asked of a channel and what may travel on it: the nouns and the two small traits that all rooms share.
//! Never knows SSH, sockets, policy or storage; what is not an arm of these enums cannot pass through Bartizan.

use std::future::Future;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::refusal::Refusal;

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

    /// Ends the channel, whether it was accepted or not, with the words of a refusal, within a bounded time.
    fn refuse(&mut self, refusal: &Refusal) -> impl Future<Output = ()> + Send;

    /// Closes the channel, within a bounded time.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}

/// The operator's client, as it is asked to take a stream that begins on the target.
pub trait Caller: Clone + Send + Sync + 'static {
    /// The operator's side of such a stream.
    type Back: Ingress + 'static;

    /// Opens it there; the answer when the client has accepted it, and an error when it refuses or has gone.
    fn call(&self, start: &Start) -> impl Future<Output = Result<Self::Back, Gone>> + Send;
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

/// Longest text of an end in records, in characters.
const END: usize = 256;

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

/// What a channel is for: what a session channel is to run (RFC 4254 section 6.5), or where a stream comes from and goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The account's login shell.
    Shell,
    /// A command, byte for byte as it came.
    Exec(Bytes),
    /// A subsystem by name.
    Subsystem(String),
    /// A stream from the operator's side to a place seen from the target (RFC 4254 section 7.2).
    Forward(Stream),
    /// The target is to listen there (RFC 4254 section 7.1).
    Listen(End),
    /// A stream that came where the target listens; it leads to the operator's side.
    Return(Stream),
    /// A program on the target uses the operator's agent.
    Agent,
    /// A program on the target opens a window on the operator's screen; from where, as the target tells it.
    X11(End),
}

/// A stream through the target. Both ends are told by a peer, and nothing is believed of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Where it leads.
    pub to: End,
    /// Where it comes from, as the peer tells it; nothing where it does not tell.
    pub from: Option<End>,
}

/// One end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// A host, by name or address, and a port.
    Tcp {
        /// As the peer wrote it.
        host: String,
        /// As the peer wrote it: not every number is a port.
        port: u32,
    },
    /// The path of a socket.
    Unix(String),
}

impl std::fmt::Display for End {
    /// For records: what could act on whoever reads it is left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(END).collect::<String>();
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{}]:{port}", clean(host)),
            Self::Tcp { host, port } => write!(f, "{}:{port}", clean(host)),
            Self::Unix(path) => write!(f, "unix:{}", clean(path)),
        }
    }
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
    /// Whether the operator's agent is to be reached from the target; permitted before this is true.
    pub agent: bool,
    /// How the operator's screen is reached from the target, when it is to be; permitted before this is set.
    pub screen: Option<Screen>,
}

impl From<Start> for Asked {
    /// Nothing else was asked for.
    fn from(start: Start) -> Self {
        Self { start, terminal: None, environment: Vec::new(), agent: false, screen: None }
    }
}

/// What an X11 client must say to be let in, as the operator's own client made it up (RFC 4254 section 6.3.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Screen {
    /// One window only.
    pub single: bool,
    /// The protocol of the cookie.
    pub protocol: String,
    /// The cookie in hex. It opens the operator's screen through this connection.
    pub cookie: String,
    /// The number of the screen.
    pub number: u32,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen")
            .field("single", &self.single)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Start {
    /// The command, or where a stream leads, as text for records, with what is not UTF-8 replaced; `None` for a shell.
    pub fn command(&self) -> Option<String> {
        match self {
            Self::Shell => None,
            Self::Exec(command) => Some(String::from_utf8_lossy(command).into_owned()),
            Self::Subsystem(name) => Some(name.clone()),
            Self::Forward(stream) | Self::Return(stream) => Some(stream.to.to_string()),
            Self::Listen(end) => Some(end.to_string()),
            Self::Agent | Self::X11(_) => None,
        }
    }

    /// What it is called in records, whether it is well-formed or not.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::Exec(_) => "exec",
            Self::Subsystem(_) => "subsystem",
            Self::Forward(_) => "forward",
            Self::Listen(_) | Self::Return(_) => "reverse-forward",
            Self::Agent => "agent",
            Self::X11(_) => "x11",
        }
    }

    /// Where a stream comes from, as a peer tells it.
    pub fn origin(&self) -> Option<&End> {
        match self {
            Self::Forward(stream) | Self::Return(stream) => stream.from.as_ref(),
            Self::X11(end) => Some(end),
            _ => None,
        }
    }

    /// Whether it is a session channel, which has a program with a status, and not a bare stream.
    pub fn is_session(&self) -> bool {
        matches!(self, Self::Shell | Self::Exec(_) | Self::Subsystem(_))
    }
}
