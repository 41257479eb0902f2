//! `mfa enroll totp`: a seed is shown, two codes in a row prove that it arrived, and only then it counts.
//! It never keeps a seed that was not confirmed, and never shows one again.

use std::time::Duration;

use keys::totp::{STEP, Seed};
use policy::OperatorName;
use zeroize::Zeroizing;

use super::{digests, fresh_codes, none_there, proof, show_codes};
use crate::bastion::Bastion;
use crate::control::ask::{Echo, Questions};
use crate::control::caller::Caller;
use crate::control::operator::qr;
use crate::control::reply::{Reply, Trouble};
use crate::store::{NewTotp, Replace};

/// From the picture to the second code.
const LIMIT: Duration = Duration::from_secs(300);
/// Wrong answers before it is given up.
const ANSWERS: usize = 6;

pub(super) async fn totp<R: Reply>(
    bastion: &Bastion,
    caller: &Caller,
    operator: &OperatorName,
    out: &mut R,
) -> Result<(), Trouble> {
    let mut questions = Questions::within(LIMIT, out)?;
    let replace = match caller {
        Caller::Guest { .. } => Replace::None,
        _ => Replace::Only(proof::of_holder(bastion, caller, operator, out).await?.ok_or_else(none_there)?),
    };
    let seed = Seed::generate()?;
    show(bastion, operator, &seed, out).await?;
    let last_step = confirmed(bastion, &seed, &mut questions, out).await?;
    let codes = fresh_codes()?;
    let (sealed, recovery) =
        (bastion.keys.seal_seed(operator.as_str(), &seed)?, digests(bastion, operator, &codes)?);
    let new =
        NewTotp { operator: operator.as_str(), sealed: &sealed, last_step, recovery: &recovery, replace };
    if !bastion.store.enrol_totp(&new, bastion.clock.unix_ms()).await? {
        return Err(Trouble::said(
            "somebody else changed your authenticator meanwhile; look with `mfa show`, then try again",
        ));
    }
    out.out("\nEnrolled. From the next login on, this authenticator's codes count.\n\n").await?;
    show_codes(&codes, out).await
}

async fn show<R: Reply>(
    bastion: &Bastion,
    operator: &OperatorName,
    seed: &Seed,
    out: &mut R,
) -> Result<(), Trouble> {
    let issuer = bastion.config.ssh.names.first().map_or("bartizan", String::as_str);
    let uri = seed.uri(issuer, operator.as_str());
    let picture = qr(&uri)
        .ok_or_else(|| Trouble::said("the address is too long for a QR code; shorten [ssh] names"))?;
    out.out("Scan this with an authenticator app, or type the key or the address into it.\n\n").await?;
    out.out(&picture).await?;
    let text = Zeroizing::new(format!(
        "\n\nKey:     {}\nAddress: {}\n\n",
        grouped(&seed.to_base32()).as_str(),
        uri.as_str()
    ));
    out.out(&text).await
}

/// Base32 in groups of four, as people type it.
fn grouped(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len() * 2));
    for (place, letter) in text.chars().enumerate() {
        if place > 0 && place % 4 == 0 {
            out.push(' ');
        }
        out.push(letter);
    }
    out
}

/// Two codes in a row; answers the step of the second, which is thereby used up.
async fn confirmed<R: Reply>(
    bastion: &Bastion,
    seed: &Seed,
    questions: &mut Questions,
    out: &mut R,
) -> Result<i64, Trouble> {
    let mut first: Option<u64> = None;
    for _ in 0..ANSWERS {
        let question = if first.is_none() { "Its code now: " } else { "Its next code: " };
        let typed = questions.line(out, question, Echo::On).await?;
        let code: Zeroizing<String> = Zeroizing::new(typed.chars().filter(|c| !c.is_whitespace()).collect());
        let now = u64::try_from(bastion.clock.now().as_second()).unwrap_or(0);
        match (first, seed.matching_step(&code, now)) {
            (Some(one), Some(two)) if two == one + 1 => return Ok(i64::try_from(two)?),
            (Some(one), Some(two)) if two == one => {
                out.out(&format!("That is the same code; wait for the next ({STEP} s).\n")).await?
            }
            // A code was missed in between: the latest becomes the first.
            (_, Some(step)) => first = Some(step),
            (_, None) => {
                out.out("That is not its code; look at the clock of the phone and this machine.\n").await?
            }
        }
    }
    Err(Trouble::said("the codes were not right; nothing was changed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_shown_in_groups() {
        assert_eq!(grouped("ABCDEFGHIJ").as_str(), "ABCD EFGH IJ");
        assert_eq!(grouped("").as_str(), "");
    }
}
