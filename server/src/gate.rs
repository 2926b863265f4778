//! How many connections there may be, and which go first.
//!
//! A connection that has said nothing that makes sense yet is *silent*. When all places are
//! taken, the one that has been silent for longest gives up its place: so silent ones, however
//! many, keep none out.

// How long a line is held back is told by the clock.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The places for the connections of one kind.
#[derive(Debug)]
pub struct Gate {
    places: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    taken: usize,
    next: u64,
    /// Those that are silent, by age.
    silent: BTreeMap<u64, oneshot::Sender<()>>,
}

/// The place of a connection. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    gate: Arc<Gate>,
    number: u64,
    lost: Option<oneshot::Receiver<()>>,
}

impl Gate {
    /// A gate with so many places.
    pub fn new(places: usize) -> Arc<Gate> {
        Arc::new(Gate { places: places.max(1), inner: Mutex::default() })
    }

    /// Takes a place for a connection, which is silent. `None` if all are taken by connections
    /// that are not.
    pub fn enter(self: &Arc<Gate>) -> Option<Place> {
        let mut inner = lock(&self.inner);
        if inner.taken >= self.places {
            let (_, oldest) = inner.silent.pop_first()?;
            // Its place becomes free a moment later; until then there is one more.
            let _ = oldest.send(());
        }
        let (sender, lost) = oneshot::channel();
        let number = inner.next;
        inner.next += 1;
        inner.taken += 1;
        inner.silent.insert(number, sender);
        Some(Place { gate: self.clone(), number, lost: Some(lost) })
    }
}

impl Place {
    /// The connection is silent no more.
    pub fn speaks(&mut self) {
        lock(&self.gate.inner).silent.remove(&self.number);
        self.lost = None;
    }

    /// Ends when another connection gets the place; never, if this one speaks.
    pub async fn lost(&mut self) {
        match &mut self.lost {
            Some(lost) => drop(lost.await),
            None => pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = lock(&self.gate.inner);
        inner.taken -= 1;
        inner.silent.remove(&self.number);
    }
}

/// Lines of the log that strangers can cause as often as they like: one a second is written.
#[derive(Debug, Default)]
pub struct Seldom {
    state: Mutex<(Option<Instant>, u64)>,
}

impl Seldom {
    /// Writes a line, or counts it.
    pub fn tell(&self, line: impl FnOnce() -> String) {
        let mut state = lock(&self.state);
        let (last, hidden) = &mut *state;
        if last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            *hidden += 1;
            return;
        }
        *last = Some(Instant::now());
        match std::mem::take(hidden) {
            0 => tracing::warn!("{}", line()),
            others => tracing::warn!("{} (and {others} lines like it before)", line()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_silent_connection_makes_room() {
        let gate = Gate::new(2);
        let mut first = gate.enter().unwrap();
        let mut second = gate.enter().unwrap();
        let mut third = gate.enter().unwrap();
        first.lost().await;
        drop(first);
        second.speaks();
        third.speaks();
        assert!(gate.enter().is_none(), "both speak");
        drop(second);
        let mut fourth = gate.enter().unwrap();
        let waits = tokio::time::timeout(Duration::from_millis(10), fourth.lost()).await;
        assert!(waits.is_err(), "no other wants its place");
        drop((third, fourth));
        assert_eq!(lock(&gate.inner).taken, 0);
    }
}
