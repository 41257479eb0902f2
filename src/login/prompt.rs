//! The prompt: one question, one answer, echo off; which question it is stands with it.
//! It never asks before the operator's key is proven, and an answer never outlives its prompt.

use super::identified::Identified;

/// What a prompt asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    /// A one-time code.
    Code,
    /// A recovery code: asked only of who typed `?` where a code was asked for.
    Recovery,
    /// An invitation: asked only of who has one and no authenticator yet.
    Invitation,
}

impl Asks {
    /// The prompt, as scripts expect it.
    pub(super) fn prompt(self) -> &'static str {
        match self {
            Self::Code => "One-time code: ",
            Self::Recovery => "Recovery code: ",
            Self::Invitation => "Invitation: ",
        }
    }

    /// Shown above it after an answer was not taken.
    pub(super) fn again(self) -> &'static str {
        match self {
            Self::Code => "The code was not accepted. Wait for the next one.",
            Self::Recovery => "The code was not accepted.",
            Self::Invitation => "The invitation was not accepted.",
        }
    }
}

/// The prompt was sent; it waits for exactly one answer.
#[derive(Debug)]
pub(super) struct Challenge {
    identified: Identified,
    asks: Asks,
}

impl Challenge {
    /// Asks whoever has proven their key.
    pub(super) fn new(identified: Identified, asks: Asks) -> Self {
        Self { identified, asks }
    }

    pub(super) fn identified(&self) -> &Identified {
        &self.identified
    }

    /// What was asked.
    pub(super) fn asks(&self) -> Asks {
        self.asks
    }

    /// The prompt is over, answered or abandoned: each answer needs a prompt of its own.
    pub(super) fn into_identified(self) -> Identified {
        self.identified
    }
}

/// Whether the one answer to a prompt for a code asks for the other prompt.
pub(super) fn wants_recovery(given: &[&[u8]]) -> bool {
    matches!(given, [answer] if answer.trim_ascii() == b"?")
}
