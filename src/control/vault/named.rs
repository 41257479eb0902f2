//! Which targets name a vaulted secret, and which name one that is not there.
//! It never opens a secret.

use policy::{Bundle, Target, TargetLogin};

use crate::bastion::Bastion;
use crate::control::reply::{Reply, Trouble};

/// The most targets that a line names.
const NAMED: usize = 8;
/// The most lines about what is missing.
const LINES: usize = 20;

/// The kind and name of what the bastion logs in with there; `None` where that is not vaulted.
fn vaulted(target: &Target) -> Option<(&'static str, &str)> {
    match target.login() {
        TargetLogin::Certificate | TargetLogin::Ask => None,
        TargetLogin::Key(name) => Some(("key", name.as_str())),
        TargetLogin::Password(name) => Some(("password", name.as_str())),
    }
}

/// The targets of this tenant that name this secret.
pub(super) fn targets(bundle: &Bundle, tenant: &str, name: &str) -> Vec<String> {
    let names = |target: &&Target| {
        target.tenant().as_str() == tenant && vaulted(target).is_some_and(|(_, named)| named == name)
    };
    bundle.targets().filter(names).map(|target| target.name().to_string()).collect()
}

/// A few of these names, in one line.
pub(super) fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let first = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{first} and {more} more") } else { first }
}

/// Tells which secrets a bundle names that the vault does not have: its targets exist, and nobody gets in there.
pub(in crate::control) async fn warn_of_missing<R: Reply>(
    bastion: &Bastion,
    bundle: &Bundle,
    out: &mut R,
) -> Result<(), Trouble> {
    let there = bastion.store.all_vaulted().await?;
    let has = |target: &Target, kind: &str, name: &str| {
        there.iter().any(|one| one.tenant == target.tenant().as_str() && one.kind == kind && one.name == name)
    };
    let mut missing = std::collections::BTreeMap::<_, Vec<String>>::new();
    for target in bundle.targets() {
        if let Some((kind, name)) = vaulted(target).filter(|(kind, name)| !has(target, kind, name)) {
            missing.entry((target.tenant(), kind, name)).or_default().push(target.name().to_string());
        }
    }
    for ((tenant, kind, name), targets) in missing.iter().take(LINES) {
        let targets = some(targets);
        out.err(&format!(
            "bartizan: the vault of tenant {tenant} has no {kind} {name}, and nobody gets in at {targets}; \
             `bartizan vault add {name} --tenant {tenant} --{kind}-file FILE`\n"
        ))
        .await?;
    }
    if missing.len() > LINES {
        let more = missing.len() - LINES;
        out.err(&format!("bartizan: {more} more secrets that the bundle names are not in the vault\n"))
            .await?;
    }
    Ok(())
}
