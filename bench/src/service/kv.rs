//! Key-value stores of three strengths over one state machine.

use std::collections::{BTreeMap, VecDeque};

use seaworthy::message::{ErrorCode, RpcError};

use super::request::{Answer, Datum, Operation, What};
use crate::edn::Edn;
use crate::seed::Draw;

/// A key can be any JSON.
type Map = BTreeMap<Edn, Datum>;

/// Returns the answer of an operation where its key has this value, and the new value.
fn step(current: Option<&Datum>, what: &What) -> (Answer, Option<Datum>) {
    let missing = || {
        let error = RpcError::new(ErrorCode::KEY_DOES_NOT_EXIST, "key does not exist");
        (Answer::Error(error), None)
    };
    match (what, current) {
        (What::Read, Some(value)) => (Answer::Value(value.clone()), None),
        (What::Read, None) => missing(),
        (What::Write(value), _) => (Answer::Done("write_ok"), Some(value.clone())),
        (What::Cas { from, to, .. }, Some(value)) if value == from => {
            (Answer::Done("cas_ok"), Some(to.clone()))
        }
        (What::Cas { from, .. }, Some(value)) => {
            let text = format!("current value {} is not {}", value.meaning(), from.meaning());
            (Answer::Error(RpcError::new(ErrorCode::PRECONDITION_FAILED, text)), None)
        }
        (What::Cas { to, create: true, .. }, None) => (Answer::Done("cas_ok"), Some(to.clone())),
        (What::Cas { .. }, None) => missing(),
    }
}

/// A store: the state that answers a request makes it weak or strong.
pub(super) trait Store {
    /// Carries out one operation of one client.
    fn apply(&mut self, client: &str, operation: &Operation, draw: &mut Draw) -> Answer;
}

/// Every operation sees everything before it.
#[derive(Default)]
pub(super) struct Linearizable {
    map: Map,
}

impl Store for Linearizable {
    fn apply(&mut self, _client: &str, operation: &Operation, _draw: &mut Draw) -> Answer {
        let (answer, value) = step(self.map.get(&operation.key), &operation.what);
        self.map.extend(value.map(|value| (operation.key.clone(), value)));
        answer
    }
}

/// How many past states `seq-kv` keeps, as in Maelstrom.
const PAST_STATES: usize = 32;

/// All clients see the same sequence of states and none sees it run backwards, but an
/// operation that changes nothing may take place in the past: a read, a cas that is
/// refused, and also a write of the value that was there then.
#[derive(Default)]
pub(super) struct Sequential {
    /// The number of the oldest state in `past`.
    first: u64,
    /// Past states, the newest last; empty stands for one empty state.
    past: VecDeque<Map>,
    /// The newest state each client has seen.
    seen: BTreeMap<String, u64>,
}

impl Store for Sequential {
    fn apply(&mut self, client: &str, operation: &Operation, draw: &mut Draw) -> Answer {
        if self.past.is_empty() {
            self.past.push_back(Map::new());
        }
        let newest = self.first + self.past.len() as u64 - 1;
        let oldest = self.seen.get(client).copied().unwrap_or(0).max(self.first);
        // As in Maelstrom, who lags behind does not get the newest state by asking: only
        // who changes something does.
        let behind = (newest - oldest) as usize;
        let chosen = if behind == 0 { newest } else { oldest + draw.below(behind) as u64 };
        let Operation { key, what } = operation;
        let current = self.past[(chosen - self.first) as usize].get(key);
        let (answer, value) = step(current, what);
        if value.is_none() || value.as_ref() == current {
            self.seen.insert(client.to_owned(), chosen);
            return answer;
        }
        // It would change that state, so it takes place after all others.
        let mut state = self.past.back().expect("one state is always kept").clone();
        let (answer, value) = step(state.get(key), what);
        state.extend(value.map(|value| (key.clone(), value)));
        self.past.push_back(state);
        if self.past.len() > PAST_STATES {
            self.past.pop_front();
            self.first += 1;
        }
        self.seen.insert(client.to_owned(), newest + 1);
        answer
    }
}

/// How many replicas `lww-kv` has, as in Maelstrom.
const REPLICAS: usize = 2;

/// Replicas with a Lamport clock each, which agree some time later.
///
/// The clocks are merged with the states only: a write at the replica whose clock is behind
/// has an older timestamp than one that was acknowledged before it, and is lost.
#[derive(Default)]
pub(super) struct Eventual {
    replicas: [Replica; REPLICAS],
}

#[derive(Clone, Default)]
struct Replica {
    clock: u64,
    map: BTreeMap<Edn, (u64, Datum)>,
}

impl Replica {
    /// Takes in the values of `source`. Of two values with the same timestamp that of the source
    /// stays.
    fn merge(&mut self, source: &Replica) {
        self.clock = self.clock.max(source.clock);
        for (key, (stamp, value)) in &source.map {
            if self.map.get(key).is_none_or(|(own, _)| own <= stamp) {
                self.map.insert(key.clone(), (*stamp, value.clone()));
            }
        }
    }
}

impl Store for Eventual {
    fn apply(&mut self, _client: &str, operation: &Operation, draw: &mut Draw) -> Answer {
        // Before each operation one replica learns from another, or from itself.
        let (source, dest) = (draw.below(REPLICAS), draw.below(REPLICAS));
        if source != dest {
            let source = self.replicas[source].clone();
            self.replicas[dest].merge(&source);
        }
        let mut what = operation.what.clone();
        if let What::Cas { create, .. } = &mut what {
            // Maelstrom's `lww-kv` does not know `create_if_not_exists`.
            *create = false;
        }
        let replica = &mut self.replicas[draw.below(REPLICAS)];
        let current = replica.map.get(&operation.key).map(|(_, value)| value);
        let (answer, value) = step(current, &what);
        if let Some(value) = value {
            replica.map.insert(operation.key.clone(), (replica.clock, value));
            replica.clock += 1;
        }
        answer
    }
}
