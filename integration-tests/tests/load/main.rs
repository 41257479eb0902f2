//! Load: many sessions at once, for long, that come and go, that are cut, that vanish; what they cost and what they leave.
//! Clients by the hundred and a target for them live in this process, so that what is measured is the bastion.

mod abandoned;
mod caller;
mod crowd;
mod cut;
mod echo;
mod figures;
mod kernel;
mod rope;
mod soak;
mod thousand;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

/// What everything here runs on.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// As many descriptors for this test as the system lets it have: a crowd needs more than is usual.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit }).unwrap();
}
