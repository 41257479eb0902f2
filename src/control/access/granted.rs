//! What grants name an operator for, whatever conditions are still to be met: asked of the engine that decides.
//! It never decides anything that opens a channel.

use std::collections::BTreeMap;

use policy::{AccountName, ChannelKind, OperatorName, TargetName};

use super::question::person;
use crate::bastion::Bastion;
use crate::control::operator::known;
use crate::control::reply::Trouble;

/// A subsystem that no grant allows in earnest.
const NOBODY_ALLOWS: &str = "bartizan-asks-whom-grants-name";

/// The targets that a grant names this operator for, each with its default account, or else the first that is granted.
/// Without an operator all targets with their default accounts.
pub(in crate::control) async fn granted(
    bastion: &Bastion,
    operator: Option<&OperatorName>,
) -> Result<BTreeMap<TargetName, Option<AccountName>>, Trouble> {
    let bundle = bastion.access.bundle();
    let Some(operator) = operator else {
        let all = bundle.targets().map(|target| (target.name().clone(), target.default_account().cloned()));
        return Ok(all.collect());
    };
    // What no grant allows: it is only asked whom they name, so nothing need be found out about what is missing.
    let kind = ChannelKind::subsystem(NOBODY_ALLOWS)?;
    let standing = known(bastion, operator).await?;
    let person = person(&standing)
        .ok_or_else(|| Trouble::said("the operator's row does not read; run `bartizan check`"))?;
    let mut granted = BTreeMap::new();
    for target in bundle.targets() {
        let default = target.default_account().into_iter();
        let named = default.chain(target.accounts()).find(|account| {
            let request = person.empty_handed(target, account, &kind, bastion.clock.now());
            policy::explain(&bundle, &request).considered.iter().any(|grant| grant.account)
        });
        if let Some(account) = named {
            granted.insert(target.name().clone(), Some(account.clone()));
        }
        // Thousands of decisions are made here: others get their turn between two targets.
        tokio::task::yield_now().await;
    }
    Ok(granted)
}
