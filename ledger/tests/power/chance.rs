//! Numbers by chance, from a seed that is told, so that a run can be repeated: `BARTIZAN_SEED=n`.
//!
//! Never the same without that.

use std::hash::{BuildHasher as _, Hasher as _};

/// Where the numbers come from.
pub(crate) struct Chance {
    /// What to tell.
    pub(crate) seed: u64,
    state: u64,
}

impl Chance {
    #[expect(
        clippy::disallowed_methods,
        reason = "no configuration: the seed of a run that is to be repeated"
    )]
    pub(crate) fn new() -> Self {
        let fresh = || std::hash::RandomState::new().build_hasher().finish();
        let seed =
            std::env::var("BARTIZAN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(fresh);
        Self { seed, state: seed }
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % limit
    }

    /// Keeps `most` of `all`.
    pub(crate) fn sample<T>(&mut self, all: &mut Vec<T>, most: usize) {
        for kept in 0..most.min(all.len()) {
            let other = kept + self.below(all.len() - kept);
            all.swap(kept, other);
        }
        all.truncate(most);
    }
}
