//! The door as it faces the internet: peers that are no clients, floods, sources that misbehave, clients that ask too much.
//! It never looks inside the bastion: only at what is closed, what goes on, and how much memory that takes.

mod alike;
mod budgets;
mod flood;
mod hostile;
mod nonsense;
mod raw;
mod shortage;
mod sources;
