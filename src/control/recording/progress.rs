//! How far long work has come, told now and then to who waits at a terminal.
//! It never speaks to a script.

use std::time::Duration;

use tokio::time::Instant;

use crate::control::reply::{Reply, Trouble};

const EVERY: Duration = Duration::from_secs(3);

/// When to tell the next time; never where nobody waits.
pub(super) struct Progress(Option<Instant>);

impl Progress {
    pub(super) fn of<R: Reply>(out: &R) -> Self {
        Self(out.shape().terminal.then(|| Instant::now() + EVERY))
    }

    /// Tells it where it is time.
    pub(super) async fn tell<R: Reply>(
        &mut self,
        how_far: impl FnOnce() -> String,
        out: &mut R,
    ) -> Result<(), Trouble> {
        if self.0.is_some_and(|next| Instant::now() >= next) {
            self.0 = Some(Instant::now() + EVERY);
            out.err(&format!("{}\n", how_far())).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::report::tests::Heap;
    use crate::control::wire::Shape;

    #[tokio::test(start_paused = true)]
    async fn who_waits_at_a_terminal_is_told_now_and_then_and_a_script_never() {
        for (terminal, told) in [(true, "10\n20\n"), (false, "")] {
            let mut heap = Heap { shape: Shape { terminal, ..Shape::default() }, ..Heap::default() };
            let mut progress = Progress::of(&heap);
            for done in 0..30 {
                progress.tell(|| done.to_string(), &mut heap).await.unwrap();
                tokio::time::advance(EVERY / 10).await;
            }
            assert_eq!(heap.err, told);
        }
    }
}
