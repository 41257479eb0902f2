//! The operators' door: accepts connections and turns what russh calls back into the phases of a connection.
//! Never decides anything by itself and never knows the web.

mod algorithms;
mod answering;
mod asking;
mod calling;
mod channels;
mod device_enrolment;
mod door;
mod flow;
mod forwards;
mod handler;
mod inlet;
mod inner;
mod listener;
mod opening;
mod outlet;
mod overheard;
mod remediation;
mod stream;
mod tap;
mod tunnel;
mod words;

pub use listener::{ServeError, Stop, serve};
pub use overheard::Overhearing;
