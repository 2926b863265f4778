//! One register: read, write and, if it has it, compare-and-set. Initially nil, unless said otherwise.
//!
//! Stricter than Knossos in one point, on purpose: a read that returned nil saw
//! nil. Knossos lets it pass in every state.

use super::super::classes::Classes;
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// The effect of an operation, over numbered values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Read(u32),
    Write(u32),
    Cas(u32, u32),
}

/// A register. Its state is the number of its value.
#[derive(Clone, Debug)]
pub struct Register {
    has_cas: bool,
    values: Values,
    classes: Classes<Action>,
    initial: State,
}

impl Register {
    /// A register with read and write.
    pub fn plain() -> Register {
        let mut values = Values::default();
        assert_eq!(values.number(&Edn::Nil), 0, "the first number is the initial value's");
        let classes = Classes::default();
        Register { has_cas: false, values, classes, initial: State(0) }
    }

    /// The same that holds `value` at the beginning.
    #[must_use]
    pub fn holding(mut self, value: &Edn) -> Register {
        self.initial = State(self.values.number(value));
        self
    }

    /// A register with read, write and compare-and-set.
    pub fn with_cas() -> Register {
        Register { has_cas: true, ..Register::plain() }
    }

    /// Turns an operation into an action; none for an indeterminate read.
    fn parse(&mut self, op: Observed<'_>) -> Result<Option<Action>, String> {
        if let ("write" | "cas", Some(completed)) = (op.f, op.completed)
            && completed != op.invoked
        {
            return Err(format!("a {} completed with another argument than its own", op.f));
        }
        match op.f {
            "read" => Ok(op.completed.map(|value| Action::Read(self.values.number(value)))),
            "write" => Ok(Some(Action::Write(self.values.number(op.invoked)))),
            "cas" if self.has_cas => match op.invoked.as_seq() {
                Some([from, to]) => {
                    let (from, to) = (self.values.number(from), self.values.number(to));
                    // Setting the value that is there already is a read, and one that no client
                    // saw succeed is nothing.
                    let is_read = from == to;
                    match op.completed {
                        None if is_read => Ok(None),
                        Some(_) if is_read => Ok(Some(Action::Read(from))),
                        _ => Ok(Some(Action::Cas(from, to))),
                    }
                }
                _ => Err("the value of a cas must be [from to]".into()),
            },
            f => Err(format!("a register has no operation {f}")),
        }
    }
}

impl Model for Register {
    fn initial(&self) -> State {
        self.initial
    }

    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String> {
        let action = self.parse(op)?;
        Ok(action.map(|action| self.classes.number(action)))
    }

    fn effect(&self, class: Class) -> Effect {
        match *self.classes.action(class) {
            Action::Read(_) => Effect::Observe,
            Action::Write(value) => Effect::Overwrite(State(value)),
            Action::Cas(..) => Effect::Update,
        }
    }

    fn needs(&self, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Read(value) | Action::Cas(value, _) => Some(State(value)),
            Action::Write(_) => None,
        }
    }

    fn leads_to(&self, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Read(value) | Action::Write(value) | Action::Cas(_, value) => {
                Some(State(value))
            }
        }
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Read(value) => (state.0 == value).then_some(state),
            Action::Write(value) => Some(State(value)),
            Action::Cas(from, to) => (state.0 == from).then_some(State(to)),
        }
    }

    fn state(&self, state: State) -> Edn {
        let name = if self.has_cas { "CASRegister" } else { "Register" };
        record(name, vec![(Edn::keyword("value"), self.values.value(state.0).clone())])
    }

    fn describe(&self, state: State) -> String {
        self.values.value(state.0).to_string()
    }

    fn refusal(&self, state: State, class: Class) -> String {
        let text = |value| self.values.value(value);
        let now = text(state.0);
        match *self.classes.action(class) {
            Action::Read(value) => format!("can't read {} from register {now}", text(value)),
            Action::Write(value) => format!("can't write {}", text(value)),
            Action::Cas(from, to) => format!("can't CAS {now} from {} to {}", text(from), text(to)),
        }
    }
}
