//! What is known of an operator at this moment: from the bundle, or from the store where no bundle names operators.
//! It never says what they may do, and never remembers: it is read again whenever it matters.

use std::collections::BTreeSet;

use policy::{Bundle, OperatorName, RoleName, TenantName};

use crate::store::{OperatorState, Store, StoreError};

/// An operator who exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The name.
    pub name: OperatorName,
    /// The roles.
    pub roles: BTreeSet<RoleName>,
    /// The tenant.
    pub tenant: TenantName,
    state: OperatorState,
}

impl Person {
    /// Neither disabled nor revoked.
    #[must_use]
    pub fn enabled(&self) -> bool {
        self.state == OperatorState::Active
    }

    /// Whether, and why not.
    #[must_use]
    pub fn state(&self) -> OperatorState {
        self.state
    }
}

/// The operator of this name. A bundle that names operators says who exists; the store's state wins over it either way.
///
/// # Errors
/// When the store fails or the row cannot be read.
pub async fn person(
    store: &Store,
    bundle: &Bundle,
    name: &OperatorName,
) -> Result<Option<Person>, StoreError> {
    // Read whoever it is, so that a name that does not exist takes no other path.
    let row = store.operator(name.as_str()).await?;
    let state = row.as_ref().map_or(OperatorState::Active, |row| row.state);
    if let Some(named) = bundle.operator(name) {
        let (roles, tenant) = (named.roles().clone(), named.tenant().clone());
        return Ok(Some(Person { name: name.clone(), roles, tenant, state }));
    }
    let Some(row) = row.filter(|row| row.local && bundle.operators().next().is_none()) else {
        return Ok(None);
    };
    let unreadable = |why: policy::NameError| StoreError::Unreadable {
        noun: "operator",
        name: name.to_string(),
        why: why.to_string(),
    };
    let roles: Result<_, _> = row.roles.iter().map(|role| RoleName::parse(role)).collect();
    Ok(Some(Person {
        name: name.clone(),
        roles: roles.map_err(unreadable)?,
        tenant: TenantName::parse(&row.tenant).map_err(unreadable)?,
        state,
    }))
}
