//! What an object may do: sequential specifications by name.
//!
//! A [`Model`] numbers its states and the classes of operations, so that the
//! search handles small integers only, and tells which classes have the two simple
//! effects that the search exploits (see [`Effect`]).

mod append_kv;
mod multi_register;
mod mutex;
mod queue;
mod register;
mod set;

pub use append_kv::AppendKv;
pub use multi_register::MultiRegister;
pub use mutex::Mutex;
pub use queue::Queue;
pub use register::Register;
pub use set::Set;

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

    /// The only state in which `class` is possible, if there is exactly one. None where
    /// several are, or where the model does not know.
    fn needs(&self, class: Class) -> Option<State>;

    /// The only state to which `class` leads, if there is exactly one. None where
    /// several are, or where the model does not know.
    fn leads_to(&self, class: Class) -> Option<State>;

    /// The state after an operation of `class`, or none if it is impossible in
    /// `state`. Agrees with [`Model::effect`].
    fn step(&mut self, state: State, class: Class) -> Option<State>;

    /// About how many bytes the states take, where they grow with the history.
    fn weight(&self) -> usize {
        0
    }

    /// A state as Knossos prints it: `#knossos.model.CASRegister{:value 3}`.
    fn state(&self, state: State) -> Edn;

    /// A state in a sentence: `3`.
    fn describe(&self, state: State) -> String;

    /// Why an operation of `class` is impossible in `state`: `can't read 3 from
    /// register 1`.
    fn refusal(&self, state: State, class: Class) -> String;
}

/// The names that [`by_name`] knows.
pub const NAMES: [&str; 9] = [
    "register",
    "cas-register",
    "multi-register",
    "mutex",
    "append-kv",
    "set",
    "queue",
    "fifo-queue",
    "unordered-queue",
];

/// The model called `name`, from its usual beginning: nil, free, empty.
pub fn by_name(name: &str) -> Option<Box<dyn Model>> {
    from_initial(name, &Edn::Nil).ok()
}

/// The model called `name`, which begins with `initial`; nil is the usual beginning. A
/// `queue` is a `fifo-queue`.
///
/// # Errors
/// A text if there is no such model, or it cannot begin like that.
pub fn from_initial(name: &str, initial: &Edn) -> Result<Box<dyn Model>, String> {
    Ok(match name {
        "register" => Box::new(Register::plain().holding(initial)),
        "cas-register" => Box::new(Register::with_cas().holding(initial)),
        "multi-register" => Box::new(MultiRegister::new(initial)?),
        "mutex" => Box::new(Mutex::new(initial)?),
        "append-kv" => Box::new(AppendKv::new(initial)),
        "set" => Box::new(Set::new(initial)?),
        "queue" | "fifo-queue" => Box::new(Queue::new(true, initial)?),
        "unordered-queue" => Box::new(Queue::new(false, initial)?),
        _ => return Err(format!("there is no model {name}; there are {}", NAMES.join(", "))),
    })
}

/// A state or its refusal as Knossos prints it.
fn record(name: &str, entries: Vec<(Edn, Edn)>) -> Edn {
    Edn::tagged(format!("knossos.model.{name}"), Edn::Map(entries))
}

/// What Knossos prints in place of a state when a step is impossible.
pub(super) fn inconsistent(why: String) -> Edn {
    record("Inconsistent", vec![(Edn::keyword("msg"), Edn::str(why))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;
    use crate::check::linear::check;
    use crate::edn::parse;
    use crate::history::from_text;

    #[test]
    fn every_name_has_a_model() {
        for name in NAMES {
            assert!(by_name(name).is_some(), "{name}");
        }
        assert!(by_name("juggler").is_none());
    }

    /// Judges one operation that completed on an object that begins with `initial`.
    fn verdict(name: &str, initial: &str, [f, value]: [&str; 2]) -> Verdict {
        let model = from_initial(name, &parse(initial).expect("EDN")).expect("it fits");
        let text = format!(
            "{{:process 0 :type :invoke :f :{f} :value {value}}}\n\
             {{:process 0 :type :ok :f :{f} :value {value}}}"
        );
        check(model, &from_text(&text).expect("a history")).verdict
    }

    #[test]
    fn every_model_begins_with_the_value_given() {
        let cases = [
            ("register", "3", ["read", "3"], ["read", "nil"]),
            ("register", "[1 2]", ["read", "[1 2]"], ["read", "[2 1]"]),
            ("cas-register", "3", ["cas", "[3 4]"], ["cas", "[nil 4]"]),
            ("multi-register", "{x 1}", ["txn", "[[:r x 1] [:r y nil]]"], ["txn", "[[:r x nil]]"]),
            ("mutex", "true", ["release", "nil"], ["acquire", "nil"]),
            ("mutex", "false", ["acquire", "nil"], ["release", "nil"]),
            ("append-kv", "\"ab\"", ["get", "\"ab\""], ["get", "\"\""]),
            ("append-kv", "(1 2)", ["get", "[1 2]"], ["get", "[1]"]),
            ("set", "#{2 1}", ["read", "[1 2]"], ["read", "[]"]),
            ("set", "(1)", ["read", "#{1}"], ["read", "#{1 2}"]),
            ("queue", "[a b]", ["dequeue", "a"], ["dequeue", "b"]),
            ("fifo-queue", "(a b)", ["dequeue", "a"], ["dequeue", "nil"]),
            ("unordered-queue", "[a b]", ["dequeue", "b"], ["dequeue", "c"]),
        ];
        for (name, initial, good, bad) in cases {
            assert_eq!(verdict(name, initial, good), Verdict::Valid, "{name} {initial} {good:?}");
            assert_eq!(verdict(name, initial, bad), Verdict::Invalid, "{name} {initial} {bad:?}");
        }
        assert!(NAMES.iter().all(|name| cases.iter().any(|case| case.0 == *name)));
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_with_what_would() {
        let cases = [
            ("multi-register", "a map", ["3", "[1 2]", "\"s\"", "#{1}"]),
            ("mutex", "true (held) or false (free)", ["3", "[]", "\"true\"", ":held"]),
            ("set", "a collection", ["3", "{x 1}", "\"s\"", "true"]),
            ("queue", "a sequence", ["3", "{x 1}", "\"s\"", "#{1}"]),
            ("fifo-queue", "a sequence", ["3", "{x 1}", "\"s\"", "#{1}"]),
            ("unordered-queue", "a sequence", ["3", "{x 1}", "\"s\"", ":a"]),
        ];
        for (name, fits, values) in cases {
            for value in values {
                let refused = from_initial(name, &parse(value).expect("EDN")).map(|_| ());
                let why = refused.expect_err(name);
                assert!(why.contains("must be") && why.contains(fits), "{name} {value}: {why}");
            }
        }
    }
}
