//! A queue whose elements leave in any order. Knossos' `unordered-queue`.
//!
//! A dequeue that returned nil found the queue empty. An indeterminate dequeue removes one of
//! the elements, and nothing tells which. So a state is the set of all contents that are possible:
//! an operation is possible if it is for one of them, and leaves those for which it is. That
//! is exact, by the construction that turns a nondeterministic automaton into a
//! deterministic one. (Knossos knows nothing of the value of such a dequeue and never lets
//! it take effect, so that it accuses a correct queue that is then found empty; porcupine
//! leaves the choice to the author of a model, and has the same construction for it.)
//!
//! If no operation found the queue empty, no operation needs the absence of an element. Then an
//! indeterminate dequeue only takes possibilities away, and is left out.

use std::collections::BTreeSet;

use super::super::classes::Classes;
use super::super::states::States;
use super::queue_action::{Action, initial_elements, vector_of};
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// Numbers of elements, in order.
type Elements = Vec<u32>;

/// All that a queue can contain, without repetition.
type Possible = BTreeSet<Elements>;

/// The most contents that a state tells apart: beyond, the search gives up.
const MAX_POSSIBLE: usize = 5_000;

/// A queue, initially empty or with the elements given.
#[derive(Clone, Debug)]
pub struct UnorderedQueue {
    values: Values,
    states: States<Possible>,
    classes: Classes<Action>,
    initial: State,
    /// Whether a state had more than [`MAX_POSSIBLE`] contents.
    is_overfull: bool,
}

impl UnorderedQueue {
    /// A queue that holds the elements of `initial`; nil is empty.
    ///
    /// # Errors
    /// A text if `initial` is not a collection.
    pub fn new(initial: &Edn) -> Result<UnorderedQueue, String> {
        let mut queue = UnorderedQueue {
            values: Values::default(),
            states: States::default(),
            classes: Classes::default(),
            initial: State(0),
            is_overfull: false,
        };
        let items = initial_elements(initial);
        let items = items.ok_or("the value of a queue must be a sequence")?;
        let mut contents: Vec<u32> = items.iter().map(|item| queue.values.number(item)).collect();
        contents.sort_unstable();
        queue.initial = queue.states.number(Possible::from([contents]), 0);
        Ok(queue)
    }

    /// Whether an operation found the queue empty.
    fn is_found_empty(&self) -> bool {
        self.classes.knows(&Action::FindEmpty)
    }

    /// Whether no operation of the history notices if an element is there.
    fn is_unnoticed(&self, value: u32) -> bool {
        let is_dequeued = self.classes.knows(&Action::Dequeue(value));
        // Small histories keep all elements, since a reader wants to see them.
        self.states.are_many() && !self.is_found_empty() && !is_dequeued
    }

    /// All that a queue of `contents` can contain after `action`.
    fn changed(&self, contents: &[u32], action: Action) -> Vec<Elements> {
        let without = |at: usize| [&contents[..at], &contents[at + 1..]].concat();
        match action {
            Action::Enqueue(value) if self.is_unnoticed(value) => vec![contents.to_vec()],
            Action::Enqueue(value) => {
                let at = contents.partition_point(|other| *other <= value);
                vec![[&contents[..at], &[value], &contents[at..]].concat()]
            }
            Action::Dequeue(value) => {
                contents.binary_search(&value).map(without).into_iter().collect()
            }
            Action::Drop => {
                let is_first = |at: &usize| *at == 0 || contents[*at - 1] != contents[*at];
                (0..contents.len()).filter(is_first).map(without).collect()
            }
            Action::FindEmpty if contents.is_empty() => vec![Vec::new()],
            Action::FindEmpty => Vec::new(),
        }
    }

    /// The contents that are possible; one if it is certain.
    fn contents(&self, state: State) -> Edn {
        let possible = self.states.contents(state).iter();
        let mut possible = possible.map(|contents| vector_of(contents, &self.values));
        match (possible.next(), possible.next()) {
            (Some(only), None) => only,
            (first, second) => Edn::Set(first.into_iter().chain(second).chain(possible).collect()),
        }
    }
}

#[cfg(test)]
impl UnorderedQueue {
    /// The same model, which simplifies from so many states on.
    pub(super) fn simplifying_from(mut self, many: usize) -> UnorderedQueue {
        self.states.many = many;
        self
    }
}

impl Model for UnorderedQueue {
    fn initial(&self) -> State {
        self.initial
    }

    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String> {
        let action = Action::of(op, &mut self.values)?;
        Ok(Some(self.classes.number(action)))
    }

    fn effect(&self, class: Class) -> Effect {
        match *self.classes.action(class) {
            // It tells the values that dequeues of unknown result removed.
            Action::FindEmpty if self.classes.knows(&Action::Drop) => Effect::Update,
            // Then it only takes possibilities away.
            Action::Drop if !self.is_found_empty() => Effect::Observe,
            Action::FindEmpty => Effect::Observe,
            Action::Enqueue(_) | Action::Dequeue(_) | Action::Drop => Effect::Update,
        }
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        if let Some(after) = self.states.known(state, class) {
            return after;
        }
        let action = *self.classes.action(class);
        if action == Action::Drop && !self.is_found_empty() {
            return Some(state);
        }
        let mut possible = Possible::new();
        for contents in self.states.contents(state) {
            possible.extend(self.changed(contents, action));
            if possible.len() > MAX_POSSIBLE {
                self.is_overfull = true;
                return None;
            }
        }
        let bytes = possible.iter().map(|contents| 8 * contents.len() + 100).sum::<usize>() + 100;
        let weighed = (!possible.is_empty()).then_some((possible, bytes));
        self.states.note((state, class), weighed)
    }

