//! That who asks holds the present authenticator: by the code of this very login, or by another one typed now.
//! It never takes a remembered code for it, nor one that an earlier authenticator made.

use std::time::Duration;

use policy::OperatorName;

use crate::bastion::Bastion;
use crate::control::ask::{Echo, Questions};
use crate::control::caller::Caller;
use crate::control::reply::{Reply, Trouble};
use crate::login::{Ground, again};
use crate::store::Totp;

/// A code given at the login counts for so long.
const RECENT: Duration = Duration::from_secs(300);
/// How long the question may take.
const LIMIT: Duration = Duration::from_secs(180);
/// Wrong answers before it is given up; the throttle counts them as well.
const ANSWERS: usize = 3;

/// The authenticator's id once its holder has proven themselves; `None` when there is no authenticator.
pub(super) async fn of_holder<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    operator: &OperatorName,
    out: &mut R,
) -> Result<Option<i64>, Trouble> {
    let Some(totp) = bastion.store.totp(operator.as_str()).await? else { return Ok(None) };
    if recent(bastion, caller, &totp) {
        return Ok(Some(totp.id));
    }
    let peer = caller.login().map(|login| login.source());
    let peer = peer.ok_or_else(|| Trouble::said("log in with a one-time code first"))?;
    let mut questions = Questions::within(LIMIT, out)?;
    let ground = Ground::of(bastion);
    for _ in 0..ANSWERS {
        let typed = questions.line(out, "Present one-time code, or a recovery code: ", Echo::Off).await?;
        match again(&ground, operator, peer, typed.trim().as_bytes()).await? {
            Ok(again) => return Ok(Some(again.authenticator())),
            Err(refusal) => {
                tracing::info!(%operator, code = refusal.code(), cause = refusal.cause(), "not proven again");
                out.out("The code was not accepted. Wait for the next one.\n").await?;
            }
        }
    }
    Err(Trouble::said("the codes were not accepted; nothing was changed"))
}

/// Whether a code of this authenticator was given in this very login, moments ago.
fn recent(bastion: &Bastion, caller: &Caller, totp: &Totp) -> bool {
    let Some(given) = caller.login().and_then(|login| login.given()) else { return false };
    let age = Duration::try_from(bastion.clock.now().duration_since(given));
    totp.added <= given.as_millisecond() && age.is_ok_and(|age| age <= RECENT)
}
