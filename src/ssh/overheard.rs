//! What russh refuses by itself, before a handler is asked: a certificate out of its time, or one with a wrong signature. russh
//! says so in a warning and nowhere else; it is overheard here, so that the audit log has its code too.
//! Never decides: no login is helped or hindered by what is heard, and without a subscriber nothing is.
//!
//! A warning names no connection. But russh takes a packet from the stream and judges it in one turn of one thread, so the stream
//! that was read last on this thread is the one the warning is about.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Weak};

use posture::Code;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Who says it, as the bridge from `log` writes that.
const SPEAKER: &str = "russh::server::encrypted";
const EXPIRED: &str = "Certificate is expired or not yet valid";
const WRONG: &str = "Certificate signature is invalid";

thread_local! {
    static READING: RefCell<Weak<Ear>> = const { RefCell::new(Weak::new()) };
}

/// What was heard of one connection while it logs in.
#[derive(Debug, Default)]
pub(super) struct Ear {
    heard: AtomicU8,
    closed: AtomicBool,
}

impl Ear {
    /// What was heard since the last call.
    pub(super) fn take(&self) -> Option<Code> {
        match self.heard.swap(0, Ordering::Relaxed) {
            3 => Some(Code::Signature),
            5 => Some(Code::Freshness),
            _ => None,
        }
    }

    /// The login is over.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Whether it is.
    pub(super) fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

/// This thread reads from the connection of this ear now; from one that has none.
pub(super) fn reading(ear: Option<&Arc<Ear>>) {
    READING.with_borrow_mut(|reading| match ear {
        Some(ear) => *reading = Arc::downgrade(ear),
        None if reading.strong_count() > 0 => *reading = Weak::new(),
        None => {}
    });
}

/// Hears warnings; a part of the subscriber that writes the server's own messages.
#[derive(Debug, Clone, Copy)]
pub struct Overhearing;

impl<S: Subscriber> Layer<S> for Overhearing {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        if said.by_russh && said.code != 0 {
            READING.with_borrow(|reading| {
                if let Some(ear) = reading.upgrade() {
                    ear.heard.store(said.code, Ordering::Relaxed);
                }
            });
        }
    }
}

#[derive(Default)]
struct Said {
    by_russh: bool,
    code: u8,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.by_russh = value == SPEAKER;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.code = match format!("{value:?}").as_str() {
                EXPIRED => 5,
                WRONG => 3,
                _ => 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// As the bridge passes a warning on.
    fn warned(by: &str, what: &str) {
        tracing::warn!(log.target = by, "{what}");
    }

    #[test]
    fn a_warning_is_about_the_connection_that_was_read_last() {
        let subscriber = tracing_subscriber::registry().with(Overhearing);
        tracing::subscriber::with_default(subscriber, || {
            let (one, two) = (Arc::new(Ear::default()), Arc::new(Ear::default()));
            reading(Some(&one));
            reading(Some(&two));
            warned(SPEAKER, EXPIRED);
            assert_eq!((one.take(), two.take(), two.take()), (None, Some(Code::Freshness), None));
            reading(Some(&one));
            warned(SPEAKER, WRONG);
            warned("elsewhere", EXPIRED);
            warned(SPEAKER, "something else");
            assert_eq!((one.take(), two.take()), (Some(Code::Signature), None));
            reading(None);
            warned(SPEAKER, EXPIRED);
            assert_eq!((one.take(), two.take()), (None, None));
        });
    }
}
