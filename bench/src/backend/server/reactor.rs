//! An event loop of one thread: tasks, sockets and timers.
//!
//! The bench shares its machine with the servers that it judges, and its threads wake for each
//! message. A general runtime spends more there than the work itself takes: a second task for each
//! connection, a wake-up of the runtime by a call of the kernel, a timer for each read. Here a task
//! polls its socket itself, and an event makes its task ready and nothing else.
//!
//! A socket is registered once, for edges: a reader that has read less than it asked for waits for
//! the next event, without a read that finds nothing. The loop sleeps in milliseconds, as the
//! kernel's poll does.

// Real time is the business of this module.
#![allow(clippy::disallowed_methods)]

mod sides;
mod source;
mod state;
mod timer;

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

pub(super) use source::Source;
use state::{Core, HERE, here};
pub(super) use timer::{sleep, sleep_until, timeout_at};

/// The loop. Its tasks end with it.
pub(super) struct Reactor(Rc<Core>);

impl Reactor {
    /// A loop without tasks.
    ///
    /// # Errors
    /// If the kernel has no poll left.
    pub(super) fn new() -> io::Result<Reactor> {
        Core::new().map(Rc::new).map(Reactor)
    }

    /// Adds a task, which runs with the loop.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.spawn(Box::pin(future));
    }

    /// Runs the tasks until `is_done`, at most for `patience`; everything that is ready happens in
    /// any case, once.
    pub(super) fn run(&self, patience: Duration, is_done: impl Fn() -> bool) {
        let before = HERE.replace(Some(self.0.clone()));
        let end = Instant::now() + patience;
        let mut has_looked = false;
        loop {
            self.0.run_ready();
            if is_done() || has_looked && Instant::now() >= end {
                break;
            }
            self.0.wait(end);
            has_looked = true;
        }
        HERE.set(before);
    }
}

/// Adds a task to the loop that runs here.
pub(super) fn spawn(future: impl Future<Output = ()> + 'static) {
    here().spawn(Box::pin(future));
}

/// Runs one task to its end in a loop of its own, at most for `patience`; its result, if it came to one.
#[cfg(test)]
pub(super) fn result<T: 'static>(
    patience: Duration,
    task: impl Future<Output = T> + 'static,
) -> Option<T> {
    let reactor = Reactor::new().expect("a poll");
    let slot: Rc<std::cell::RefCell<Option<T>>> = Rc::default();
    let result = slot.clone();
    reactor.spawn(async move {
        let value = task.await;
        slot.replace(Some(value));
    });
    reactor.run(patience, || result.borrow().is_some());
    result.take()
}

impl Drop for Reactor {
    fn drop(&mut self) {
        // Tasks hold sockets, and those hold the loop.
        let tasks = self.0.tasks.take();
        drop(tasks);
    }
}

#[cfg(test)]
mod tests;
