//! The map of the bastion, in the order of the path: doors, then the phases of a connection and a channel, then what lasts.
//! It never speaks to arguments or exit codes; that is `main.rs`.

// -- ground: what every room may know --------------------------------------------------------------------------------
pub mod bastion;
pub mod channel;
pub mod clock;
pub mod config;
pub mod ids;
pub mod meters;
pub mod read_ahead;
pub mod refusal;
pub mod sandbox;

// -- doors -----------------------------------------------------------------------------------------------------------
pub mod admin;
pub mod cli;
pub mod control;
pub mod ssh;

// -- the path --------------------------------------------------------------------------------------------------------
pub mod access;
pub mod audit;
pub mod connection;
pub mod device;
pub mod login;
pub mod recording;
pub mod relay;
pub mod session;
pub mod target;

// -- what lasts ------------------------------------------------------------------------------------------------------
pub mod live;
pub mod store;
pub mod upkeep;
