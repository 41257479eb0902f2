//! A target whose root is an enemy: it opens channels by itself, never finishes, lies, floods, and paints on screens.
//! What it does to its own session is its affair; nothing of it reaches another one, the bastion's memory or its log.

mod lies;
mod login;
mod opens;
mod scene;
mod stalls;
mod words;
