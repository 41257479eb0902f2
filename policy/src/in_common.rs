//! What all ways to an account need in common that is missing and can be typed: asked for before any channel is.
//! Never a permit, and never a word about an account for which no grant names the operator.

use std::collections::BTreeSet;

use crate::decide::{Scene, decide};
use crate::denial::{Cause, Denial, Missing};
use crate::factor::Factor;
use crate::request::Request;
use crate::who_can::kinds;
use crate::{Bundle, ChannelKind, Grant};

/// What would have to be typed before anything at all may be done on this account: empty when something may be done as it
/// is, `None` when nothing may, whatever is typed. The request's kind does not count: every kind that a grant allows and that leads
/// there by itself does.
#[must_use]
pub fn in_common(bundle: &Bundle, request: &Request<'_>) -> Option<BTreeSet<Missing>> {
    let scene = Scene::set(bundle, request).ok()?;
    let on_account = |grant: &&Grant| grant.accounts().contains(scene.case.account);
    let grants: Vec<&Grant> = scene.naming.iter().copied().filter(on_account).collect();
    if grants.is_empty() {
        return None;
    }
    let mut common: Option<BTreeSet<Missing>> = None;
    for kind in kinds(&grants).into_iter().filter(is_a_way) {
        let missing = match decide(bundle, &Request { kind: &kind, ..*request }) {
            Ok(_) => return Some(BTreeSet::new()),
            Err(Denial { cause: Cause::Missing, missing, .. }) => missing,
            // What it should say is the rule's secret; that it is read is reason enough to ask.
            Err(Denial { cause: Cause::Forbidden { rule }, .. })
                if request.reason.is_none() && bundle.rules().reads_reason(&rule) =>
            {
                vec![Missing::Reason]
            }
            Err(_) => continue,
        };
        let Some(typed) = missing.into_iter().map(typed).collect::<Option<BTreeSet<Missing>>>() else {
            continue;
        };
        common = Some(match common {
            Some(before) => before.intersection(&typed).cloned().collect(),
            None => typed,
        });
    }
    common
}

/// Whether anything can be done by this alone. The agent and the screen are only ever lent to a program.
fn is_a_way(kind: &ChannelKind) -> bool {
    !matches!(kind, ChannelKind::Agent | ChannelKind::X11)
}

/// The condition, if what is typed can meet it.
fn typed(missing: Missing) -> Option<Missing> {
    match missing {
        Missing::FreshCode | Missing::Factor(Factor::Code) => Some(Missing::FreshCode),
        Missing::Reason => Some(Missing::Reason),
        _ => None,
    }
}
