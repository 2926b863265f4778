//! Queues: enqueue, dequeue. Knossos' `fifo-queue` and `unordered-queue`.
//!
//! A dequeue that returned nil found the queue empty. An indeterminate dequeue of the
//! ordered queue removes what is in front. Of the unordered one it could be any element; but
//! then what is left allows less than before, unless some dequeue found the queue
//! empty, so that leaving it out is exact there and refused otherwise.

use std::collections::BTreeMap;

use super::super::classes::Classes;
use super::super::states::States;
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// What an operation does, over numbered values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Enqueue(u32),
    Dequeue(u32),
    /// A dequeue of unknown result.
    Drop,
    FindEmpty,
}

const NO_SEQUENCE: &str = "the value of a queue must be a sequence";

/// A queue, initially empty or with the elements given.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Whether elements leave in the order in which they came.
    is_ordered: bool,
    values: Values,
    states: States<Vec<u32>>,
    after: BTreeMap<(State, Class), Option<State>>,
    classes: Classes<Action>,
    initial: State,
    /// Whether a dequeue of unknown result was left out.
    is_vague: bool,
}

impl Queue {
    /// A queue that holds the elements of `initial`, the first one in front; nil is empty.
    ///
    /// # Errors
    /// A text if `initial` is not a sequence.
    pub fn new(is_ordered: bool, initial: &Edn) -> Result<Queue, String> {
        let mut queue = Queue {
            is_ordered,
            values: Values::default(),
            states: States::default(),
            after: BTreeMap::new(),
            classes: Classes::default(),
            initial: State(0),
            is_vague: false,
        };
        let items = match initial {
            Edn::Nil => &[],
            // A set does not say what is in front.
            Edn::Set(_) if is_ordered => return Err(NO_SEQUENCE.into()),
            other => other.as_seq().ok_or(NO_SEQUENCE)?,
        };
        let mut contents: Vec<u32> = items.iter().map(|item| queue.values.number(item)).collect();
        if !is_ordered {
            contents.sort_unstable();
        }
        queue.initial = queue.state_of(contents);
        Ok(queue)
    }

    fn state_of(&mut self, contents: Vec<u32>) -> State {
        let bytes = 8 * contents.len() + 100;
        self.states.number(contents, bytes)
    }

    /// What is in the queue after `action`; none if it is impossible.
    fn changed(&self, contents: &[u32], action: Action) -> Option<Vec<u32>> {
        let mut contents = contents.to_vec();
        match action {
            Action::Enqueue(value) => {
                let sorted = contents.partition_point(|other| *other <= value);
                contents.insert(if self.is_ordered { contents.len() } else { sorted }, value);
            }
            Action::Dequeue(value) => {
                let at = contents.iter().position(|other| *other == value)?;
                if self.is_ordered && at > 0 {
                    return None;
                }
                contents.remove(at);
            }
            Action::Drop => {
                contents.first()?;
                contents.remove(0);
            }
            Action::FindEmpty => return contents.is_empty().then_some(contents),
        }
        Some(contents)
    }

    fn elements(&self, state: State) -> Edn {
        let contents = self.states.contents(state);
        Edn::Vector(contents.iter().map(|number| self.values.value(*number).clone()).collect())
    }
}

impl Model for Queue {
    fn initial(&self) -> State {
        self.initial
    }

    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String> {
        if let ("enqueue", Some(completed)) = (op.f, op.completed)
            && completed != op.invoked
            && !completed.is_nil()
        {
            return Err("an enqueue completed with another argument than its own".into());
        }
        let action = match (op.f, op.completed) {
            ("enqueue", _) => Action::Enqueue(self.values.number(op.invoked)),
            ("dequeue", None) if self.is_ordered => Action::Drop,
            ("dequeue", None) => {
                self.is_vague = true;
                return self.refuse().map(|()| None);
            }
            ("dequeue", Some(Edn::Nil)) => Action::FindEmpty,
            ("dequeue", Some(value)) => Action::Dequeue(self.values.number(value)),
            (f, _) => return Err(format!("a queue has no operation {f}")),
        };
        let class = self.classes.number(action);
        self.refuse().map(|()| Some(class))
    }

    fn effect(&self, class: Class) -> Effect {
        match *self.classes.action(class) {
            Action::FindEmpty => Effect::Observe,
            Action::Enqueue(_) | Action::Dequeue(_) | Action::Drop => Effect::Update,
        }
    }

    fn needs(&self, _: Class) -> Option<State> {
        None
    }

    fn leads_to(&self, _: Class) -> Option<State> {
        None
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        if let Some(after) = self.after.get(&(state, class)) {
            return *after;
        }
        let after = self.changed(self.states.contents(state), *self.classes.action(class));
        let after = after.map(|contents| self.state_of(contents));
        self.after.insert((state, class), after);
        after
    }

    fn weight(&self) -> usize {
        self.states.weight() + 64 * self.after.len()
    }

    fn state(&self, state: State) -> Edn {
        let name = if self.is_ordered { "FIFOQueue" } else { "UnorderedQueue" };
        record(name, vec![(Edn::keyword("pending"), self.elements(state))])
    }

    fn describe(&self, state: State) -> String {
        self.elements(state).to_string()
    }

    fn refusal(&self, state: State, class: Class) -> String {
        let now = self.elements(state);
        match *self.classes.action(class) {
            Action::Enqueue(value) => format!("can't enqueue {}", self.values.value(value)),
            Action::Dequeue(value) => {
                format!("can't dequeue {} from {now}", self.values.value(value))
            }
            Action::Drop => "can't dequeue from an empty queue".into(),
            Action::FindEmpty => format!("can't find {now} empty"),
        }
    }
}

impl Queue {
    /// Refuses a history of which leaving out vague dequeues would be wrong.
    fn refuse(&self) -> Result<(), String> {
        let finds_empty = self.classes.knows(&Action::FindEmpty);
        if self.is_vague && finds_empty {
            return Err(
                "an unordered queue with dequeues of unknown result and others that found \
                        it empty cannot be judged"
                    .into(),
            );
        }
        Ok(())
    }
}
