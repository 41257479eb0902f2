//! Arguments, logging and the exit code.
//! It never does a command's work itself.

fn main() {}
