//! The factor "code": a one-time code, asked for once, tried once, taken once.
//! It never takes the same code twice, and a new prompt never forgives an old mistake.

use std::net::IpAddr;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::ground::Ground;
use super::tries::{self, Begun};
use super::{LoginError, No, WHAT_CODE};
use crate::store::{Memory, StepTaken};

/// The longest answer that is looked at, in bytes: six digits, and room for blanks.
const LONGEST: usize = 64;

/// A code is proven: given just now, or remembered. Made by [`check`], and of what the store remembers.
#[derive(Debug)]
pub(super) struct CodeProof {
    authenticator: i64,
    at: Timestamp,
    remembered: bool,
}

impl CodeProof {
    /// What the store remembers of a code that [`check`] once proved; `None` for a time that is none.
    pub(super) fn recalled(memory: Memory) -> Option<Self> {
        let at = Timestamp::from_millisecond(memory.given).ok()?;
        Some(Self { authenticator: memory.authenticator, at, remembered: true })
    }

    /// Which authenticator made it.
    pub(super) fn authenticator(&self) -> i64 {
        self.authenticator
    }

    /// When it was given.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }

    /// Given in an earlier login.
    pub(super) fn remembered(&self) -> bool {
        self.remembered
    }
}

/// The one answer, as six digits if it can be that.
pub(super) fn read(given: &[&[u8]]) -> Result<Zeroizing<String>, No> {
    let no = |code, cause: String| Err(No { code, told: WHAT_CODE, cause });
    let &[answer] = given else { return no("LOGIN-010", format!("{} answers to one prompt", given.len())) };
    if answer.len() > LONGEST {
        return no("LOGIN-004", format!("an answer of {} bytes is no code", answer.len()));
    }
    // One allocation of the full length, so that no copy of a code is left behind.
    let mut code = Zeroizing::new(String::with_capacity(LONGEST));
    // Authenticator apps show "123 456", and that is what people type.
    for byte in answer.iter().copied().filter(|byte| !byte.is_ascii_whitespace()) {
        if !byte.is_ascii_digit() {
            return no("LOGIN-004", "the answer is not made of digits".to_owned());
        }
        code.push(char::from(byte));
    }
    // A client that has nobody to ask answers with nothing, again and again. That guesses at no code.
    if code.is_empty() {
        return no("LOGIN-004", "an empty answer is no code".to_owned());
    }
    Ok(code)
}

/// Tries a code: asks for the try, compares, takes the step.
pub(super) async fn check(
    ground: &Ground,
    operator: &str,
    peer: IpAddr,
    code: &str,
) -> Result<Result<CodeProof, No>, LoginError> {
    let no = |code, cause: String| Ok(Err(No { code, told: WHAT_CODE, cause }));
    let Begun { at: now, source, totp } = match tries::begin(ground, operator, peer).await? {
        Ok(begun) => begun,
        Err(throttled) => return Ok(Err(throttled)),
    };
    let Some(totp) = totp else {
        return no("LOGIN-004", format!("operator {operator} has no authenticator for codes"));
    };
    let seed = ground.keys.unseal_seed(operator, &totp.sealed)?;
    let second = u64::try_from(now.as_second()).unwrap_or(0);
    let Some(step) = seed.matching_step(code, second) else {
        return no("LOGIN-004", format!("wrong code, {} in a row", totp.failures.saturating_add(1)));
    };
    let Ok(step) = i64::try_from(step) else { return no("LOGIN-004", "a step beyond all time".to_owned()) };
    match ground.store.take_step(&totp, step, &source).await? {
        StepTaken::Yes => Ok(Ok(CodeProof { authenticator: totp.id, at: now, remembered: false })),
        StepTaken::UsedBefore => {
            no("LOGIN-005", format!("the code of step {step}, or a later one, was used before"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_code_is_read_as_people_type_it() {
        for typed in ["123456", "123 456", " 123456 ", "123456\r\n"] {
            assert_eq!(read(&[typed.as_bytes()]).unwrap().as_str(), "123456", "{typed:?}");
        }
    }

    #[test]
    fn exactly_one_answer_is_an_answer() {
        for given in [&[][..], &[&b"123456"[..], b"123456"], &[b"", b"", b""]] {
            assert_eq!(read(given).unwrap_err().code, "LOGIN-010");
        }
    }

    #[test]
    fn a_huge_or_non_utf_8_answer_is_no_code() {
        for answer in [
            &[b'1'; 65][..],
            &[b' '; 1_000_000],
            &[0xff, 0xfe],
            "１２３４５６".as_bytes(),
            b"?",
            b"-12345",
            b"",
            b" \t",
        ] {
            assert_eq!(read(&[answer]).unwrap_err().code, "LOGIN-004");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_digits_or_a_refusal(answer in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(code) = read(&[&answer]) {
                prop_assert!(code.bytes().all(|byte| byte.is_ascii_digit()));
            }
        }
    }
}
