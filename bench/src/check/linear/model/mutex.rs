//! A lock: acquire and release. Who releases it is not checked, as in Knossos.

use super::{Effect, Model, Observed, record};
use crate::check::linear::timeline::{Class, State};
use crate::edn::Edn;

/// A lock, by default free.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mutex {
    is_held: bool,
}

impl Mutex {
    /// A lock that is held if `initial` is true, and free if it is false or nil.
    ///
    /// # Errors
    /// A text if `initial` is anything else.
    pub fn new(initial: &Edn) -> Result<Mutex, String> {
        match initial {
            Edn::Nil | Edn::Bool(false) => Ok(Mutex { is_held: false }),
            Edn::Bool(true) => Ok(Mutex { is_held: true }),
            _ => Err("the value of a mutex must be true (held) or false (free)".into()),
        }
    }
}

const FREE: State = State(0);
const HELD: State = State(1);
const ACQUIRE: Class = Class(0);
const RELEASE: Class = Class(1);

impl Model for Mutex {
    fn initial(&self) -> State {
        if self.is_held { HELD } else { FREE }
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

    fn needs(&self, class: Class) -> Option<State> {
        Some(if class == ACQUIRE { FREE } else { HELD })
    }

    fn leads_to(&self, class: Class) -> Option<State> {
        Some(if class == ACQUIRE { HELD } else { FREE })
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
