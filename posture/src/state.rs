//! The life of a device in the inventory, and which steps it may take.
//! It never takes a step by itself, and no step leads from an unapproved or lost device to an active one but enrolment.
//!
//! ```text
//! registered -> pending -> active <-> locked      any but retired -> lost -> registered
//!       \___________________^                     any -> retired
//! ```

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Where a device is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// On record: owner and tenant are known, no key proven.
    Registered,
    /// A key was proven; a second person has not approved yet.
    Pending,
    /// May be used.
    Active,
    /// Set aside by an administrator; may become active again.
    Locked,
    /// Out of its owner's hands; must be enrolled again when found.
    Lost,
    /// Gone for good.
    Retired,
}

/// A state that does not exist, or a step that may not be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not the name of a state.
    #[error(
        "{name:?} is not a device state; it is one of registered, pending, active, locked, lost, retired"
    )]
    Unknown {
        /// The name as given.
        name: String,
    },
    /// Not a step of a device's life.
    #[error("a device that is {from} cannot become {to}; {remedy}")]
    Step {
        /// Where it is.
        from: State,
        /// Where it was to go.
        to: State,
        /// What to do instead.
        remedy: &'static str,
    },
}

impl State {
    /// All states, in the order of a device's life.
    pub const ALL: [Self; 6] =
        [Self::Registered, Self::Pending, Self::Active, Self::Locked, Self::Lost, Self::Retired];

    /// As it is stored and shown: lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Locked => "locked",
            Self::Lost => "lost",
            Self::Retired => "retired",
        }
    }

    /// The step to `to`, if a device may take it.
    ///
    /// Registered to active is for devices whose key an administrator or an import brings along. Only an active device can be
    /// locked: unlocking must never be a way around the approval.
    ///
    /// # Errors
    /// [`StateError::Step`] with what to do instead.
    pub fn step(self, to: Self) -> Result<Self, StateError> {
        let remedy = match (self, to) {
            (Self::Registered, Self::Pending | Self::Active)
            | (Self::Pending, Self::Active)
            | (Self::Active, Self::Locked)
            | (Self::Locked, Self::Active)
            | (Self::Registered | Self::Pending | Self::Active | Self::Locked, Self::Lost)
            | (Self::Lost, Self::Registered) => return Ok(to),
            (from, Self::Retired) if from != Self::Retired => return Ok(to),
            (from, to) if from == to => "it is that already",
            (Self::Retired, _) => "register it anew under another name",
            (Self::Lost, _) => "register it again, then enrol it",
            (Self::Registered | Self::Pending, Self::Locked) => "it cannot be used yet; retire it instead",
            _ => "retire it and register it anew",
        };
        Err(StateError::Step { from: self, to, remedy })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = StateError;

    fn from_str(name: &str) -> Result<Self, StateError> {
        let unknown = || StateError::Unknown { name: name.to_owned() };
        Self::ALL.into_iter().find(|state| state.as_str() == name).ok_or_else(unknown)
    }
}

impl TryFrom<String> for State {
    type Error = StateError;

    fn try_from(name: String) -> Result<Self, StateError> {
        name.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn these_are_all_the_steps_of_a_life() {
        let mut steps = Vec::new();
        for from in State::ALL {
            for to in State::ALL {
                if from.step(to).is_ok() {
                    steps.push(format!("{from}>{to}"));
                }
            }
        }
        assert_eq!(
            steps.join(" "),
            "registered>pending registered>active registered>lost registered>retired pending>active pending>lost \
             pending>retired active>locked active>lost active>retired locked>active locked>lost locked>retired \
             lost>registered lost>retired"
        );
    }

    #[test]
    fn locking_and_unlocking_is_no_way_around_the_approval() {
        for unapproved in [State::Registered, State::Pending, State::Lost] {
            assert!(unapproved.step(State::Locked).is_err(), "{unapproved}");
        }
    }

    #[test]
    fn a_refused_step_says_what_to_do() {
        let told = State::Retired.step(State::Active).unwrap_err().to_string();
        assert_eq!(
            told,
            "a device that is retired cannot become active; register it anew under another name"
        );
    }

    #[test]
    fn a_state_is_read_as_it_is_written() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert!("Active".parse::<State>().is_err() && "".parse::<State>().is_err());
    }
}
