//! Strings by key, read, overwritten and appended to: porcupine's key-value model.
//!
//! `{:f :append :value "x"}`, `{:f :put :value "x"}` (or `write`), and `{:f :get}` (or
//! `read`) of the whole value. A value is a string, where appending concatenates, or a
//! list, where it adds an element; whichever the history has. Of one key: nil and the
//! empty value are the same, since a client of such a service cannot tell them apart.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

use super::super::classes::Classes;
use super::super::states::MANY_STATES;
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// The effect of an operation, over numbered values.
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
    read: Read,
    /// How many values operations name.
    named: Option<usize>,
    /// After how many appends states are simplified; see [`MANY_STATES`].
    many: usize,
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

/// The number of all values that no read returns, however much is appended to them.
const UNREAD: u32 = u32::MAX;

impl AppendKv {
    /// A key that holds `initial`; nil is empty.
    pub fn new(initial: &Edn) -> AppendKv {
        let mut contents = Values::default();
        let initial = contents.number(&normal(initial));
        let (pieces, appended) = (Values::default(), BTreeMap::new());
        let classes = Classes::default();
        let read = Read::default();
        AppendKv {
            contents,
            pieces,
            appended,
            classes,
            initial,
            weight: 0,
            read,
            named: None,
            many: MANY_STATES,
        }
    }

    /// The state after an append of `piece`.
    ///
    /// Of values that no read returns until they are overwritten, no operation can tell one from
    /// another. Short histories keep them, since a reader wants to see them.
    fn append(&mut self, state: u32, piece: u32) -> u32 {
        if state == UNREAD {
            return UNREAD;
        }
        if let Some(after) = self.appended.get(&(state, piece)) {
            return *after;
        }
        self.named.get_or_insert(self.contents.len());
        let after = concatenated(self.contents.value(state), self.pieces.value(piece));
        let is_unread = self.appended.len() >= self.many && self.read.is_out_of_reach(&after);
        let after = if is_unread {
            self.weight += 40;
            UNREAD
        } else {
            self.weight += 2 * size(&after) + 200;
            self.contents.number(&after)
        };
        self.appended.insert((state, piece), after);
        after
    }

    fn value(&self, state: u32) -> Edn {
        if state == UNREAD { Edn::Symbol("_".into()) } else { self.contents.value(state).clone() }
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
        self.many = many;
        self
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
                Some(value) => {
                    let value = normal(value);
                    self.read.note(&value);
                    Action::Get(self.contents.number(&value))
                }
                None => return Ok(None),
            },
            "put" | "write" => Action::Put(self.contents.number(&normal(op.invoked))),
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
            Action::Append(piece) => Some(State(self.append(state.0, piece))),
        }
    }

    fn weight(&self) -> usize {
        self.weight
    }

    fn forget(&mut self) {
        if let Some(count) = self.named.take() {
            self.contents.truncate(count);
            self.appended.clear();
            self.weight = 0;
        }
    }

    fn state(&self, state: State) -> Edn {
        record("AppendKV", vec![(Edn::keyword("value"), self.value(state.0))])
    }

    fn describe(&self, state: State) -> String {
        self.value(state.0).to_string()
    }

    fn refusal(&self, state: State, class: Class) -> String {
        let now = self.value(state.0);
        match *self.classes.action(class) {
            Action::Get(value) => format!("can't read {} from {now}", self.contents.value(value)),
            Action::Put(value) => format!("can't write {}", self.contents.value(value)),
            Action::Append(piece) => format!("can't append {}", self.pieces.value(piece)),
        }
    }
}
