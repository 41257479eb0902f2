//! A code, or a recovery code, given once more in an open connection: the person is still there.
//! It never changes what the connection rests on, and each try is counted as at the login.

use std::net::IpAddr;

use policy::OperatorName;

use super::authenticated::Second;
use super::ground::Ground;
use super::{LoginError, No, code, recovery};
use crate::refusal::Refusal;
use keys::written::{Kind, Written};

/// The person has proven their authenticator again.
#[derive(Debug)]
pub struct Again {
    authenticator: i64,
}

impl Again {
    /// The authenticator that made the code, or that the recovery code stood in for.
    pub fn authenticator(&self) -> i64 {
        self.authenticator
    }
}

/// Why it cannot be judged.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Unjudged(#[from] LoginError);

/// Tries what was typed.
///
/// # Errors
/// When it cannot be judged; the inner refusal says why it is wrong.
pub async fn again(
    ground: &Ground,
    operator: &OperatorName,
    peer: IpAddr,
    typed: &[u8],
) -> Result<Result<Again, Refusal>, Unjudged> {
    let tried = second(ground, operator, peer, typed).await?;
    let refused = tried.map_err(|no| Refusal::new(no.code, no.told, no.cause, ground.reference.clone()));
    Ok(refused.map(|second| Again { authenticator: second.authenticator() }))
}

/// Tries what was typed as what it looks like: a recovery code, else a one-time code.
pub(super) async fn second(
    ground: &Ground,
    operator: &OperatorName,
    peer: IpAddr,
    typed: &[u8],
) -> Result<Result<Second, No>, LoginError> {
    let operator = operator.as_str();
    if Written::read(Kind::Recovery, typed).is_some() {
        return Ok(recovery::check(ground, operator, peer, &[typed]).await?.map(Second::Recovery));
    }
    match code::read(&[typed]) {
        Ok(code) => Ok(code::check(ground, operator, peer, &code).await?.map(Second::Code)),
        Err(no) => Ok(Err(no)),
    }
}
