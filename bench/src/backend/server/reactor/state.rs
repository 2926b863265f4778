//! The state of a loop, which its tasks reach through their thread.

// Real time is the business of this module.
#![allow(clippy::disallowed_methods)]

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token, Waker as Bell};
use slab::Slab;

use super::sides::Sides;

/// The events that are taken at a time.
const EVENTS: usize = 256;
/// The token of wake-ups by other threads.
const BELL: Token = Token(usize::MAX);

thread_local! {
    /// The loop that runs in this thread.
    pub(super) static HERE: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

/// A loop.
pub(super) struct Core {
    poll: RefCell<(Poll, Events)>,
    pub(super) registry: Registry,
    ready: Arc<Ready>,
    pub(super) tasks: RefCell<Slab<Task>>,
    pub(super) sources: RefCell<Slab<Sides>>,
    pub(super) timers: RefCell<BTreeMap<(Instant, u64), Waker>>,
    pub(super) timers_made: Cell<u64>,
}

pub(super) struct Task {
    /// Absent while it is polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Waker,
}

/// The tasks that have something to do. Any thread may add some.
struct Ready {
    queue: Mutex<Queue>,
    bell: Bell,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Queue {
    tasks: Vec<usize>,
    /// The loop waits for events, and does not look here.
    is_asleep: bool,
}

/// Makes a task ready.
struct Alarm {
    task: usize,
    ready: Arc<Ready>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut queue = self.ready.lock();
        queue.tasks.push(self.task);
        if std::mem::take(&mut queue.is_asleep) {
            // A loop that cannot be woken looks again after its patience.
            let _ = self.ready.bell.wake();
        }
    }
}

impl Core {
    /// A loop without tasks.
    ///
    /// # Errors
    /// If the kernel has no poll left.
    pub(super) fn new() -> io::Result<Core> {
        let poll = Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let bell = Bell::new(&registry, BELL)?;
        Ok(Core {
            poll: RefCell::new((poll, Events::with_capacity(EVENTS))),
            registry,
            ready: Arc::new(Ready { queue: Mutex::default(), bell }),
            tasks: RefCell::default(),
            sources: RefCell::default(),
            timers: RefCell::default(),
            timers_made: Cell::new(0),
        })
    }

    /// Adds a task.
    pub(super) fn spawn(&self, future: Pin<Box<dyn Future<Output = ()>>>) {
        let mut tasks = self.tasks.borrow_mut();
        let task = tasks.vacant_key();
        let waker = Waker::from(Arc::new(Alarm { task, ready: self.ready.clone() }));
        waker.wake_by_ref();
        tasks.insert(Task { future: Some(future), waker });
    }

    /// Polls the tasks that are ready, and those that they make ready.
    pub(super) fn run_ready(&self) {
        loop {
            let ready = std::mem::take(&mut self.ready.lock().tasks);
            if ready.is_empty() {
                return;
            }
            ready.into_iter().for_each(|task| self.poll_task(task));
        }
    }

    fn poll_task(&self, index: usize) {
        // A task may have ended since it was made ready, and may add others while it is polled.
        let taken = self
            .tasks
            .borrow_mut()
            .get_mut(index)
            .and_then(|task| task.future.take().map(|future| (future, task.waker.clone())));
        let Some((mut future, waker)) = taken else { return };
        if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            if let Some(task) = self.tasks.borrow_mut().get_mut(index) {
                task.future = Some(future);
            }
            return;
        }
        let ended = self.tasks.borrow_mut().try_remove(index);
        drop((ended, future));
    }

    /// Waits for events and timers until `end`, and makes their tasks ready.
    pub(super) fn wait(&self, end: Instant) {
        let first = self.timers.borrow().first_key_value().map(|((at, _), _)| *at);
        let until = first.map_or(end, |at| at.min(end));
        let mut patience = until.saturating_duration_since(Instant::now());
        {
            let mut queue = self.ready.lock();
            queue.is_asleep = queue.tasks.is_empty();
            if !queue.is_asleep {
                patience = Duration::ZERO;
            }
        }
        let (poll, events) = &mut *self.poll.borrow_mut();
        // A signal ends a wait; there are no other errors that pass.
        let polled = poll.poll(events, Some(patience));
        self.ready.lock().is_asleep = false;
        if polled.is_ok() {
            let mut sources = self.sources.borrow_mut();
            for event in events.iter() {
                if let Some(sides) = sources.get_mut(event.token().0) {
                    sides.note(event);
                }
            }
        }
        self.fire();
    }

    /// Makes the tasks ready whose timers are due.
    fn fire(&self) {
        let mut timers = self.timers.borrow_mut();
        let Some(first) = timers.first_entry() else { return };
        let now = Instant::now();
        if first.key().0 > now {
            return;
        }
        let later = timers.split_off(&(now, u64::MAX));
        std::mem::replace(&mut *timers, later).into_values().for_each(Waker::wake);
    }
}

/// The loop that runs here.
///
/// # Panics
/// If none does.
pub(super) fn here() -> Rc<Core> {
    HERE.with_borrow(Clone::clone).expect("a task runs in a loop")
}
