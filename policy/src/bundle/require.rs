//! A grant's `require`: conditions on top of what every login needs.
//! Never loosens `[login]`: each key can only add.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::Spanned;

use crate::bundle::error::{BundleError, Place};
use crate::bundle::grant::optional;
use crate::bundle::login::demanded;
use crate::bundle::written::{Word, WrittenRequire};
use crate::factor::Factor;
use crate::names::Level;
use crate::network::Network;
use crate::span;

/// The shortest `fresh` that a person can meet: the code is checked at login, the channel is decided after it.
const SHORTEST_FRESH: Duration = Duration::from_secs(30);
/// The most approvals that may be asked for.
const MOST_APPROVALS: u32 = 5;
/// The most networks.
const MOST_SOURCES: usize = 64;

/// The conditions of a grant.
#[derive(Debug, Clone, Default)]
pub struct Require {
    posture: Option<Level>,
    fresh: Option<Duration>,
    factors: BTreeSet<Factor>,
    assurance: u8,
    reason: bool,
    approvals: u32,
    source: Vec<Network>,
}

impl Require {
    /// The level the device must be at.
    #[must_use]
    pub fn posture(&self) -> Option<&Level> {
        self.posture.as_ref()
    }

    /// How old the one-time code may be.
    #[must_use]
    pub fn fresh(&self) -> Option<Duration> {
        self.fresh
    }

    /// Kinds of proof beyond those of `[login]`.
    #[must_use]
    pub fn factors(&self) -> &BTreeSet<Factor> {
        &self.factors
    }

    /// The assurance that must be reached; 0 asks for none.
    #[must_use]
    pub fn assurance(&self) -> u8 {
        self.assurance
    }

    /// Whether a reason must be given.
    #[must_use]
    pub fn reason(&self) -> bool {
        self.reason
    }

    /// How many other people must approve.
    #[must_use]
    pub fn approvals(&self) -> u32 {
        self.approvals
    }

    /// The networks the operator may come from; empty means any.
    #[must_use]
    pub fn source(&self) -> &[Network] {
        &self.source
    }

    pub(super) fn check(
        written: Option<&Spanned<WrittenRequire>>,
        place: Place<'_>,
    ) -> Result<Self, BundleError> {
        let Some(written) = written.map(Spanned::get_ref) else { return Ok(Self::default()) };
        Ok(Self {
            posture: posture(written.posture.as_ref(), place)?,
            fresh: fresh(written.fresh.as_ref(), place)?,
            factors: optional(
                written.factors.as_ref(),
                "require.factors",
                Factor::ALL.len(),
                place,
                demanded,
            )?,
            assurance: u8::try_from(number(written.assurance.as_ref(), "assurance", 3, place)?)
                .unwrap_or(u8::MAX),
            reason: written.reason.unwrap_or(false),
            approvals: number(written.approvals.as_ref(), "approvals", MOST_APPROVALS, place)?,
            source: optional(written.source.as_ref(), "require.source", MOST_SOURCES, place, Network::parse)?,
        })
    }
}

/// The name of a level; whether there is such a level is asked when all files are read.
pub(super) fn posture(word: Option<&Word>, place: Place<'_>) -> Result<Option<Level>, BundleError> {
    word.map(|word| Level::parse(word.get_ref()).map_err(|e| place.told(word.span(), "posture", &e)))
        .transpose()
}

fn fresh(word: Option<&Word>, place: Place<'_>) -> Result<Option<Duration>, BundleError> {
    let Some(word) = word else { return Ok(None) };
    let length = span::duration(word.get_ref()).map_err(|e| place.told(word.span(), "fresh", &e))?;
    if length < SHORTEST_FRESH {
        let problem =
            "has a fresh that nobody can meet: the code is given at login, before the channel is decided";
        return Err(place.wrong(Some(word.span()), problem, "give at least \"30s\""));
    }
    Ok(Some(length))
}

/// 1 to `most`; 0 when left out.
fn number(value: Option<&Spanned<i64>>, key: &str, most: u32, place: Place<'_>) -> Result<u32, BundleError> {
    let Some(value) = value else { return Ok(0) };
    match u32::try_from(*value.get_ref()) {
        Ok(number) if (1..=most).contains(&number) => Ok(number),
        _ => {
            let problem = format_args!("has {key} = {}", value.get_ref());
            Err(place.wrong(Some(value.span()), problem, format_args!("write 1 to {most} or leave it out")))
        }
    }
}
