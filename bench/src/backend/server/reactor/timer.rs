//! Moments that tasks wait for.

// Real time is the business of this module.
#![allow(clippy::disallowed_methods)]

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::state::{HERE, here};

/// A wait until a moment.
struct Sleep {
    at: Instant,
    /// Its number in the loop, once it waits.
    number: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        // A task has one waker for all of its life.
        if self.number.is_none() {
            let core = here();
            let number = core.timers_made.get() + 1;
            core.timers_made.set(number);
            core.timers.borrow_mut().insert((self.at, number), context.waker().clone());
            self.number = Some(number);
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        // Tasks are dropped with their loop, too, which does not run then.
        HERE.with_borrow(|here| {
            here.as_ref().map(|core| core.timers.borrow_mut().remove(&(self.at, number)))
        });
    }
}

/// Waits that long.
pub(crate) async fn sleep(duration: Duration) {
    sleep_until(Instant::now() + duration).await;
}

/// Waits until that moment.
pub(crate) async fn sleep_until(at: Instant) {
    Sleep { at, number: None }.await;
}

/// The result of a future, or nothing if it is not there at this moment.
pub(crate) async fn timeout_at<T>(at: Instant, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut end = pin!(Sleep { at, number: None });
    poll_fn(|context| {
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        end.as_mut().poll(context).map(|()| None)
    })
    .await
}
