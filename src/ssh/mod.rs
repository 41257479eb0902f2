//! The operators' door: accepts connections and turns what russh calls back into the phases of a connection.
//! Never decides anything by itself and never knows the web.

mod algorithms;
mod answering;
mod asking;
mod channels;
mod device_enrolment;
mod door;
mod flow;
mod handler;
mod inlet;
mod inner;
mod listener;
mod outlet;
mod overheard;
mod remediation;
mod sockets;
mod stream;
mod tap;
mod words;

pub use listener::{ServeError, Stop, serve};
pub use overheard::Overhearing;
pub use sockets::{bound, inherited};
