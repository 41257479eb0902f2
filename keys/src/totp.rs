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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The seed of RFC 6238 appendix B, "12345678901234567890".
    const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn rfc() -> Seed {
        Seed::from_base32(RFC).unwrap()
    }

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        // Appendix B, SHA-1; the table has eight digits, ours are the last six.
        let table = [
            (59, "94287082"),
            (1_111_111_109, "07081804"),
            (1_111_111_111, "14050471"),
            (1_234_567_890, "89005924"),
            (2_000_000_000, "69279037"),
            (20_000_000_000, "65353130"),
        ];
        for (time, code) in table {
            assert_eq!(rfc().matching_step(&code[2..], time), Some(time / STEP), "{time}");
        }
    }

    #[test]
    fn a_code_is_right_one_step_early_and_late_and_no_further() {
        let (code, step) = ("005924", 1_234_567_890 / STEP);
        for at in [step - 1, step, step + 1] {
            assert_eq!(rfc().matching_step(code, at * STEP), Some(step));
            assert_eq!(rfc().matching_step(code, at * STEP + STEP - 1), Some(step));
        }
        for at in [step - 3, step - 2, step + 2, step + 3] {
            assert_eq!(rfc().matching_step(code, at * STEP), None);
        }
    }

    #[test]
    fn what_is_not_six_digits_is_never_right() {
        for code in ["", "5924", " 05924", "+05924", "0059240", "00592４", "005924\n", "００５９２４"]
        {
            assert_eq!(rfc().matching_step(code, 1_234_567_890), None, "{code:?}");
        }
    }

    #[test]
    fn the_ends_of_time_do_no_harm() {
        for time in [0, 1, STEP, u64::MAX - STEP, u64::MAX] {
            let _ = rfc().matching_step("000000", time);
        }
    }

    #[test]
    fn a_fresh_seed_has_twenty_bytes_and_comes_back_from_base32() {
        let seed = Seed::generate().unwrap();
        assert_eq!(seed.bytes().len(), 20);
        assert_eq!(seed.to_base32().len(), 32);
        assert_eq!(Seed::from_base32(&seed.to_base32()).unwrap().bytes(), seed.bytes());
        assert_ne!(seed.bytes(), Seed::generate().unwrap().bytes());
    }

    #[test]
    fn a_seed_is_read_as_people_copy_it() {
        for text in ["gezd gnbv gy3t qojq gezd gnbv gy3t qojq", "GEZDGNBV-GY3TQOJQ-GEZDGNBV-GY3TQOJQ\n"] {
            assert_eq!(Seed::from_base32(text).unwrap().bytes(), rfc().bytes());
        }
        assert_eq!(Seed::from_base32("GEZDGNBVGY3TQOJQGEZDGNBVGY======").unwrap().bytes().len(), 16);
    }

    #[test]
    fn a_seed_too_short_too_long_or_not_base32_is_refused_without_being_repeated() {
        let refused = |text: &str| Seed::from_base32(text).err().unwrap();
        assert_eq!(refused("GEZDGNBVGY3TQOJQ"), SeedError::Length { bytes: 10 });
        assert_eq!(refused(&"A".repeat(1000)), SeedError::Length { bytes: 625 });
        assert_eq!(refused(&"A".repeat(2000)), SeedError::Length { bytes: 1250 });
        assert_eq!(refused("0189018901890189"), SeedError::Base32);
        assert!(!refused("0189018901890189").to_string().contains("0189"));
    }

    #[test]
    fn the_address_is_what_authenticator_apps_read() {
        assert_eq!(
            rfc().uri("Bartizan on a.example", "alice").as_str(),
            "otpauth://totp/Bartizan%20on%20a.example:alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Bartizan%20on%20a.example&algorithm=SHA1&digits=6&period=30"
        );
    }

    #[test]
    fn a_name_cannot_add_to_the_address() {
        let uri = rfc().uri("x&secret=AAAA", "a?b#c:d/é");
        assert!(
            uri.starts_with("otpauth://totp/x%26secret%3DAAAA:a%3Fb%23c%3Ad%2F%C3%A9?secret=GEZD"),
            "{}",
            *uri
        );
    }

    proptest! {
        #[test]
        fn any_text_is_a_seed_or_a_refusal(text in ".{0,200}") {
            if let Ok(seed) = Seed::from_base32(&text) {
                prop_assert!((SHORTEST..=LONGEST).contains(&seed.bytes().len()));
            }
        }

        #[test]
        fn any_code_at_any_time_is_answered(code in ".{0,12}", time: u64) {
            if let Some(step) = rfc().matching_step(&code, time) {
                prop_assert!(step.abs_diff(time / STEP) <= 1);
            }
        }
    }
}
