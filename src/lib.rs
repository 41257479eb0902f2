//! The bastion: doors, the path of a session, and what lasts, in the order of the path.
//! It never holds a secret's bytes itself; those stay in the `keys` crate.

pub mod clock;
pub mod config;
pub mod store;
