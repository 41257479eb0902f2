//! A code, or a recovery code, given once more in an open connection: the person is still there.
//! It never changes what the connection rests on, and each try is counted as at the login.

use std::net::IpAddr;

use policy::OperatorName;

use super::ground::Ground;
use super::{LoginError, code, recovery};
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
pub struct Unjudged(LoginError);

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
    let operator = operator.as_str();
    let tried = if Written::read(Kind::Recovery, typed).is_some() {
        let given = recovery::check(ground, operator, peer, &[typed]).await.map_err(Unjudged)?;
        given.map(|proof| proof.authenticator())
    } else {
        match code::read(&[typed]) {
            Ok(code) => {
                let given = code::check(ground, operator, peer, &code).await.map_err(Unjudged)?;
                given.map(|proof| proof.authenticator())
            }
            Err(no) => Err(no),
        }
    };
    let refused = tried.map_err(|no| Refusal::new(no.code, no.told, no.cause, ground.reference.clone()));
    Ok(refused.map(|authenticator| Again { authenticator }))
}
