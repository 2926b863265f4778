//! The events of a socket, until the tasks that wait for them look.

use std::task::{Context, Poll, Waker};

use mio::event::Event;

/// One side of a socket: reading or writing.
#[derive(Default)]
pub(super) struct Side {
    /// There was an event since a task last waited.
    pub(super) is_ready: bool,
    /// It never blocks again.
    pub(super) is_ended: bool,
    waker: Option<Waker>,
}

impl Side {
    fn note(&mut self, is_ended: bool) {
        self.is_ready = true;
        self.is_ended |= is_ended;
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits for an event since the last wait.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.is_ready) || self.is_ended {
            return Poll::Ready(());
        }
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

/// The events of a socket.
#[derive(Default)]
pub(super) struct Sides {
    pub(super) reading: Side,
    pub(super) writing: Side,
}

impl Sides {
    /// Notes an event.
    pub(super) fn note(&mut self, event: &Event) {
        let has_failed = event.is_error();
        if event.is_readable() || event.is_read_closed() || has_failed {
            self.reading.note(event.is_read_closed());
        }
        if event.is_writable() || event.is_write_closed() || has_failed {
            self.writing.note(event.is_write_closed());
        }
    }
}
