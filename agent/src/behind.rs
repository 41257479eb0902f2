//! The person's own agent, behind ours: every request that is not the device's goes to it, word for word.
//! It never waits for it without end, and never fails a connection because it is not there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::wire::{read_frame, write_frame};

/// How long it may take to be there.
const CONNECT: Duration = Duration::from_secs(3);
/// How long its list of keys may take; the device's login waits for it.
const QUICK: Duration = Duration::from_secs(5);
/// How long a signature may take: a person may be asked for a touch or a passphrase.
const PATIENT: Duration = Duration::from_secs(300);

/// One connection to the person's own agent, made when it is first needed.
#[derive(Debug)]
pub(crate) struct Behind {
    path: Option<PathBuf>,
    stream: Option<UnixStream>,
}

impl Behind {
    pub(crate) fn at(path: Option<&Path>) -> Self {
        Self { path: path.map(Path::to_owned), stream: None }
    }

    /// Its answer to a message that needs nobody; `None` when there is none.
    pub(crate) async fn ask(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.within(QUICK, message).await
    }

    /// Its answer to a message that may need its person.
    pub(crate) async fn ask_person(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        self.within(PATIENT, message).await
    }

    async fn within(&mut self, patience: Duration, message: &[u8]) -> Option<Vec<u8>> {
        if self.stream.is_none() {
            // One try a connection: a new one would not know what this one was bound to.
            let path = self.path.take()?;
            self.stream = timeout(CONNECT, UnixStream::connect(&path)).await.ok()?.ok();
        }
        let stream = self.stream.as_mut()?;
        let exchange = async {
            write_frame(stream, message).await?;
            read_frame(stream).await
        };
        let answer = timeout(patience, exchange).await;
        if let Ok(Ok(Some(answer))) = answer {
            return Some(answer);
        }
        // What comes later would be taken for the answer to the next question.
        self.stream = None;
        None
    }
}
