//! The proof of a device held against clients that cheat, by the whole way from their socket to the audit log.

mod agent;
mod codes;
mod forge;
mod life;
mod protocol;
mod refused;
mod speed;
mod spoiled;
