//! The operators' door: accepts connections and turns what russh calls back into the phases of a connection.
//! Never decides anything by itself and never knows the web.

mod algorithms;
mod answering;
mod asking;
mod brief;
mod channels;
mod device_errand;
mod door;
mod flow;
mod handler;
mod inlet;
mod inner;
mod listener;
mod outlet;
mod overheard;
mod remediation;
mod stepping;
mod stream;
mod tap;
mod words;

pub use listener::{ServeError, Stop, serve};
pub use overheard::Overhearing;
