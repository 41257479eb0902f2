//! The factor "recovery": a code that was written down when the authenticator was enrolled, taken once.
//! It never counts as a one-time code, is never remembered, and is throttled as one.

use std::net::IpAddr;

use jiff::Timestamp;
use keys::written::{Kind, Written};

use super::ground::Ground;
use super::tries::{self, Begun};
use super::{LoginError, No, WHAT_CODE};

/// A recovery code was given just now. Only [`check`] makes one.
#[derive(Debug)]
pub(super) struct RecoveryProof {
    authenticator: i64,
    at: Timestamp,
}

impl RecoveryProof {
    /// The authenticator that it stood in for.
    pub(super) fn authenticator(&self) -> i64 {
        self.authenticator
    }

    /// When it was given.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }
}

/// Tries the one answer: asks for the try, then takes the code if it is there.
pub(super) async fn check(
    ground: &Ground,
    operator: &str,
    peer: IpAddr,
    given: &[&[u8]],
) -> Result<Result<RecoveryProof, No>, LoginError> {
    let no = |code, cause: String| Ok(Err(No { code, told: WHAT_CODE, cause }));
    let &[typed] = given else { return no("LOGIN-010", format!("{} answers to one prompt", given.len())) };
    // What cannot be one costs no try, as with one-time codes.
    let Some(secret) = Written::read(Kind::Recovery, typed) else {
        return no("LOGIN-004", "the answer is no recovery code".to_owned());
    };
    let Begun { at, source, totp } = match tries::begin(ground, operator, peer).await? {
        Ok(begun) => begun,
        Err(throttled) => return Ok(Err(throttled)),
    };
    let Some(totp) = totp else {
        return no("LOGIN-004", format!("operator {operator} has no authenticator, so no recovery codes"));
    };
    let digest = ground.keys.digest(operator, &secret)?;
    if ground.store.take_recovery(&totp, &digest, &source).await? {
        return Ok(Ok(RecoveryProof { authenticator: totp.id, at }));
    }
    no("LOGIN-004", format!("wrong or used recovery code, {} in a row", totp.failures.saturating_add(1)))
}
