//! How the world hears of events in other threads.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

/// How many messages may wait between the threads and the world; beyond that a child that
/// prints faster is held up by its own pipe.
const BACKLOG: usize = 10_000;

/// How long the loop may wait without a look at signals to the bench.
const GLANCE: Duration = Duration::from_millis(100);

/// The receiving end of a backend with threads. The sending end must live as long.
pub struct Ears<T>(Receiver<T>);

/// Both ends.
pub(super) fn ears<T>() -> (SyncSender<T>, Ears<T>) {
    let (heard, ears) = mpsc::sync_channel(BACKLOG);
    (heard, Ears(ears))
}

impl<T> Ears<T> {
    /// Waits for something to be heard, at most for `patience` and never for long, so that
    /// the caller can look at signals to the bench. Hands out a bounded helping, so
    /// that a child that never stops printing cannot stop time.
    pub fn listen(&self, patience: Duration) -> impl Iterator<Item = T> {
        let first = match self.0.recv_timeout(patience.min(GLANCE)) {
            Ok(heard) => Some(heard),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => unreachable!("the cluster holds a sender"),
        };
        let more = std::iter::from_fn(|| self.0.try_recv().ok());
        first.into_iter().chain(more.take(BACKLOG / 10))
    }
}
