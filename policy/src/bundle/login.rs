//! `[login]`: what every connection needs before any target is known.
//! Never less than two independent kinds of proof.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::bundle::error::{BundleError, Place};
use crate::bundle::require::posture;
use crate::bundle::written::WrittenLogin;
use crate::factor::Factor;
use crate::names::Level;
use crate::span;

/// What every connection needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    factors: BTreeSet<Factor>,
    fresh: Duration,
    posture: Option<Level>,
}

impl Default for Login {
    /// A key and a code, and a code counts for eight hours.
    fn default() -> Self {
        let factors = BTreeSet::from([Factor::Key, Factor::Code]);
        Self { factors, fresh: Duration::from_secs(8 * 3_600), posture: None }
    }
}

impl Login {
    /// The kinds of proof that every login must give, at least two.
    #[must_use]
    pub fn factors(&self) -> &BTreeSet<Factor> {
        &self.factors
    }

    /// How long a code given on a device counts for further connections; zero asks at every connection.
    #[must_use]
    pub fn fresh(&self) -> Duration {
        self.fresh
    }

    /// The level that a device must be at, at login and for every channel.
    #[must_use]
    pub fn posture(&self) -> Option<&Level> {
        self.posture.as_ref()
    }

    pub(super) fn check(written: &WrittenLogin, place: Place<'_>) -> Result<Self, BundleError> {
        let mut login = Self::default();
        let require = written.require.as_ref().map(toml::Spanned::get_ref);
        login.posture = posture(require.and_then(|require| require.posture.as_ref()), place)?;
        if let Some(list) = require.and_then(|require| require.factors.as_ref()) {
            login.factors = BTreeSet::new();
            for word in list.get_ref() {
                login
                    .factors
                    .insert(demanded(word.get_ref()).map_err(|e| place.told(word.span(), "factor", &e))?);
            }
            if login.factors.len() < 2 {
                let remedy = "name two, such as [\"key\", \"code\"]";
                return Err(place.wrong(
                    Some(list.span()),
                    "asks for fewer than two kinds of factor",
                    remedy,
                ));
            }
        }
        if let Some(fresh) = &written.fresh {
            login.fresh =
                span::duration(fresh.get_ref()).map_err(|e| place.told(fresh.span(), "fresh", &e))?;
        }
        Ok(login)
    }
}

/// Reads a factor that may be demanded. A recovery code may not: it stands in for a one-time code when that is lost.
pub(super) fn demanded(word: &str) -> Result<Factor, String> {
    match Factor::parse(word) {
        Ok(Factor::Recovery) => {
            Err("\"recovery\" cannot be demanded; write \"code\", which a recovery code stands in for"
                .to_owned())
        }
        Ok(factor) => Ok(factor),
        Err(unknown) => Err(unknown.to_string()),
    }
}
