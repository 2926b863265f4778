//! The contract between a model and the search.

use crate::check::linear::timeline::{Class, State, Timeline};
use crate::edn::Edn;

/// How a class of operations acts on states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It never changes the state: a read.
    Observe,
    /// It is possible in every state and always leads to this one: a blind write.
    Overwrite(State),
    /// Anything else.
    Update,
}

/// One operation, as the history has it.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The function's name.
    pub f: &'a str,
    /// The argument.
    pub invoked: &'a Edn,
    /// The result, unless the operation is indeterminate.
    pub completed: Option<&'a Edn>,
}

/// A sequential specification.
pub trait Model {
    /// The state at the beginning.
    fn initial(&self) -> State;

    /// The class of an operation; none if it can have no effect that any other call would
    /// notice (an indeterminate read).
    ///
    /// # Errors
    ///
    /// A text if the object has no such operation: the history is malformed.
    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String>;

    /// How operations of `class` act.
    fn effect(&self, class: Class) -> Effect;

    /// The only state in which `class` is possible, if there is exactly one. None where
    /// several are, or where the model does not know.
    fn needs(&self, _class: Class) -> Option<State> {
        None
    }

    /// The only state to which `class` leads, if there is exactly one. None where
    /// several are, or where the model does not know.
    fn leads_to(&self, _class: Class) -> Option<State> {
        None
    }

    /// The state after an operation of `class`, or none if it is impossible in
    /// `state`. Agrees with [`Model::effect`].
    fn step(&mut self, state: State, class: Class) -> Option<State>;

    /// About how many bytes the states take, where they grow with the history.
    fn weight(&self) -> usize {
        0
    }

    /// Forgets all states but the initial one and those that operations name. Their numbers mean
    /// other states afterwards.
    fn forget(&mut self) {}

    /// Whether some order of effects explains the first `events` of `timeline`, where that can be told
    /// without a search. None if it cannot.
    fn decides(&self, _timeline: &Timeline, _events: usize) -> Option<bool> {
        None
    }

    /// A state as Knossos prints it: `#knossos.model.CASRegister{:value 3}`.
    fn state(&self, state: State) -> Edn;

    /// A state in a sentence: `3`.
    fn describe(&self, state: State) -> String;

    /// Why an operation of `class` is impossible in `state`: `can't read 3 from
    /// register 1`.
    fn refusal(&self, state: State, class: Class) -> String;
}

/// A state or its refusal as Knossos prints it.
pub(super) fn record(name: &str, entries: Vec<(Edn, Edn)>) -> Edn {
    Edn::tagged(format!("knossos.model.{name}"), Edn::Map(entries))
}

/// Returns the record that Knossos prints in place of a state when a step is impossible.
pub(in crate::check::linear) fn inconsistent(why: String) -> Edn {
    record("Inconsistent", vec![(Edn::keyword("msg"), Edn::str(why))])
}
