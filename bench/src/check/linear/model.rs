//! What an object may do: sequential specifications by name.
//!
//! A [`Model`] numbers its states and the classes of operations, so that the
//! search handles small integers only, and tells which classes have the two simple
//! effects that the search exploits (see [`Effect`]).

mod multi_register;
mod mutex;
mod register;

pub use multi_register::MultiRegister;
pub use mutex::Mutex;
pub use register::Register;

use super::timeline::{Class, State};
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

    /// The class of an operation; none if it can have no effect that anybody would
    /// notice (an indeterminate read).
    ///
    /// # Errors
    ///
    /// A text if the object has no such operation: the history is malformed.
    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String>;

    /// How operations of `class` act.
    fn effect(&self, class: Class) -> Effect;

    /// The state after an operation of `class`, or none if it is impossible in
    /// `state`. Agrees with [`Model::effect`].
    fn step(&mut self, state: State, class: Class) -> Option<State>;

    /// A state as Knossos prints it: `#knossos.model.CASRegister{:value 3}`.
    fn state(&self, state: State) -> Edn;

    /// A state in a sentence: `3`.
    fn describe(&self, state: State) -> String;

    /// Why an operation of `class` is impossible in `state`: `can't read 3 from
    /// register 1`.
    fn refusal(&self, state: State, class: Class) -> String;
}

/// The names that [`by_name`] knows.
pub const NAMES: [&str; 4] = ["register", "cas-register", "multi-register", "mutex"];

/// The model called `name`.
pub fn by_name(name: &str) -> Option<Box<dyn Model>> {
    match name {
        "register" => Some(Box::new(Register::plain())),
        "cas-register" => Some(Box::new(Register::with_cas())),
        "multi-register" => Some(Box::new(MultiRegister::default())),
        "mutex" => Some(Box::new(Mutex)),
        _ => None,
    }
}

/// A state or its refusal as Knossos prints it.
fn record(name: &str, entries: Vec<(Edn, Edn)>) -> Edn {
    Edn::Tagged(format!("knossos.model.{name}").into(), Box::new(Edn::Map(entries)))
}

/// What Knossos prints in place of a state when a step is impossible.
pub(super) fn inconsistent(why: String) -> Edn {
    record("Inconsistent", vec![(Edn::keyword("msg"), Edn::str(why))])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_model() {
        for name in NAMES {
            assert!(by_name(name).is_some(), "{name}");
        }
        assert!(by_name("queue").is_none());
    }
}
