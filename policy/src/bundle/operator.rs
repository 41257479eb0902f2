//! `[[operator]]`: who exists, with which roles, of which tenant.
//! Never holds an authenticator or whether the operator is disabled: that is the store's.

use std::collections::BTreeSet;

use crate::bundle::error::{BundleError, Place};
use crate::bundle::written::WrittenOperator;
use crate::names::{OperatorName, RoleName, TenantName};

/// The most roles one operator may have.
const MOST_ROLES: usize = 64;

/// A person or service identity that the bundle names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    name: OperatorName,
    roles: BTreeSet<RoleName>,
    tenant: TenantName,
}

impl Operator {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &OperatorName {
        &self.name
    }

    /// The roles.
    #[must_use]
    pub fn roles(&self) -> &BTreeSet<RoleName> {
        &self.roles
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantName {
        &self.tenant
    }

    pub(super) fn check(written: &WrittenOperator, place: Place<'_>) -> Result<Self, BundleError> {
        let name = &written.name;
        let operator =
            OperatorName::parse(name.get_ref()).map_err(|e| place.told(name.span(), "name", &e))?;
        if operator.is_reserved() {
            let problem = "bears a name that is the login of machines to be enrolled";
            return Err(place.wrong(Some(name.span()), problem, "give them another name"));
        }
        let mut roles = BTreeSet::new();
        for word in &written.roles {
            roles.insert(RoleName::parse(word.get_ref()).map_err(|e| place.told(word.span(), "role", &e))?);
        }
        if roles.len() > MOST_ROLES {
            let problem = format_args!("has {} roles, more than {MOST_ROLES}", roles.len());
            return Err(place.wrong(Some(name.span()), problem, "use fewer, wider roles"));
        }
        Ok(Self { name: operator, roles, tenant: tenant(written.tenant.as_ref(), place)? })
    }
}

/// `tenant = ...`, or the default one.
pub(super) fn tenant(
    word: Option<&crate::bundle::written::Word>,
    place: Place<'_>,
) -> Result<TenantName, BundleError> {
    let Some(word) = word else { return Ok(TenantName::default()) };
    TenantName::parse(word.get_ref()).map_err(|e| place.told(word.span(), "tenant", &e))
}
