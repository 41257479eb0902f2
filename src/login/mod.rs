//! Accepted -> Assessed -> Identified -> Authenticated: the story of a connection's login, whatever carries it.
//! It never speaks SSH, never logs, and never changes a thing because a key was merely offered.
//!
//! ```text
//!              certificate, or key      person's key           code, or memory
//!   Accepted ---------------> Assessed -------------> Identified -----------> Authenticated
//!      |  \__________________________________________^    ^ |  \
//!      |     person's key, where no device is required    | |   \ invitation, where there is no authenticator
//!      v                                           prompt | |    v
//!   Remediation                                            \v   Invited
//!   (a proven device that may not connect)              Challenge
//! ```
//!
//! [`Attempt`] holds whichever phase a connection is in. Another operator's name ends all of it. [`StepUp`] is asked of who is
//! `Authenticated`, where a target needs more, and makes a new one.

mod again;
mod answer;
mod assurance;
mod attempt;
mod authenticated;
mod certified;
mod code;
mod ground;
mod identified;
mod invitation;
mod key;
mod memory;
mod person;
mod prompt;
mod reason;
mod recovery;
mod step_up;
mod steps;
#[cfg(test)]
mod tests;
mod tries;

pub use again::{Again, Unjudged, again};
pub use answer::{Answer, Methods, Offer};
pub use attempt::Attempt;
pub use authenticated::Authenticated;
pub use ground::Ground;
pub use invitation::Invited;
pub use person::{Person, person};
pub use reason::Reason;
pub use step_up::{Lacking, NotTaken, Question, Round, StepUp, Stepped, recalled};

use crate::store::StoreError;

/// What is told of a key that is not taken, whatever the reason.
const WHAT_KEY: &str = "this key does not log this operator in";
/// What is told of a code that is not taken, whatever the reason.
const WHAT_CODE: &str = "the code was not accepted; wait for the next one and try again";

/// A no of one step, before it is tied to the connection's reference.
#[derive(Debug, PartialEq, Eq)]
struct No {
    code: &'static str,
    told: &'static str,
    cause: String,
}

/// The login cannot be judged: that is a no for everybody.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the seed of an operator's codes cannot be opened: {0}")]
    Seed(#[from] keys::SealError),
    #[error(transparent)]
    Digest(#[from] keys::written::DigestError),
}
