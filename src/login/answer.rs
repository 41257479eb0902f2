//! What the login answers to each message of the client, in words that any transport can carry out.
//! It never holds a phase that is not finished.

use super::authenticated::Authenticated;
use super::invitation::Invited;
use crate::device::{Enrolment, Proven, Remediation};
use crate::refusal::Refusal;

/// The ways that the client may go on, RFC 4252 section 5.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods {
    /// RFC 4252 section 7.
    pub publickey: bool,
    /// RFC 4256.
    pub keyboard_interactive: bool,
}

impl Methods {
    pub(super) const KEY: Self = Self { publickey: true, keyboard_interactive: false };
    pub(super) const PROMPT: Self = Self { publickey: false, keyboard_interactive: true };
    pub(super) const BOTH: Self = Self { publickey: true, keyboard_interactive: true };
    pub(super) const NONE: Self = Self { publickey: false, keyboard_interactive: false };
}

/// The answer to an offered key: a question, so nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It may sign.
    Sign,
    /// It need not. Not logged one by one: see [`super::Attempt::unfinished`].
    Refuse {
        /// What may be tried instead.
        methods: Methods,
    },
}

/// The answer to a proof, a prompt's start or a prompt's answers.
#[derive(Debug)]
pub enum Answer {
    /// Failure without partial success. To be logged.
    Refuse {
        /// What may be tried instead.
        methods: Methods,
        /// For the log; the wire says nothing of it.
        why: Refusal,
    },
    /// The same, not to be logged by itself: see [`super::Attempt::unfinished`].
    Pass {
        /// What may be tried instead.
        methods: Methods,
        /// For the log, should nothing come of this login.
        why: Refusal,
    },
    /// Failure with partial success: this proof counts, another is needed.
    Partial {
        /// What may follow.
        methods: Methods,
    },
    /// One prompt with one answer, echo off.
    Ask {
        /// Shown above the prompt; may be empty.
        instructions: &'static str,
        /// The prompt itself.
        prompt: &'static str,
    },
    /// Success.
    Done(Box<Authenticated>),
    /// Success on the wire, into a connection in which nothing but an authenticator can be enrolled.
    Enrol(Box<Invited>),
    /// Success on the wire, into a dead end where the device's owner is told what to do. To be logged.
    Remediate(Box<Remediation>),
    /// Success on the wire, for a machine that is to be enrolled and for nothing else.
    EnrolDevice(Box<Enrolment>),
    /// Success on the wire, for a device that is told which facts it is asked for and nothing else.
    TellFacts(Box<Proven>),
    /// The connection ends with this text. To be logged.
    Disconnect {
        /// The line that is told.
        text: String,
        /// For the log.
        why: Refusal,
    },
}
