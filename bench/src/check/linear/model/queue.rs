//! A queue whose elements leave in the order in which they came. Knossos' `fifo-queue`.
//!
//! A dequeue that returned nil found the queue empty. An indeterminate dequeue removes the
//! element in front.

use super::super::classes::Classes;
use super::super::states::States;
use super::queue_action::{Action, initial_elements};
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// A queue, initially empty or with the elements given.
#[derive(Clone, Debug)]
pub struct Queue {
    values: Values,
    states: States<Vec<u32>>,
    classes: Classes<Action>,
    initial: State,
}

/// Stands for an element that no operation dequeues.
const STUCK: u32 = u32::MAX;

impl Queue {
    /// A queue that holds the elements of `initial`, the first one in front; nil is empty.
    ///
    /// # Errors
    /// A text if `initial` is not a sequence.
    pub fn new(initial: &Edn) -> Result<Queue, String> {
        let mut queue = Queue {
            values: Values::default(),
            states: States::default(),
            classes: Classes::default(),
            initial: State(0),
        };
        // A set does not say which element is in front.
        let is_ordered = !matches!(initial, Edn::Set(_));
        let items = initial_elements(initial).filter(|_| is_ordered);
        let items = items.ok_or("the value of a queue must be a sequence")?;
        let contents = items.iter().map(|item| queue.values.number(item)).collect();
        queue.initial = queue.states.number(contents, 0);
        Ok(queue)
    }

    /// The queue's elements after `action`; none if it is impossible.
    fn changed(&self, contents: &[u32], action: Action) -> Option<Vec<u32>> {
        match action {
            Action::Enqueue(value) => Some([contents, &[value]].concat()),
            Action::Dequeue(value) => {
                let (front, rest) = contents.split_first()?;
                (*front == value).then(|| rest.to_vec())
            }
            Action::Drop => Some(contents.split_first()?.1.to_vec()),
            Action::FindEmpty => contents.is_empty().then(Vec::new),
        }
    }

    /// `contents` without the differences that no operation of the history can notice.
    ///
    /// An element that no operation removes stays in front of all behind it for ever, so that
    /// neither its value nor the elements behind it matter. Small histories keep them, since
    /// a reader wants to see them.
    fn simplified(&self, mut contents: Vec<u32>) -> Vec<u32> {
        let is_stuck = |value: &u32| !self.classes.knows(&Action::Dequeue(*value));
        if self.states.are_many()
            && !self.classes.knows(&Action::Drop)
            && let Some(at) = contents.iter().position(is_stuck)
        {
            contents.truncate(at);
            contents.push(STUCK);
        }
        contents
    }

    fn elements(&self, state: State) -> Edn {
        let value = |number: &u32| match *number {
            STUCK => Edn::Symbol("_".into()),
            number => self.values.value(number).clone(),
        };
        Edn::Vector(self.states.contents(state).iter().map(value).collect())
    }
}

#[cfg(test)]
impl Queue {
    /// The same model, which simplifies from so many states on.
    pub(super) fn simplifying_from(mut self, many: usize) -> Queue {
        self.states.many = many;
        self
    }
}

impl Model for Queue {
    fn initial(&self) -> State {
        self.initial
    }

    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String> {
        let action = Action::of(op, &mut self.values)?;
        Ok(Some(self.classes.number(action)))
    }

    fn effect(&self, class: Class) -> Effect {
        match *self.classes.action(class) {
            Action::FindEmpty => Effect::Observe,
            Action::Enqueue(_) | Action::Dequeue(_) | Action::Drop => Effect::Update,
        }
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        if let Some(after) = self.states.known(state, class) {
            return after;
        }
        let after = self.changed(self.states.contents(state), *self.classes.action(class));
        let after = after.map(|contents| self.simplified(contents));
        let weighed = after.map(|contents| {
            let bytes = 8 * contents.len() + 150;
            (contents, bytes)
        });
        self.states.note((state, class), weighed)
    }

    fn weight(&self) -> usize {
        self.states.weight()
    }

    fn forget(&mut self) {
        self.states.forget();
    }

    fn state(&self, state: State) -> Edn {
        record("FIFOQueue", vec![(Edn::keyword("pending"), self.elements(state))])
    }

    fn describe(&self, state: State) -> String {
        self.elements(state).to_string()
    }

    fn refusal(&self, state: State, class: Class) -> String {
        self.classes.action(class).refusal(&self.elements(state), &self.values)
    }
}
