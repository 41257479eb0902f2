//! A bare SSH peer, client or server: exchanges keys as it should, and from then on says exactly what it is told to say.
//! It never answers by itself, keeps no state of channels, and takes whatever the other side is.

mod client;
mod exchange;
mod message;
mod server;
mod wire;

pub use client::{BareClient, PROBED};
pub use message::{Fields, Message};
pub use server::{BareGuest, BareServer};
pub use wire::Wire;
