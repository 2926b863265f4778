//! Strings by key, read, overwritten and appended to: porcupine's key-value model.
//!
//! `{:f :append :value "x"}`, `{:f :put :value "x"}` (or `write`), and `{:f :get}` (or
//! `read`) of the whole value. A value is a string, where appending concatenates, or a
//! list, where it adds an element; whichever the history has. Of one key: nil and the
//! empty value are the same, since a client of such a service cannot tell them apart.

use std::collections::BTreeMap;

use super::super::classes::Classes;
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// What an operation does, over numbered values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    /// The number is that of a state.
    Get(u32),
    Put(u32),
    /// The number is that of a piece.
    Append(u32),
}

/// One key with a value that grows.
#[derive(Clone, Debug)]
pub struct AppendKv {
    /// Contents; their numbers are the states.
    contents: Values,
    pieces: Values,
    appended: BTreeMap<(u32, u32), u32>,
    classes: Classes<Action>,
    initial: u32,
    weight: usize,
}

impl AppendKv {
    /// A key that holds `initial`; nil is empty.
    pub fn new(initial: &Edn) -> AppendKv {
        let mut contents = Values::default();
        let initial = contents.number(&normal(initial));
        let (pieces, appended) = (Values::default(), BTreeMap::new());
        let classes = Classes::default();
        AppendKv { contents, pieces, appended, classes, initial, weight: 0 }
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

impl Model for AppendKv {
    fn initial(&self) -> State {
        State(self.initial)
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
                Some(value) => Action::Get(self.contents.number(&normal(value))),
                None => return Ok(None),
            },
            "put" | "write" => Action::Put(self.contents.number(&normal(op.invoked))),
            "append" => match op.invoked {
                // Appending nothing changes nothing.
                Edn::Str(text) if text.is_empty() => return Ok(None),
                piece => Action::Append(self.pieces.number(piece)),
            },
            f => return Err(format!("an append-kv has no operation {f}")),
        };
        Ok(Some(self.classes.number(action)))
    }

    fn effect(&self, class: Class) -> Effect {
        match *self.classes.action(class) {
            Action::Get(_) => Effect::Observe,
            Action::Put(value) => Effect::Overwrite(State(value)),
            Action::Append(_) => Effect::Update,
        }
    }

    fn needs(&self, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Get(value) => Some(State(value)),
            Action::Put(_) | Action::Append(_) => None,
        }
    }

    fn leads_to(&self, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Get(value) | Action::Put(value) => Some(State(value)),
            Action::Append(_) => None,
        }
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        match *self.classes.action(class) {
            Action::Get(value) => (state.0 == value).then_some(state),
            Action::Put(value) => Some(State(value)),
            Action::Append(piece) => {
                if let Some(after) = self.appended.get(&(state.0, piece)) {
                    return Some(State(*after));
                }
                let after = concatenated(self.contents.value(state.0), self.pieces.value(piece));
                self.weight += 2 * size(&after) + 200;
                let after = self.contents.number(&after);
                self.appended.insert((state.0, piece), after);
                Some(State(after))
            }
        }
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn state(&self, state: State) -> Edn {
        record("AppendKV", vec![(Edn::keyword("value"), self.contents.value(state.0).clone())])
    }

    fn describe(&self, state: State) -> String {
        self.contents.value(state.0).to_string()
    }

    fn refusal(&self, state: State, class: Class) -> String {
        let now = self.contents.value(state.0);
        match *self.classes.action(class) {
            Action::Get(value) => format!("can't read {} from {now}", self.contents.value(value)),
            Action::Put(value) => format!("can't write {}", self.contents.value(value)),
            Action::Append(piece) => format!("can't append {}", self.pieces.value(piece)),
        }
    }
}
