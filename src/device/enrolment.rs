//! How a machine comes to its place in the inventory: a token is given out, the machine proves a key, the token is used up.
//! It never keeps a token's secret, and never makes a machine active that nobody vouched for.
//!
//! ```text
//! device register --> Offer (15 minutes) --> login enroll+<id>, certificate --> Enrolment --> exec `enroll <token>` --> pending or active
//! ```

use jiff::Timestamp;
use posture::certificate::{check_enrolling, signer};
use posture::report::Report;
use posture::token::{Token, TokenError};
use posture::{Code, State};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ssh_key::{Certificate, PublicKey};
use zeroize::Zeroizing;

use super::certificate::{At, take};
use super::{Unproven, fingerprint};
use crate::ids::Reference;
use crate::refusal::Refusal;
use crate::store::{self, NewEnrolment, Store, StoreError};

/// How long a token may be used, in minutes.
pub const LASTS: i64 = 15;
/// What is told of a token that is not taken.
const NOT_TAKEN: &str =
    "the enrolment token was not accepted; have a new one made with `bartizan device register`";

/// A token that is given out: its id and its secret.
pub struct Offer {
    id: String,
    secret: Zeroizing<String>,
}

/// A key that has proven itself on this connection and a token that is open: only the token itself is missing.
#[derive(Debug)]
pub struct Enrolment {
    token: String,
    device: String,
    operator: String,
    key: PublicKey,
    report: Report,
    reference: Reference,
}

/// A machine that has its key now.
#[derive(Debug)]
pub struct Enrolled {
    /// Its name.
    pub device: String,
    /// Pending or active.
    pub state: State,
}

/// Why a token did not enrol.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// It is no token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It is not the one that this connection was opened with.
    #[error("the token is another than the login named")]
    Other,
    /// It was used, its time is over, its secret is wrong, or its device does not wait for a key.
    #[error(
        "the token was used before, is over its time or has another secret, or its device no longer waits for a key"
    )]
    Spent,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no randomness.
    #[error("the system gives no random bytes")]
    Random,
}

impl Offer {
    /// A new token, open until [`LASTS`] minutes from `now` for a device that is registered; an earlier one of the same device
    /// ends.
    ///
    /// # Errors
    /// When the store fails or there is no randomness.
    pub async fn open(store: &Store, device: &str, now: Timestamp) -> Result<Self, EnrolError> {
        let id = random::<10>()?.to_lowercase();
        let secret = random::<20>()?;
        let hash = digest(&SHA256, secret.as_bytes());
        let expires = now.as_millisecond().saturating_add(LASTS * 60_000);
        let new = NewEnrolment { id: &id, device, secret: hash.as_ref(), expires };
        store.open_enrolment(&new).await?;
        Ok(Self { id, secret })
    }

    /// Its id: the login name is `enroll+<id>`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What proves that who brings it may enrol.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl Enrolment {
    /// Judges the certificate of a machine that wants to be enrolled by the token `id`: bound to this connection, signed by a key
    /// that is nobody's yet.
    pub(crate) async fn begin(
        store: &Store,
        id: &str,
        certificate: &Certificate,
        reference: Reference,
        at: At<'_>,
    ) -> Result<Result<Self, Unproven>, StoreError> {
        let no = |cause: &str| Ok(Err(Unproven { code: Code::Enrolment, cause: cause.to_owned() }));
        let enrolling = match check_enrolling(certificate, at.binding, at.second()) {
            Ok(enrolling) => enrolling,
            Err(finding) => return Ok(Err(finding.into())),
        };
        let key = fingerprint(&signer(certificate));
        if store.device_by_key(&key).await?.is_some() || store.operator_key(&key).await?.is_some() {
            return no("a key that is known already cannot be enrolled");
        }
        let Some(open) = store.enrolment(id, at.now.as_millisecond()).await? else {
            return no("no enrolment token of this id is open");
        };
        if enrolling.report.device.uid.as_str() != open.device {
            return no("the token is for a device of another name");
        }
        if let Some(used) = take(store, &key, enrolling.serial, None, at.now).await? {
            return Ok(Err(used));
        }
        let (key, report) = (enrolling.key, enrolling.report);
        let (token, device, operator) = (open.id, open.device, open.operator);
        Ok(Ok(Self { token, device, operator, key, report, reference }))
    }

    /// The device to be.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// Whose it is to be.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// `SHA256:...` of the key that was proven.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key)
    }

    /// What it said of itself.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Uses the token up.
    ///
    /// # Errors
    /// When it is not to be taken; then nothing has changed.
    pub async fn complete(&self, store: &Store, token: &str, now: Timestamp) -> Result<Enrolled, EnrolError> {
        let token = Token::parse(token)?;
        if token.id != self.token {
            return Err(EnrolError::Other);
        }
        let secret = digest(&SHA256, token.secret.as_bytes());
        let mut plain = self.key.clone();
        plain.set_comment("");
        let line = plain.to_openssh().map_err(|why| self.unreadable(&why))?;
        let fingerprint = self.fingerprint();
        let with = store::Enrolling { id: &self.token, secret: secret.as_ref(), key: (&fingerprint, &line) };
        let row = store.enrol(&with, now.as_millisecond()).await?.ok_or(EnrolError::Spent)?;
        Ok(Enrolled { device: row.name, state: row.state })
    }

    /// The refusal of a token.
    pub fn refusal(&self, why: &dyn std::error::Error) -> Refusal {
        Refusal::new(Code::Enrolment.as_str(), NOT_TAKEN, why.to_string(), self.reference.clone())
    }

    fn unreadable(&self, why: &ssh_key::Error) -> StoreError {
        StoreError::Unreadable { noun: "device", name: self.device.clone(), why: why.to_string() }
    }
}

/// So many random bytes in base32: letters and digits.
fn random<const BYTES: usize>() -> Result<Zeroizing<String>, EnrolError> {
    let mut bytes = Zeroizing::new([0_u8; BYTES]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| EnrolError::Random)?;
    Ok(Zeroizing::new(data_encoding::BASE32_NOPAD.encode(bytes.as_slice())))
}
