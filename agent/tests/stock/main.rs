//! The agent under stock programs: `ssh`, `ssh-add`, `ssh-agent`, `ssh-keygen` and a real sshd.
//! It never uses a client of our own where a stock one does.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod commands;
mod logins;
mod scene;
