//! Words that a quickstart says to the bastion it holds, by the dispatcher that everybody's words go through.
//! It never says one that a person could not say on this machine.

use std::sync::Arc;

use super::super::terminal;
use super::QuickstartError;
use crate::bastion::Bastion;
use crate::control::reply::{Heard, Reply, Trouble};
use crate::control::wire::Shape;
use crate::control::{self, Caller};

/// Who says them, and to whom.
#[derive(Clone)]
pub(super) struct Voice {
    pub(super) bastion: Arc<Bastion>,
    pub(super) caller: Caller,
}

impl Voice {
    /// Has a word carried out; gives what it says.
    pub(super) async fn say(&self, line: &[&str], input: &str) -> Result<String, QuickstartError> {
        self.carry_out(line, input, Said::default()).await
    }

    /// The same, and what it says is shown to the person at once.
    pub(super) async fn show(&self, line: &[&str]) -> Result<(), QuickstartError> {
        self.carry_out(line, "", Said { shown: true, ..Said::default() }).await.map(drop)
    }

    async fn carry_out(&self, line: &[&str], input: &str, mut said: Said) -> Result<String, QuickstartError> {
        let mut word = control::parse(line).map_err(QuickstartError::Word)?;
        word.attach(&mut input.as_bytes()).map_err(|why| QuickstartError::Word(why.to_string()))?;
        match control::dispatch(&self.bastion, &self.caller, word, &mut said).await {
            0 => Ok(said.out),
            _ => Err(QuickstartError::Word(said.errors.trim().trim_start_matches("bartizan: ").to_owned())),
        }
    }
}

/// What a word says in answer.
#[derive(Default)]
struct Said {
    shown: bool,
    out: String,
    errors: String,
}

impl Reply for Said {
    fn shape(&self) -> Shape {
        // A picture of the seed is drawn wherever it is shown.
        Shape { terminal: self.shown, ..Shape::default() }
    }

    async fn out(&mut self, text: &str) -> Result<(), Trouble> {
        if self.shown {
            return terminal::out(text).map_err(Trouble::from);
        }
        self.out.push_str(text);
        Ok(())
    }

    async fn err(&mut self, text: &str) -> Result<(), Trouble> {
        self.errors.push_str(text);
        Ok(())
    }

    async fn raw(&mut self, _: &[u8]) -> Result<(), Trouble> {
        Err(Trouble::said("only text is said here"))
    }

    async fn heard(&mut self) -> Heard {
        std::future::pending().await
    }
}
