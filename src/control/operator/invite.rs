//! `operator invite`: a token that lets a person without an authenticator in, once, to enrol one.
//! It never keeps the token and never shows it twice.

use std::time::Duration;

use keys::written::{Kind, Written};
use policy::OperatorName;
use zeroize::Zeroizing;

use super::with_row;
use crate::bastion::Bastion;
use crate::control::at;
use crate::control::caller::Caller;
use crate::control::reply::{Reply, Trouble};
use crate::store::{NewInvitation, OperatorState};

/// How long one may be good.
const LONGEST: Duration = Duration::from_secs(7 * 86_400);
const SHORTEST: Duration = Duration::from_secs(60);

/// Reads `--valid`.
pub(super) fn valid(text: &str) -> Result<Duration, String> {
    crate::config::duration(text)
        .filter(|span| (SHORTEST..=LONGEST).contains(span))
        .ok_or_else(|| "write a whole number and m or h, 1m to 168h, such as 15m".to_owned())
}

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    name: &OperatorName,
    valid: Duration,
    out: &mut R,
) -> Result<(), Trouble> {
    let standing = with_row(bastion, name).await?;
    if standing.state != OperatorState::Active {
        let state = standing.state.as_str();
        return Err(Trouble::said(format!(
            "operator {name} is {state}; see `bartizan operator show {name}`"
        )));
    }
    let token = Written::generate(Kind::Invitation)?;
    let digest = bastion.keys.digest(name.as_str(), &token)?;
    let now = bastion.clock.unix_ms();
    let expires = now.saturating_add(i64::try_from(valid.as_millis()).unwrap_or(0));
    let new = NewInvitation { operator: name.as_str(), digest: &digest, expires, by: caller.name() };
    bastion.store.invite(&new, now).await?;
    // The token alone on standard output, for scripts; what to do with it beside it.
    let line = Zeroizing::new(format!("{}\n", token.shown().as_str()));
    out.out(&line).await?;
    let host = bastion.config.ssh.names.first().map_or("BASTION", String::as_str);
    out.err(&format!(
        "bartizan: good once, until {}; {name} runs `ssh -t {name}@{host} mfa enroll totp` and gives it as the invitation\n",
        at(expires)
    ))
    .await?;
    if bastion.store.operator_keys(name.as_str()).await?.is_empty() {
        out.err(&format!("bartizan: {name} has no key yet; `bartizan operator key add {name} FILE`\n"))
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validity_is_minutes_to_a_week() {
        assert_eq!(valid("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(valid("168h"), Ok(LONGEST));
        for bad in ["0s", "59s", "169h", "-1m", "", "15", "x"] {
            assert!(valid(bad).is_err(), "{bad}");
        }
    }
}
