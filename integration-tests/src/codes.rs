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
    hand: Mutex<Hand>,
}

/// What was handed out last.
#[derive(Default)]
struct Hand {
    step: u64,
    /// Given to a test, or answered to a prompt.
    spent: bool,
}

impl Phone {
    pub(crate) fn new(operator: &str) -> Self {
        let secret = operator.bytes().cycle().take(20).collect();
        Self { operator: operator.to_owned(), secret, hand: Mutex::default() }
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
        Self { operator: String::new(), secret, hand: Mutex::default() }
    }

    pub(crate) fn operator(&self) -> &str {
        &self.operator
    }

    /// The seed as people type it.
    pub fn base32(&self) -> String {
        BASE32_NOPAD.encode(&self.secret)
    }

    /// A code that was not handed out before and is accepted now. Waits for the clock when two in a row were used.
    pub fn fresh(&self) -> String {
        let mut hand = self.hand.lock().unwrap();
        let step = until("a step that was not used", Duration::from_secs(2 * STEP), || {
            let current = now() / STEP;
            let next = current.max(hand.step + 1);
            (next <= current + 1).then_some(next)
        });
        *hand = Hand { step, spent: true };
        self.at(step * STEP)
    }

    /// A code for a prompt that may not come: the last one again, as long as no prompt was answered with it.
    pub(crate) fn ready(&self, was_answered: impl Fn(&str) -> bool) -> String {
        let hand = self.hand.lock().unwrap();
        let code = self.at(hand.step * STEP);
        if !hand.spent && hand.step >= now() / STEP && !was_answered(&code) {
            return code;
        }
        drop(hand);
        let code = self.fresh();
        self.hand.lock().unwrap().spent = false;
        code
    }

    /// The code of a clock that is this many seconds from this machine's.
    pub fn code_at(&self, seconds: i64) -> String {
        self.at(now().saturating_add_signed(seconds))
    }

    /// The code that was handed out last.
    pub fn used(&self) -> String {
        self.at(self.hand.lock().unwrap().step * STEP)
    }

    /// A code that is wrong now and for a while.
    pub fn wrong(&self) -> String {
        let near: Vec<String> =
            (0..8).map(|n| self.at((now() / STEP + n).saturating_sub(4) * STEP)).collect();
        (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
    }

    /// The code of two steps ago.
    pub fn late(&self) -> String {
        self.at((now() / STEP - 2) * STEP)
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
