//! One-time codes: TOTP of RFC 6238 with SHA-1, six digits, steps of 30 seconds.
//! It never remembers which code was used: the caller stores the step that matched and takes only a greater one.

use data_encoding::BASE32_NOPAD;
use totp_rs::{Algorithm, Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::random::{self, RandomError};

/// Seconds a code lasts.
pub const STEP: u64 = 30;
/// Digits of a code.
pub const DIGITS: usize = 6;

const FRESH: usize = 20;
const SHORTEST: usize = 16;
const LONGEST: usize = 64;

/// Why a seed was refused. Says nothing of the seed itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SeedError {
    /// Not base32.
    #[error(
        "one-time-code seed refused: not base32; use the letters A-Z and digits 2-7 as the authenticator shows them"
    )]
    Base32,
    /// Too short for RFC 4226 section 4 (R6), or longer than anything makes.
    #[error(
        "one-time-code seed refused: {bytes} bytes; use {SHORTEST} to {LONGEST}, best 20 (32 characters)"
    )]
    Length {
        /// How many bytes it has.
        bytes: usize,
    },
}

/// The secret an authenticator app and the bastion share. Wiped when dropped; has no `Debug`.
pub struct Seed(Zeroizing<Vec<u8>>);

impl Seed {
    /// A fresh seed of 20 random bytes.
    ///
    /// # Errors
    /// No randomness.
    pub fn generate() -> Result<Self, RandomError> {
        Ok(Self(Zeroizing::new(random::bytes::<FRESH>()?.to_vec())))
    }

    /// Reads a seed as people copy it: base32 (RFC 4648) in either case, with or without blanks, hyphens and padding.
    ///
    /// # Errors
    /// Not base32, or not 16 to 64 bytes.
    pub fn from_base32(text: &str) -> Result<Self, SeedError> {
        // Longer than any seed with generous blanks: refused before anything is allocated for it.
        if text.len() > 1024 {
            return Err(SeedError::Length { bytes: text.len() * 5 / 8 });
        }
        let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
        letters.extend(
            text.trim()
                .trim_end_matches('=')
                .bytes()
                .filter(|byte| !matches!(byte, b' ' | b'-'))
                .map(|byte| byte.to_ascii_uppercase()),
        );
        let decoded = BASE32_NOPAD.decode(&letters).map(Zeroizing::new);
        Self::from_bytes(&decoded.map_err(|_| SeedError::Base32)?)
    }

    /// Takes a seed of 16 to 64 raw bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, SeedError> {
        if !(SHORTEST..=LONGEST).contains(&bytes.len()) {
            return Err(SeedError::Length { bytes: bytes.len() });
        }
        Ok(Self(Zeroizing::new(bytes.to_vec())))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The seed in base32 without padding, for an authenticator app.
    #[must_use]
    pub fn to_base32(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// The `otpauth://` address that authenticator apps read from a QR code. It contains the seed.
    #[must_use]
    pub fn uri(&self, issuer: &str, operator: &str) -> Zeroizing<String> {
        let secret = self.to_base32();
        let (issuer, operator) = (escaped(issuer), escaped(operator));
        let length = secret.len() + 2 * issuer.len() + operator.len() + 96;
        // One allocation of the full length: a growing string would leave copies of the seed behind.
        let mut uri = Zeroizing::new(String::with_capacity(length));
        for part in ["otpauth://totp/", &issuer, ":", &operator, "?secret=", &secret, "&issuer=", &issuer] {
            uri.push_str(part);
        }
        uri.push_str("&algorithm=SHA1&digits=6&period=30");
        uri
    }

    /// The step (Unix time / 30) that `code` is right for, of the current one, the one before and the one after; `None` if it is
    /// right for none. Of several it is the latest, so that storing it uses them all up. The time taken depends neither on the
    /// seed nor on which step matches.
    ///
    /// The caller must take the step only if it is greater than the last one taken (RFC 6238 section 5.2), atomically.
    #[must_use]
    pub fn matching_step(&self, code: &str, at_unix: u64) -> Option<u64> {
        if code.len() != DIGITS || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let totp = self.totp();
        let now = at_unix / STEP;
        let mut matched = None;
        for step in [now.checked_sub(1), Some(now), now.checked_add(1)].into_iter().flatten() {
            let Some(time) = step.checked_mul(STEP) else { continue };
            // `check` with no skew compares one step in constant time; all three are always compared.
            if totp.check(code, time).is_some() {
                matched = Some(step);
            }
        }
        matched
    }

    fn totp(&self) -> Totp {
        let secret = Secret::new(self.0.as_slice().into());
        let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(STEP);
        // The parameters above are RFC 6238's and the length was checked when the seed was made.
        builder.with_skew(0).with_secret(secret).build_noncompliant()
    }
}

/// Percent-encoded (RFC 3986): everything but unreserved characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            data_encoding::HEXUPPER.encode_append(&[byte], &mut out);
        }
    }
    out
}
