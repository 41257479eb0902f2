//! The bastion: doors, the path of a session, storage; the map of its rooms.
//! It never speaks to the operating system's arguments or exit code; that is `main.rs`.

pub mod clock;
pub mod store;
