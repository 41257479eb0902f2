//! An operator's phone: makes one-time codes as RFC 6238 says.
//! It never hands out a step twice unless it is asked to.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE32_NOPAD;
use totp_rs::{Builder, Totp};

use crate::wait::until;

const STEP: u64 = 30;

/// The second factor of one operator.
pub struct Phone {
    operator: String,
    secret: Vec<u8>,
    last: Mutex<u64>,
}

impl Phone {
    pub(crate) fn new(operator: &str) -> Self {
        let secret = operator.bytes().cycle().take(20).collect();
        Self { operator: operator.to_owned(), secret, last: Mutex::new(0) }
    }

    /// The phone of somebody who scans what is on the screen.
    ///
    /// # Panics
    /// Without an `otpauth://` address in the text.
    pub fn scanning(screen: &str) -> Self {
        let address = screen.split("otpauth://").nth(1).expect("an otpauth:// address on the screen");
        let secret = address.split("secret=").nth(1).expect("a secret in the address");
        let end = secret.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(secret.len());
        let secret = BASE32_NOPAD.decode(&secret.as_bytes()[..end]).unwrap();
        Self { operator: String::new(), secret, last: Mutex::new(0) }
    }

    pub(crate) fn operator(&self) -> &str {
        &self.operator
    }

    /// The seed as people type it.
    pub fn base32(&self) -> String {
        BASE32_NOPAD.encode(&self.secret)
    }

    /// A code that was not handed out before and is accepted now. Waits for the clock when three in a row were used.
    pub fn fresh(&self) -> String {
        let mut last = self.last.lock().unwrap();
        let step = until("a step that was not used", Duration::from_secs(2 * STEP), || {
            let current = now() / STEP;
            let next = current.max(*last + 1);
            (next <= current + 1).then_some(next)
        });
        *last = step;
        self.at(step * STEP)
    }

    /// The code that `fresh` gave last.
    pub fn used(&self) -> String {
        self.at(*self.last.lock().unwrap() * STEP)
    }

    /// A code that is wrong now and for a while.
    pub fn wrong(&self) -> String {
        let near: Vec<String> =
            (0..8).map(|n| self.at((now() / STEP + n).saturating_sub(4) * STEP)).collect();
        (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
    }

    fn at(&self, time: u64) -> String {
        self.totp().generate(time).to_string()
    }

    fn totp(&self) -> Totp {
        Builder::new().with_secret(self.secret.clone()).build().unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "a phone has a clock of its own")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
