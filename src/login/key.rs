//! The factor "key": a public key registered for the operator.
//! It never tells a wrong key, an unknown operator and a disabled one apart but in the log, and looks at all of it either way.

use policy::OperatorName;
use ssh_key::{Algorithm, PublicKey};

use super::ground::Ground;
use super::person::{Person, person};
use super::{No, WHAT_KEY};
use crate::device::fingerprint;
use crate::store::StoreError;

/// Whether this key is one by which this operator may log in now. Reads only: asked for an offer, and again for the proof.
///
/// # Errors
/// When the store fails.
pub(super) async fn find(
    ground: &Ground,
    operator: &OperatorName,
    key: &PublicKey,
    signed: &Algorithm,
) -> Result<Result<Person, No>, StoreError> {
    let fingerprint = fingerprint(key);
    let known = person(&ground.store, &ground.bundle, operator).await?;
    let row = ground.store.operator_key(&fingerprint).await?;
    let theirs =
        row.filter(|row| row.operator == operator.as_str()).is_some_and(|row| same(&row.public_key, key));
    let no = |code, cause| Ok(Err(No { code, told: WHAT_KEY, cause }));
    if let Err(refused) = posture::acceptable(key, Some(signed)) {
        return no("LOGIN-003", refused.to_string());
    }
    match known {
        None => no("LOGIN-001", format!("there is no operator {operator}")),
        Some(person) if !person.enabled() => {
            no("LOGIN-002", format!("operator {operator} is {}", person.state().as_str()))
        }
        Some(_) if !theirs => {
            no("LOGIN-003", format!("key {fingerprint} is not registered for operator {operator}"))
        }
        Some(person) => Ok(Ok(person)),
    }
}

/// The fingerprint found the row; the key itself decides.
fn same(registered: &str, key: &PublicKey) -> bool {
    PublicKey::from_openssh(registered).is_ok_and(|registered| registered.key_data() == key.key_data())
}
