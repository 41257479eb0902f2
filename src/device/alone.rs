//! What a device comes for alone, without a person: to be enrolled, or to hear which facts it is asked for.
//! It never leads to a person or a target.

use std::str::FromStr as _;

use policy::{Bundle, LoginName};
use posture::FactsWanted;
use posture::report::Table;

/// What the login name of a device alone says that it comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errand<'a> {
    /// `enroll+<token id>`: to be enrolled.
    Enrol(&'a str),
    /// `enroll+facts`: to hear which facts are asked for.
    Facts,
}

/// What a login is for, where a device logs in alone.
pub(crate) fn errand_of(login: &LoginName) -> Option<Errand<'_>> {
    let alone = login.operator.is_reserved() && login.account.is_none();
    match login.target.as_ref().filter(|_| alone)?.as_str() {
        posture::FACTS_LOGIN => Some(Errand::Facts),
        token => Some(Errand::Enrol(token)),
    }
}

/// What the levels of a bundle ask of every device. A table that no agent collects is not among it.
pub(crate) fn facts_wanted(bundle: &Bundle) -> FactsWanted {
    let needed = bundle.facts_needed();
    FactsWanted {
        facts: needed.tables().keys().filter_map(|name| Table::from_str(name).ok()).collect(),
        processes: needed.programs().iter().cloned().collect(),
        unknown: Vec::new(),
    }
}
