//! Several registers, read and written together: `[[:r k v] [:w k v]]`.
//!
//! The micro-operations of one operation take effect in their order and at one
//! point in time. As with the single register, a read of nil saw nil.

use std::collections::BTreeMap;

use super::super::classes::Classes;
use super::super::states::States;
use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::check::linear::values::Values;
use crate::edn::Edn;

/// A read or write of one register, over numbered keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct MicroOp {
    is_write: bool,
    key: u32,
    value: u32,
}

/// The value of every key that is not nil.
type Contents = BTreeMap<u32, u32>;

/// Registers by key, each initially nil.
#[derive(Clone, Debug)]
pub struct MultiRegister {
    keys: Values,
    values: Values,
    states: States<Contents>,
    classes: Classes<Vec<MicroOp>>,
    initial: State,
}

/// The number of nil.
const NIL: u32 = 0;

impl Default for MultiRegister {
    fn default() -> MultiRegister {
        let mut values = Values::default();
        assert_eq!(values.number(&Edn::Nil), NIL, "the first number is the initial value's");
        let (keys, classes) = (Values::default(), Classes::default());
        let mut states = States::default();
        let initial = states.number(Contents::new(), 0);
        MultiRegister { keys, values, states, classes, initial }
    }
}

impl MultiRegister {
    /// Registers with the values of the map `initial`; nil is an empty one.
    ///
    /// # Errors
    /// A text if `initial` is not a map.
    pub fn new(initial: &Edn) -> Result<MultiRegister, String> {
        let mut model = MultiRegister::default();
        let mut contents = Contents::new();
        let entries = if initial.is_nil() { Some(&[][..]) } else { initial.entries() };
        for (key, value) in entries.ok_or("the value of a multi-register must be a map")? {
            if !value.is_nil() {
                contents.insert(model.keys.number(key), model.values.number(value));
            }
        }
        model.initial = model.states.number(contents, 0);
        Ok(model)
    }

    fn parse(&mut self, value: &Edn) -> Option<Vec<MicroOp>> {
        let mut micro_ops = Vec::new();
        for micro_op in value.as_seq()? {
            let [f, key, value] = micro_op.as_seq()? else { return None };
            let is_write = match f.as_text()? {
                "r" | "read" => false,
                "w" | "write" => true,
                _ => return None,
            };
            let (key, value) = (self.keys.number(key), self.values.number(value));
            micro_ops.push(MicroOp { is_write, key, value });
        }
        Some(micro_ops)
    }

    fn state_of(&mut self, contents: Contents) -> State {
        let bytes = 32 * contents.len() + 100;
        self.states.reach(contents, bytes)
    }

    /// The contents after `class`, or the read that does not fit and the value that was there.
    fn run(&self, state: State, class: Class) -> Result<Contents, (MicroOp, u32)> {
        let mut contents = self.states.contents(state).clone();
        for micro_op in self.classes.action(class) {
            let there = contents.get(&micro_op.key).copied().unwrap_or(NIL);
            if !micro_op.is_write {
                if there != micro_op.value {
                    return Err((*micro_op, there));
                }
            } else if micro_op.value == NIL {
                contents.remove(&micro_op.key);
            } else {
                contents.insert(micro_op.key, micro_op.value);
            }
        }
        Ok(contents)
    }
}

impl Model for MultiRegister {
    fn initial(&self) -> State {
        self.initial
    }

    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String> {
        if op.f != "txn" {
            return Err(format!("a multi-register has no operation {}", op.f));
        }
        let bad = "the value of a txn must be [[:r k v] [:w k v] ...]";
        let invoked = self.parse(op.invoked).ok_or(bad)?;
        let micro_ops = match op.completed {
            Some(value) => self.parse(value).ok_or(bad)?,
            // Its reads are unknown.
            None => invoked.iter().copied().filter(|m| m.is_write).collect(),
        };
        let shape = |m: &MicroOp| (m.is_write, m.key, if m.is_write { m.value } else { NIL });
        if op.completed.is_some() && !invoked.iter().map(shape).eq(micro_ops.iter().map(shape)) {
            return Err("a txn completed with other keys or writes than its own".into());
        }
        if micro_ops.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.classes.number(micro_ops)))
    }

    fn effect(&self, class: Class) -> Effect {
        let reads_only = self.classes.action(class).iter().all(|m| !m.is_write);
        if reads_only { Effect::Observe } else { Effect::Update }
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        let contents = self.run(state, class).ok()?;
        Some(self.state_of(contents))
    }

    fn weight(&self) -> usize {
        self.states.weight()
    }

    fn forget(&mut self) {
        self.states.forget();
    }

    fn state(&self, state: State) -> Edn {
        let entry =
            |(k, v): (&u32, &u32)| (self.keys.value(*k).clone(), self.values.value(*v).clone());
        record("MultiRegister", self.states.contents(state).iter().map(entry).collect())
    }

    fn describe(&self, state: State) -> String {
        let entry =
            |(k, v): (&u32, &u32)| format!("{} {}", self.keys.value(*k), self.values.value(*v));
        let entries: Vec<_> = self.states.contents(state).iter().map(entry).collect();
        format!("{{{}}}", entries.join(", "))
    }

    fn refusal(&self, state: State, class: Class) -> String {
        let Err((read, there)) = self.run(state, class) else { return String::new() };
        let text = |value| self.values.value(value);
        let key = self.keys.value(read.key);
        format!("can't read {} from register {key} with {}", text(read.value), text(there))
    }
}
