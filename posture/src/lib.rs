//! What a device says about itself and how it is proven: states, acceptable keys, the check in its order, and what to do about a
//! failure.
//! It never touches the network, a database or the clock: who calls hands in what is on record.
//!
//! A proof travels one way: the transport verifies that a key signed, the inventory says whose key it is, [`check_key`] judges a
//! plain key and [`certificate::check`] one that is bound to the connection, and a [`Posture`] comes out or a [`Finding`]. There
//! is no other way to make a `Posture`.

pub mod certificate;
mod check;
mod code;
mod device;
mod key;
mod remediation;
pub mod report;
mod state;
pub mod token;
mod wanted;

pub use check::{Claim, Demand, Evidence, Finding, MANAGED, Posture, check_key};
pub use code::Code;
pub use device::{Device, Kind, KindError};
pub use key::{KeyRefused, acceptable};
pub use remediation::{Failing, NO_PROOF, Remediation};
pub use state::{State, StateError};
pub use wanted::{FACTS_LOGIN, FactsWanted, FactsWantedError};
