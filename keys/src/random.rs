//! Random bytes from the operating system, through `ring`.
//! It never falls back to anything weaker: where the system gives none, the caller fails.

use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no random bytes: the operating system's generator refused; check that getrandom(2) or /dev/urandom works here"
)]
pub struct RandomError;

/// `N` fresh random bytes, wiped when dropped.
pub(crate) fn bytes<const N: usize>() -> Result<Zeroizing<[u8; N]>, RandomError> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| RandomError)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(*bytes::<32>().unwrap(), *bytes::<32>().unwrap());
    }
}
