//! `targets`: what the operator who asks may reach now, and how.
//! It never tells of a target for which no grant names them.

use policy::ChannelKind;
use serde_json::json;

use super::caller::Caller;
use super::reply::{Reply, Trouble, unless_gone};
use super::report::{Form, List};
use crate::access;
use crate::bastion::Bastion;

pub(super) async fn run<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    json: bool,
    out: &mut R,
) -> Result<(), Trouble> {
    let login = caller.login().ok_or_else(|| {
        Trouble::said("`targets` is what an operator may reach, over SSH: `ssh bastion targets`; here use `bartizan target list`")
    })?;
    let reach = unless_gone(out, access::reach(bastion, login)).await??;
    let bundle = bastion.access.bundle();
    let mut rows = List::new(Form::of(json), &["target", "account", "may", "needs"]);
    for one in &reach.all {
        let kinds: Vec<String> = one.kinds.iter().map(ChannelKind::to_string).collect();
        let needs: Vec<String> = one.missing.iter().map(ToString::to_string).collect();
        let is_default =
            bundle.target(&one.target).and_then(|target| target.default_account()) == Some(&one.account);
        let value = json!({
            "target": one.target, "account": one.account, "default": is_default, "may": kinds, "needs": needs,
        });
        rows.row(out, &value, || {
            vec![one.target.to_string(), one.account.to_string(), kinds.join(" "), needs.join(", ")]
        })
        .await?;
    }
    rows.end(out, "nothing; ask for a grant").await?;
    if !reach.whole {
        out.err("bartizan: there is more; this list takes too long to make\n").await?;
    }
    Ok(())
}
