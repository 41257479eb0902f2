//! `bartizan check`: asks the running server, or looks for itself when none runs.
//! It never starts anything and never mends what it finds.

use std::path::Path;

use super::say::{Reached, SayError, reach, talk};
use super::sink::Sink;
use super::terminal;
use crate::clock;
use crate::config::Config;
use crate::control::reply::{Heard, Reply, Trouble};
use crate::control::wire::{self, Request, Shape};
use crate::control::{Done, Word, offline, say_checks};

/// Looks, says, and gives the exit code.
pub(super) async fn check(dir: &Path, json: bool) -> Result<u8, SayError> {
    match reach(dir, false).await? {
        Reached::Server(stream) => {
            let request =
                Request { v: wire::VERSION, shape: terminal::shape(false), word: Word::Check { json } };
            talk(stream, &request, Sink::open(None, false)?).await
        }
        Reached::Nobody(lock) => {
            let lines = offline(Config::load(dir), &clock::System::start()).await;
            drop(lock);
            match say_checks(&lines, json, &mut Here).await {
                Ok(Done::Well) => Ok(0),
                _ => Ok(1),
            }
        }
    }
}

/// This process's own outputs.
struct Here;

impl Reply for Here {
    fn shape(&self) -> Shape {
        terminal::shape(false)
    }

    async fn out(&mut self, text: &str) -> Result<(), Trouble> {
        terminal::out(text).map_err(Trouble::from)
    }

    async fn err(&mut self, text: &str) -> Result<(), Trouble> {
        terminal::err(text);
        Ok(())
    }

    async fn raw(&mut self, _: &[u8]) -> Result<(), Trouble> {
        Err(Trouble::said("only text is said here"))
    }

    async fn heard(&mut self) -> Heard {
        std::future::pending().await
    }
}
