//! The state of the network, in the thread of the proxies.

use std::cell::{Cell, Ref, RefCell};
use std::task::{Context, Waker};

use crate::backend::Weather;

/// The weather, and the tasks that wait for the next. To ask whether it is another costs each piece
/// of a stream a comparison.
#[derive(Default)]
pub(super) struct Vane {
    weather: RefCell<Weather>,
    number: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Vane {
    /// From now on the weather is this; those that wait for it are woken.
    pub(super) fn turn(&self, weather: Weather) {
        self.weather.replace(weather);
        self.number.set(self.number.get() + 1);
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// How often it has turned.
    pub(super) fn number(&self) -> u64 {
        self.number.get()
    }

    /// The weather now.
    pub(super) fn weather(&self) -> Ref<'_, Weather> {
        self.weather.borrow()
    }

    /// Wakes a task when it turns next.
    pub(super) fn wait(&self, context: &Context<'_>) {
        self.waiting.borrow_mut().push(context.waker().clone());
    }
}
