//! Strings by key, read, overwritten and appended to: porcupine's key-value model.
//!
//! `{:f :append :value "x"}`, `{:f :put :value "x"}` (or `write`), and `{:f :get}` (or
//! `read`) of the whole value. A value is a string, where appending concatenates, or a
//! list, where it adds an element; whichever the history has. Of one key: nil and the
//! empty value are the same, since a client of such a service cannot tell them apart.

use std::collections::BTreeSet;

use compact_str::CompactString;

use super::super::classes::Classes;
use super::super::states::States;
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// The effect of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Get(State),
    Put(State),
    /// The number is that of a piece.
    Append(u32),
}

/// One key with a value that grows.
#[derive(Clone, Debug)]
pub struct AppendKv {
    /// None stands for all values that no read returns, however much is appended to them.
    states: States<Option<Edn>>,
    pieces: Values,
    classes: Classes<Action>,
    initial: State,
    read: Read,
}

/// The values that reads returned.
#[derive(Clone, Debug, Default)]
struct Read {
    strings: BTreeSet<CompactString>,
    lists: BTreeSet<Vec<Edn>>,
    /// Whether something is appended that is not a string, which makes a list of a string.
    is_mixed: bool,
}

impl Read {
    fn note(&mut self, value: &Edn) {
        match value {
            Edn::Str(text) => drop(self.strings.insert(text.clone())),
            Edn::Vector(items) => drop(self.lists.insert(items.clone())),
            _ => {}
        }
    }

    /// Whether no read returns `value`, however much is appended to it.
    fn is_out_of_reach(&self, value: &Edn) -> bool {
        // A value that begins with this one comes next after it in order.
        match value {
            Edn::Str(_) if self.is_mixed => false,
            Edn::Str(text) => {
                !self.strings.range(text.clone()..).next().is_some_and(|t| t.starts_with(&**text))
            }
            Edn::Vector(items) => {
                !self.lists.range(items.clone()..).next().is_some_and(|l| l.starts_with(items))
            }
            _ => false,
        }
    }
}

impl AppendKv {
    /// A key that holds `initial`; nil is empty.
    pub fn new(initial: &Edn) -> AppendKv {
        let mut states = States::default();
        let initial = states.number(Some(normal(initial)), 0);
        let (pieces, classes, read) = (Values::default(), Classes::default(), Read::default());
        AppendKv { states, pieces, classes, initial, read }
    }

    /// The value after an append of `piece`.
    ///
    /// Of values that no read returns until they are overwritten, no operation can tell one from
    /// another. Short histories keep them, since a reader wants to see them.
    fn appended(&self, state: State, piece: u32) -> Option<Edn> {
        let before = self.states.contents(state).as_ref()?;
        let after = concatenated(before, self.pieces.value(piece));
        let is_unread = self.states.are_many() && self.read.is_out_of_reach(&after);
        (!is_unread).then_some(after)
    }

    fn number(&mut self, value: Edn) -> State {
        self.states.number(Some(value), 0)
    }

    fn value(&self, state: State) -> Edn {
        self.states.contents(state).clone().unwrap_or_else(|| Edn::Symbol("_".into()))
    }
}

/// The empty value in one way only.
fn normal(value: &Edn) -> Edn {
    match value {
        Edn::Str(text) if text.is_empty() => Edn::Nil,
        Edn::List(items) if items.is_empty() => Edn::Nil,
        Edn::List(items) => Edn::Vector(items.clone()),
        Edn::Vector(items) if items.is_empty() => Edn::Nil,
        other => other.clone(),
    }
}

/// About how many bytes a value takes.
fn size(value: &Edn) -> usize {
    match value {
        Edn::Str(text) => text.len(),
        other => 64 * other.as_seq().map_or(1, <[Edn]>::len),
    }
}

/// `value` with `piece` at its end.
fn concatenated(value: &Edn, piece: &Edn) -> Edn {
    match (value, piece) {
        (Edn::Nil, Edn::Str(_)) => piece.clone(),
        (Edn::Str(text), Edn::Str(piece)) => Edn::str(format!("{text}{piece}")),
        (Edn::Vector(items), piece) => {
            Edn::Vector(items.iter().cloned().chain([piece.clone()]).collect())
        }
        (Edn::Nil, piece) => Edn::Vector(vec![piece.clone()]),
        (value, piece) => Edn::Vector(vec![value.clone(), piece.clone()]),
    }
}

#[cfg(test)]
impl AppendKv {
    /// The same model, which simplifies from so many states on.
    pub(super) fn simplifying_from(mut self, many: usize) -> AppendKv {
        self.states.many = many;
        self
    }
}

impl Model for AppendKv {
    fn initial(&self) -> State {
        self.initial
    }

    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String> {
        if let ("append" | "put" | "write", Some(completed)) = (op.f, op.completed)
            && completed != op.invoked
            && !completed.is_nil()
        {
            return Err(format!("{} completed with another argument than its own", op.f));
        }
        let action = match op.f {
            "get" | "read" => match op.completed {
                Some(value) => {
                    let value = normal(value);
                    self.read.note(&value);
                    Action::Get(self.number(value))
                }
                None => return Ok(None),
            },
            "put" | "write" => Action::Put(self.number(normal(op.invoked))),
            "append" => match op.invoked {
                // Appending nothing changes nothing.
                Edn::Str(text) if text.is_empty() => return Ok(None),
                piece => {
                    self.read.is_mixed |= !matches!(piece, Edn::Str(_));
                    Action::Append(self.pieces.number(piece))
                }
            },
            f => return Err(format!("an append-kv has no operation {f}")),
        };
        Ok(Some(self.classes.number(action)))
    }

    fn effect(&self, class: Class) -> Effect {
        match *self.classes.action(class) {
            Action::Get(_) => Effect::Observe,
            Action::Put(state) => Effect::Overwrite(state),
            Action::Append(_) => Effect::Update,
        }
    }

    fn needs(&self, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Get(state) => Some(state),
            Action::Put(_) | Action::Append(_) => None,
        }
    }

    fn leads_to(&self, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Get(state) | Action::Put(state) => Some(state),
            Action::Append(_) => None,
        }
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        let piece = match *self.classes.action(class) {
            Action::Get(read) => return (read == state).then_some(state),
            Action::Put(written) => return Some(written),
            Action::Append(piece) => piece,
        };
        if let Some(after) = self.states.known(state, class) {
            return after;
        }
        let after = self.appended(state, piece);
        let bytes = 160 + 2 * after.as_ref().map_or(0, size);
        self.states.note((state, class), Some((after, bytes)))
    }

    fn weight(&self) -> usize {
        self.states.weight()
    }

    fn forget(&mut self) {
        self.states.forget();
    }

    fn state(&self, state: State) -> Edn {
        record("AppendKV", vec![(Edn::keyword("value"), self.value(state))])
    }

    fn describe(&self, state: State) -> String {
        self.value(state).to_string()
    }

    fn refusal(&self, state: State, class: Class) -> String {
        let now = self.value(state);
        match *self.classes.action(class) {
            Action::Get(read) => format!("can't read {} from {now}", self.value(read)),
            Action::Put(written) => format!("can't write {}", self.value(written)),
            Action::Append(piece) => format!("can't append {}", self.pieces.value(piece)),
        }
    }
}
