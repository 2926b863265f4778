//! A set: add an element, read them all. Knossos' `set`.
//!
//! `{:f :add :value x}`, `{:f :remove :value x}`, and `{:f :read}` of any collection, whose
//! order does not matter.

use std::collections::BTreeSet;

use super::super::classes::Classes;
use super::super::states::States;
use super::grow_only::{Step, is_explained};
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{CallId, Class, State, Timeline};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// The elements, by number.
type Contents = BTreeSet<u32>;

/// The effect of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Read(State),
    Add(u32),
    Remove(u32),
}

/// A set.
#[derive(Clone, Debug)]
pub struct Set {
    values: Values,
    states: States<Contents>,
    classes: Classes<Action>,
    initial: State,
    /// The elements that some read returned.
    read: Contents,
    is_removable: bool,
}

/// Stands for the elements that no read returned.
const UNREAD: u32 = u32::MAX;

/// About how many bytes a state takes.
fn weight(contents: &Contents) -> usize {
    12 * contents.len() + 150
}

impl Set {
    /// A set of the elements of `initial`; nil is empty.
    ///
    /// # Errors
    /// A text if `initial` is not a collection.
    pub fn new(initial: &Edn) -> Result<Set, String> {
        let (values, states, classes) = (Values::default(), States::default(), Classes::default());
        let mut set = Set {
            values,
            states,
            classes,
            initial: State(0),
            read: Contents::new(),
            is_removable: false,
        };
        set.initial = set.parse(initial)?;
        Ok(set)
    }

    fn parse(&mut self, value: &Edn) -> Result<State, String> {
        let items = match value {
            Edn::Nil => &[],
            Edn::Set(items) => items.as_slice(),
            other => other.as_seq().ok_or("the value of a set must be a collection")?,
        };
        let contents = items.iter().map(|item| self.values.number(item)).collect();
        let bytes = weight(&contents);
        Ok(self.states.number(contents, bytes))
    }

    /// `contents` without the differences that no operation of the history can notice: no read is
    /// possible any more if one element is there for ever that no read returned.
    fn simplified(&self, contents: Contents) -> Contents {
        let is_many = self.states.are_many() && !self.is_removable;
        if is_many && !contents.is_subset(&self.read) {
            return Contents::from([UNREAD]);
        }
        contents
    }

    fn elements(&self, state: State) -> Edn {
        let value = |number: &u32| match *number {
            UNREAD => Edn::Symbol("_".into()),
            number => self.values.value(number).clone(),
        };
        Edn::Set(self.states.contents(state).iter().map(value).collect())
    }
}

#[cfg(test)]
impl Set {
    /// The same model, which simplifies from so many states on.
    pub(super) fn simplifying_from(mut self, many: usize) -> Set {
        self.states.many = many;
        self
    }
}

impl Model for Set {
    fn initial(&self) -> State {
        self.initial
    }

    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String> {
        if let ("add" | "remove", Some(completed)) = (op.f, op.completed)
            && completed != op.invoked
            && !completed.is_nil()
        {
            return Err(format!("{} completed with another argument than its own", op.f));
        }
        let action = match (op.f, op.completed) {
            ("read", None) => return Ok(None),
            ("read", Some(value)) => {
                let state = self.parse(value)?;
                self.read.extend(self.states.contents(state));
                Action::Read(state)
            }
            ("add", _) => Action::Add(self.values.number(op.invoked)),
            ("remove", _) => {
                self.is_removable = true;
                Action::Remove(self.values.number(op.invoked))
            }
            (f, _) => return Err(format!("a set has no operation {f}")),
        };
        Ok(Some(self.classes.number(action)))
    }

    fn effect(&self, class: Class) -> Effect {
        match *self.classes.action(class) {
            Action::Read(_) => Effect::Observe,
            Action::Add(_) | Action::Remove(_) => Effect::Update,
        }
    }

    fn needs(&self, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Read(state) => Some(state),
            Action::Add(_) | Action::Remove(_) => None,
        }
    }

    fn leads_to(&self, class: Class) -> Option<State> {
        self.needs(class)
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        let action = *self.classes.action(class);
        if let Action::Read(there) = action {
            return (there == state).then_some(state);
        }
        if let Some(after) = self.states.known(state, class) {
            return after;
        }
        let mut contents = self.states.contents(state).clone();
        match action {
            Action::Add(element) => contents.insert(element),
            Action::Remove(element) => contents.remove(&element),
            Action::Read(_) => false,
        };
        let contents = self.simplified(contents);
        let bytes = weight(&contents);
        self.states.note((state, class), Some((contents, bytes)))
    }

    fn weight(&self) -> usize {
        self.states.weight()
    }

    fn forget(&mut self) {
        self.states.forget();
    }

    fn decides(&self, timeline: &Timeline, events: usize) -> Option<bool> {
        if self.is_removable {
            return None;
        }
        let step = |call: CallId| match *self.classes.action(timeline.call(call).class) {
            Action::Read(state) => Step::Read(state),
            Action::Add(element) | Action::Remove(element) => Step::Add(element),
        };
        let (events, initial) = (&timeline.events[..events], self.states.contents(self.initial));
        Some(is_explained(events, step, initial, |state| self.states.contents(state)))
    }

    fn state(&self, state: State) -> Edn {
        record("Set", vec![(Edn::keyword("s"), self.elements(state))])
    }

    fn describe(&self, state: State) -> String {
        self.elements(state).to_string()
    }

    fn refusal(&self, state: State, class: Class) -> String {
        let now = self.elements(state);
        match *self.classes.action(class) {
            Action::Read(read) => format!("can't read {} from {now}", self.elements(read)),
            Action::Add(element) => format!("can't add {}", self.values.value(element)),
            Action::Remove(element) => format!("can't remove {}", self.values.value(element)),
        }
    }
}
