//! Identified -> Invited: a person without an authenticator, let in once to enrol one.
//! It never becomes an `Authenticated`, so from here nothing leads to a target; and it never lets in who has an authenticator.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use keys::written::{Kind, Written};
use policy::{LoginName, OperatorName};
use serde_json::{Map, Value, json};

use super::ground::Ground;
use super::identified::Identified;
use super::tries::{self, Begun};
use super::{LoginError, No};
use crate::device::{Assessed, Proven};
use crate::store::StoreError;

/// What is told of an invitation that is not taken, whatever the reason.
const WHAT: &str = "the invitation was not accepted; ask for another";

/// An invitation was taken just now. Only [`check`] makes one.
#[derive(Debug)]
pub(super) struct Taken {
    at: Timestamp,
}

/// Who came by an invitation: device and key are proven, an authenticator is still to be enrolled.
#[derive(Debug)]
pub struct Invited {
    assessed: Assessed,
    login: LoginName,
    key: String,
    at: Timestamp,
}

impl Invited {
    pub(super) fn new(identified: Identified, taken: &Taken, login: &LoginName) -> Self {
        let key = identified.key().to_owned();
        Self { assessed: identified.into_assessed(), login: login.clone(), key, at: taken.at }
    }

    /// Who.
    pub fn operator(&self) -> &OperatorName {
        &self.login.operator
    }

    /// The device, where one was proven.
    pub fn proven(&self) -> Option<&Proven> {
        self.assessed.device()
    }

    /// The fingerprint of the person's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// When the invitation was taken.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The operator's end of the connection.
    pub fn peer(&self) -> SocketAddr {
        self.assessed.accepted().peer()
    }

    /// What the log says of this login beside who and from where.
    pub fn detail(&self) -> Map<String, Value> {
        let mut detail = Map::new();
        detail.insert("login".to_owned(), self.login.to_string().into());
        detail.insert("key".to_owned(), self.key.as_str().into());
        detail.insert("factors".to_owned(), json!([{ "factor": "key", "at": self.at.to_string() }]));
        detail.insert("assurance".to_owned(), 1.into());
        detail.insert("invitation".to_owned(), true.into());
        detail.insert("device_key".to_owned(), self.assessed.device().map(Proven::fingerprint).into());
        detail
    }
}

/// Whether this operator is to be asked for an invitation instead of a code.
pub(super) async fn is_open(ground: &Ground, operator: &OperatorName) -> Result<bool, StoreError> {
    Ok(ground.store.open_invitation(operator.as_str(), ground.clock.unix_ms()).await?.is_some())
}

/// Tries the one answer: asks for the try, then takes the invitation if it is open.
pub(super) async fn check(
    ground: &Ground,
    operator: &str,
    peer: IpAddr,
    given: &[&[u8]],
) -> Result<Result<Taken, No>, LoginError> {
    let no = |code, cause: String| Ok(Err(No { code, told: WHAT, cause }));
    let &[typed] = given else { return no("LOGIN-010", format!("{} answers to one prompt", given.len())) };
    let Some(token) = Written::read(Kind::Invitation, typed) else {
        return no("LOGIN-013", "the answer is no invitation".to_owned());
    };
    let Begun { at, source, .. } = match tries::begin(ground, operator, peer).await? {
        Ok(begun) => begun,
        Err(throttled) => return Ok(Err(throttled)),
    };
    let digest = ground.keys.digest(operator, &token)?;
    if ground.store.take_invitation(operator, &digest, &source, at.as_millisecond()).await? {
        return Ok(Ok(Taken { at }));
    }
    no("LOGIN-013", format!("wrong, used or expired invitation of operator {operator}"))
}
