//! A file that is open over sftp, and what is told of it once it is closed.
//! It never calls a file complete that was not: from its beginning, to its known end, every piece confirmed.

use serde_json::Value;

use super::super::packet::Attributes;
use super::super::sum::Sum;
use super::super::{Direction, octal};
use super::fact;
use super::request::Access;

/// An open file.
pub(super) struct Open {
    pub(super) number: u64,
    pub(super) path: Vec<u8>,
    access: Access,
    pub(super) up: Sum,
    pub(super) down: Sum,
    /// Permissions, as they were asked for.
    pub(super) mode: Option<u32>,
    /// What the target said of it.
    pub(super) known: Option<Attributes>,
    /// Writes without an answer.
    pub(super) writes_open: u64,
    /// The first offset at which there was nothing more to read.
    end: Option<u64>,
    pub(super) failed: bool,
    /// Something about its pieces did not fit together.
    pub(super) odd: bool,
    pub(super) cut: bool,
    /// The room it was given.
    pub(super) taken: usize,
}

impl Open {
    pub(super) fn new(path: Vec<u8>, access: Access, mode: Option<u32>) -> Self {
        Self {
            number: 0,
            path,
            access,
            up: Sum::default(),
            down: Sum::default(),
            mode,
            known: None,
            writes_open: 0,
            end: None,
            failed: false,
            odd: false,
            cut: false,
            taken: 0,
        }
    }

    pub(super) fn read_ended(&mut self, offset: u64, end: bool) {
        if end {
            self.end = Some(self.end.map_or(offset, |known| known.min(offset)));
        } else {
            self.failed = true;
        }
    }

    /// That it is open: known even if nothing else ever is.
    pub(super) fn opened(&self) -> Value {
        let mut fact = fact("opened", &self.path);
        fact.insert("file".into(), self.number.into());
        fact.insert("for".into(), self.access.words());
        fact.into()
    }

    /// What moved, by direction.
    pub(super) fn moved(&self, why: Option<&'static str>) -> Vec<Value> {
        let (wrote, read) = (self.up.bytes() > 0, self.down.bytes() > 0);
        let mut facts = Vec::new();
        if wrote || (self.access.write && !read) {
            facts.push(self.one(Direction::Upload, &self.up, why));
        }
        if read || (!self.access.write && !wrote) {
            facts.push(self.one(Direction::Download, &self.down, why));
        }
        facts
    }

    fn one(&self, direction: Direction, sum: &Sum, why: Option<&'static str>) -> Value {
        let (from, next) = sum.stretch();
        let digest = sum.sha256().filter(|_| !self.odd);
        let (outcome, why) = self.outcome(direction, sum, digest.is_some(), why);
        let known = self.known.unwrap_or_default();
        let mut fact = fact("moved", &self.path);
        fact.insert("file".into(), self.number.into());
        fact.insert("direction".into(), direction.word().into());
        fact.insert("from".into(), from.into());
        fact.insert("bytes".into(), sum.bytes().into());
        fact.insert("sha256".into(), digest.into());
        fact.insert("mode".into(), self.mode.or(known.mode).map(octal).into());
        if direction == Direction::Download && next != known.size.unwrap_or(next) {
            fact.insert("size".into(), known.size.into());
        }
        fact.insert("outcome".into(), outcome.into());
        if let Some(why) = why {
            fact.insert("why".into(), why.into());
        }
        fact.into()
    }

    fn outcome(
        &self,
        direction: Direction,
        sum: &Sum,
        whole: bool,
        why: Option<&'static str>,
    ) -> (&'static str, Option<&'static str>) {
        let (from, next) = sum.stretch();
        let unanswered = match direction {
            Direction::Upload => self.writes_open,
            // Whoever reads ahead past the end is not waited for.
            Direction::Download => 0,
        };
        if self.cut {
            return ("cut", why);
        }
        if self.failed || why.is_some() || unanswered > 0 {
            return ("failed", why.or(Some("not every piece was confirmed")));
        }
        if !whole {
            return ("partial", Some("its pieces did not make one stretch, moved once"));
        }
        let ends = match direction {
            Direction::Upload => true,
            Direction::Download => {
                self.end.is_some_and(|end| end <= next)
                    || self.known.is_some_and(|known| known.size == Some(next))
            }
        };
        match (from, ends) {
            (0, true) => ("complete", None),
            (0, false) => ("partial", Some("its end was not read")),
            _ => ("partial", Some("it did not begin at its beginning")),
        }
    }
}
