//! Starting programs that last, beside other tests that do the same.
//! It never waits for what it has started.

use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// While it is held nothing that lasts is started. Who opens a terminal holds it: they wait for the end of a pipe that a program
/// started meanwhile would inherit and keep.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program that may run for long and closes nothing that it inherits.
///
/// # Panics
/// When it cannot be started.
pub fn lasting(command: &mut Command) -> Child {
    let _alone = alone();
    command.spawn().unwrap()
}
