//! The operators' door: accepts connections and turns what russh calls back into the phases of a connection.
//! Never decides anything by itself and never knows the web.

mod admission;
mod algorithms;
mod answering;
mod asking;
mod brief;
mod calling;
mod carriers;
mod channels;
pub mod clear;
mod conduct;
mod counts;
mod descriptors;
mod device_errand;
mod door;
mod ending;
mod flow;
mod forwards;
mod handler;
mod inlet;
mod inner;
mod listener;
mod opening;
mod outlet;
mod overheard;
mod picker;
mod picking;
mod places;
pub mod proxy;
mod remediation;
mod sockets;
mod stalled;
mod stepping;
mod stream;
pub mod tap;
mod tunnel;
mod visit;
mod words;

pub use carriers::Carriers;
pub use descriptors::raise_limit;
pub use listener::{ServeError, Stop, serve};
pub use overheard::Overhearing;
pub use sockets::{bound, inherited};