    fn weight(&self) -> usize {
        // Steps that were left out must not decide anything.
        if self.is_overfull {
            return usize::MAX;
        }
        self.states.weight()
    }

    fn forget(&mut self) {
        self.states.forget();
        self.is_overfull = false;
    }

    fn state(&self, state: State) -> Edn {
        record("UnorderedQueue", vec![(Edn::keyword("pending"), self.contents(state))])
    }

    fn describe(&self, state: State) -> String {
        self.contents(state).to_string()
    }

    fn refusal(&self, state: State, class: Class) -> String {
        self.classes.action(class).refusal(&self.contents(state), &self.values)
    }
}

#[cfg(test)]
mod tests {
    use rand_core::{Rng, SeedableRng};
    use rand_pcg::Pcg64Mcg;

    use super::*;
    use crate::check::linear::brute;
    use crate::check::linear::finding::Finding;
    use crate::check::linear::search::{Limits, search};
    use crate::check::linear::timeline::{Call, Timeline};

    /// The argument and the result of an operation, and where it begins and returns.
    type Operation = (&'static str, Edn, Option<Edn>, usize, Option<usize>);

    fn timeline(model: &mut UnorderedQueue, operations: &[Operation]) -> Timeline {
        let call = |(f, invoked, completed, from, to): &Operation| {
            let op = Observed { f, invoked, completed: completed.as_ref() };
            let class = model.classify(op).expect("well-formed").expect("it has an effect");
            Call { class, invoked: *from, returned: *to }
        };
        Timeline::new(operations.iter().map(call).collect())
    }

    /// Whether an order of effects exists for some result of each dequeue whose result is unknown:
    /// one of the values, or no effect at all.
    fn by_definition(operations: &[Operation]) -> bool {
        let Some(at) = operations.iter().position(|op| op.0 == "dequeue" && op.2.is_none()) else {
            let mut model = UnorderedQueue::new(&Edn::Nil).expect("empty");
            let timeline = timeline(&mut model, operations);
            return brute::is_linearizable(&mut model, &timeline);
        };
        let mut without = operations.to_vec();
        without.remove(at);
        // A certain dequeue that returns after all others took effect or found no time to.
        let with = |value: i64| {
            let mut with = operations.to_vec();
            (with[at].2, with[at].4) = (Some(Edn::Int(value)), Some(1000 + at));
            by_definition(&with)
        };
        by_definition(&without) || (0..2).any(with)
    }

    fn drawn(seed: u64) -> Vec<Operation> {
        let mut rng = Pcg64Mcg::seed_from_u64(seed);
        let mut below = |bound: u64| rng.next_u64() % bound;
        let mut operations = Vec::new();
        for at in 0..3 + below(4) as usize {
            let value = Edn::Int(below(2) as i64);
            let (from, to) = (10 * at, 10 * at + 1 + 10 * below(3) as usize + at);
            operations.push(match below(8) {
                0..3 => ("enqueue", value.clone(), Some(value), from, Some(to)),
                3 => ("enqueue", value, None, from, None),
                4 => ("dequeue", Edn::Nil, Some(value), from, Some(to)),
                5 => ("dequeue", Edn::Nil, None, from, None),
                _ => ("dequeue", Edn::Nil, Some(Edn::Nil), from, Some(to)),
            });
        }
        operations
    }

    #[test]
    fn an_indeterminate_dequeue_removed_any_element_or_none() {
        let mut counts = [0, 0];
        for operations in (0..4000).map(drawn) {
            let mut model = UnorderedQueue::new(&Edn::Nil).expect("empty");
            let timeline = timeline(&mut model, &operations);
            let expected = by_definition(&operations);
            match search(&mut model, &timeline, Limits::DEFAULT) {
                Finding::Linearizable(_) => assert!(expected, "{operations:?}"),
                Finding::Violation { .. } => assert!(!expected, "{operations:?}"),
                Finding::GaveUp { reason } => panic!("{reason}: {operations:?}"),
            }
            let is_vague = operations.iter().any(|op| op.0 == "dequeue" && op.2.is_none())
                && operations.iter().any(|op| op.2 == Some(Edn::Nil));
            counts[usize::from(expected)] += usize::from(is_vague);
        }
        assert!(counts[0] > 200 && counts[1] > 200, "{counts:?}");
    }

    #[test]
    fn a_queue_with_too_many_possible_contents_is_not_judged() {
        let mut operations: Vec<Operation> = Vec::new();
        for at in 0..16 {
            let value = Edn::from(at);
            operations.push(("enqueue", value.clone(), Some(value), 10 * at, Some(10 * at + 1)));
            operations.push(("dequeue", Edn::Nil, None, 1000 + at, None));
        }
        operations.push(("dequeue", Edn::Nil, Some(Edn::Nil), 2000, Some(2001)));
        let mut model = UnorderedQueue::new(&Edn::Nil).expect("empty");
        let timeline = timeline(&mut model, &operations);
        let finding = search(&mut model, &timeline, Limits::DEFAULT);
        assert!(matches!(&finding, Finding::GaveUp { reason } if reason.contains("too large")));
    }
}
