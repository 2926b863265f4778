//! Key-value stores of three strengths over one state machine.

use std::collections::{BTreeMap, VecDeque};

use seaworthy::message::{Body, ErrorCode, RpcError};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::world::seed::Draw;

/// Keys by their canonical JSON text: a key can be any JSON.
type Map = BTreeMap<String, Value>;

/// A request to a store.
pub(super) enum Operation {
    Read { key: Value },
    Write { key: Value, value: Value },
    Cas { key: Value, from: Value, to: Value, create: bool },
}

#[derive(Deserialize)]
struct ReadBody {
    key: Value,
}

#[derive(Deserialize)]
struct WriteBody {
    key: Value,
    value: Value,
}

#[derive(Deserialize)]
struct CasBody {
    key: Value,
    from: Value,
    to: Value,
    #[serde(default)]
    create_if_not_exists: bool,
}

impl Operation {
    /// Reads a request.
    pub(super) fn parse(body: &Body) -> Result<Operation, RpcError> {
        Ok(match body.kind.as_str() {
            "read" => {
                let ReadBody { key } = body.parse()?;
                Operation::Read { key }
            }
            "write" => {
                let WriteBody { key, value } = body.parse()?;
                Operation::Write { key, value }
            }
            "cas" => {
                let CasBody { key, from, to, create_if_not_exists: create } = body.parse()?;
                Operation::Cas { key, from, to, create }
            }
            other => {
                let text = format!("a key-value store does not know {other}");
                return Err(RpcError::new(ErrorCode::NOT_SUPPORTED, text));
            }
        })
    }
}

type Answer = Result<Value, RpcError>;

/// What an operation does to a state: the answer, and the entry to set.
fn apply(map: &Map, operation: &Operation) -> (Answer, Option<(String, Value)>) {
    let missing = || RpcError::new(ErrorCode::KEY_DOES_NOT_EXIST, "key does not exist");
    match operation {
        Operation::Read { key } => match map.get(&key.to_string()) {
            Some(value) => (Ok(json!({"type": "read_ok", "value": value})), None),
            None => (Err(missing()), None),
        },
        Operation::Write { key, value } => {
            (Ok(json!({"type": "write_ok"})), Some((key.to_string(), value.clone())))
        }
        Operation::Cas { key, from, to, create } => {
            let set = Some((key.to_string(), to.clone()));
            match map.get(&key.to_string()) {
                Some(value) if value == from => (Ok(json!({"type": "cas_ok"})), set),
                Some(value) => {
                    let text = format!("current value {value} is not {from}");
                    (Err(RpcError::new(ErrorCode::PRECONDITION_FAILED, text)), None)
                }
                None if *create => (Ok(json!({"type": "cas_ok"})), set),
                None => (Err(missing()), None),
            }
        }
    }
}

/// A store: which state answers a request is what makes it weak or strong.
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
        let (answer, set) = apply(&self.map, operation);
        self.map.extend(set);
        answer
    }
}

/// How many past states `seq-kv` keeps, as in Maelstrom.
const PAST_STATES: usize = 32;

/// All clients see the same sequence of states and none sees it run backwards,
/// but an operation that changes nothing may be answered from the past.
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
        let chosen = oldest + draw.below((newest - oldest) as usize + 1) as u64;
        let (answer, set) = apply(&self.past[(chosen - self.first) as usize], operation);
        if set.is_none() {
            self.seen.insert(client.to_owned(), chosen);
            return answer;
        }
        // It would change that state, so it must take place after all others.
        let (answer, set) = apply(self.past.back().expect("never empty"), operation);
        let now = match set {
            Some((key, value)) => {
                let mut next = self.past.back().expect("never empty").clone();
                next.insert(key, value);
                self.past.push_back(next);
                newest + 1
            }
            None => newest,
        };
        if self.past.len() > PAST_STATES {
            self.past.pop_front();
            self.first += 1;
        }
        self.seen.insert(client.to_owned(), now);
        answer
    }
}

/// How many replicas `lww-kv` has.
const REPLICAS: usize = 5;

/// Replicas that agree some time later; of concurrent writes the last one wins.
#[derive(Default)]
pub(super) struct Eventual {
    clock: u64,
    replicas: [Stamped; REPLICAS],
}

type Stamped = BTreeMap<String, (u64, Value)>;

impl Store for Eventual {
    fn apply(&mut self, _client: &str, operation: &Operation, draw: &mut Draw) -> Answer {
        // Any replica answers, and at each operation some pair exchanges states.
        let here = draw.below(REPLICAS);
        let view = self.replicas[here].iter().map(|(k, (_, v))| (k.clone(), v.clone())).collect();
        let (answer, set) = apply(&view, operation);
        if let Some((key, value)) = set {
            self.clock += 1;
            self.replicas[here].insert(key, (self.clock, value));
        }
        let (from, to) = (draw.below(REPLICAS), draw.below(REPLICAS));
        let source = self.replicas[from].clone();
        for (key, (stamp, value)) in source {
            let entry = self.replicas[to].entry(key).or_insert((0, Value::Null));
            if entry.0 < stamp {
                *entry = (stamp, value);
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::seed::Seed;

    fn write(key: i64, value: i64) -> Operation {
        Operation::Write { key: json!(key), value: json!(value) }
    }

    fn read(store: &mut dyn Store, client: &str, draw: &mut Draw) -> Option<i64> {
        let answer = store.apply(client, &Operation::Read { key: json!(1) }, draw);
        answer.ok().map(|v| v["value"].as_i64().unwrap())
    }

    #[test]
    fn sequential_never_runs_backwards_but_may_lag() {
        let (mut store, mut draw) = (Sequential::default(), Seed(3).stream("t", 0));
        let mut lagged = false;
        let mut last = BTreeMap::new();
        for i in 0..500 {
            store.apply("writer", &write(1, i), &mut draw).unwrap();
            assert_eq!(read(&mut store, "writer", &mut draw), Some(i), "reads its own writes");
            for client in ["a", "b"] {
                let seen = read(&mut store, client, &mut draw).unwrap_or(-1);
                assert!(seen >= last.insert(client, seen).unwrap_or(-1));
                lagged |= seen < i;
            }
        }
        assert!(lagged, "a store that never lags tests nothing");
    }

    #[test]
    fn cas_follows_the_protocol() {
        let (mut store, mut draw) = (Linearizable::default(), Seed(3).stream("t", 0));
        let mut cas = |from: i64, to: i64, create| {
            let (key, from, to) = (json!([1, "x"]), json!(from), json!(to));
            store.apply("c", &Operation::Cas { key, from, to, create }, &mut draw)
        };
        assert_eq!(cas(0, 1, false).unwrap_err().code, ErrorCode::KEY_DOES_NOT_EXIST);
        assert!(cas(0, 1, true).is_ok());
        let error = cas(0, 2, true).unwrap_err();
        assert_eq!(error.code, ErrorCode::PRECONDITION_FAILED);
        assert_eq!(error.text, "current value 1 is not 0");
        assert!(cas(1, 2, false).is_ok());
    }

    #[test]
    fn eventual_diverges_and_converges() {
        let (mut store, mut draw) = (Eventual::default(), Seed(3).stream("t", 0));
        store.apply("w", &write(1, 7), &mut draw).unwrap();
        let reads: Vec<_> = (0..200).map(|_| read(&mut store, "r", &mut draw)).collect();
        assert!(reads.contains(&None), "never stale");
        assert_eq!(reads.last(), Some(&Some(7)), "never converged");
    }
}
