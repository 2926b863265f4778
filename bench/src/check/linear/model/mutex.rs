//! A lock: acquire and release. Who releases it is not checked, as in Knossos.

use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::edn::Edn;

/// A lock, initially free.
#[derive(Clone, Copy, Debug)]
pub struct Mutex;

const FREE: State = State(0);
const HELD: State = State(1);
const ACQUIRE: Class = Class(0);
const RELEASE: Class = Class(1);

impl Model for Mutex {
    fn initial(&self) -> State {
        FREE
    }

    fn classify(&mut self, op: Observed<'_>) -> Result<Option<Class>, String> {
        match op.f {
            "acquire" => Ok(Some(ACQUIRE)),
            "release" => Ok(Some(RELEASE)),
            f => Err(format!("a mutex has no operation {f}")),
        }
    }

    fn effect(&self, _: Class) -> Effect {
        Effect::Update
    }

    fn step(&mut self, state: State, class: Class) -> Option<State> {
        match (state, class) {
            (FREE, ACQUIRE) => Some(HELD),
            (HELD, RELEASE) => Some(FREE),
            _ => None,
        }
    }

    fn state(&self, state: State) -> Edn {
        record("Mutex", vec![(Edn::keyword("locked"), Edn::Bool(state == HELD))])
    }

    fn describe(&self, state: State) -> String {
        if state == HELD { "held".into() } else { "free".into() }
    }

    fn refusal(&self, _: State, class: Class) -> String {
        if class == ACQUIRE { "already held".into() } else { "not held".into() }
    }
}
