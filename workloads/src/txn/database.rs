//! The replicated database of strictly serializable transactions.

use std::collections::BTreeMap;

use seaworthy::message::{ErrorCode, RpcError};
use seaworthy::shell::raft::{Answer, StateMachine};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::protocol::{Function, MicroOp, TxnOk};
use seaworthy::canonical::canonical;

/// The replicated database, by canonical key.
#[derive(Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Database {
    pub(super) values: BTreeMap<String, Value>,
}

/// The value of a key. A list is kept in pieces, so that a long one is as quick to append
/// to as a short one.
#[derive(Clone, Serialize, Deserialize)]
pub(super) enum Value {
    #[serde(rename = "w")]
    Whole(Box<RawValue>),
    #[serde(rename = "l")]
    List(Vec<Box<RawValue>>),
}

/// A value as the client sees it.
#[derive(Serialize)]
#[serde(untagged)]
enum Seen<'a> {
    Missing,
    Whole(&'a RawValue),
    List(&'a [Box<RawValue>]),
    /// A list that changes later in the same transaction.
    ListThen(Vec<Box<RawValue>>),
    WholeThen(Box<RawValue>),
}

impl Value {
    fn is_list(&self) -> bool {
        match self {
            Value::Whole(text) => text.get().starts_with('['),
            Value::List(_) => true,
        }
    }

    /// The value as a list to append to.
    fn as_list(&mut self) -> &mut Vec<Box<RawValue>> {
        if let Value::Whole(text) = self {
            let items = serde_json::from_str(text.get());
            *self = Value::List(items.expect("whether it is a list was checked before"));
        }
        match self {
            Value::List(items) => items,
            Value::Whole(_) => unreachable!("it has just become a list"),
        }
    }
}

/// A micro-operation of a reply.
type Filled<'a> = (Function, &'a RawValue, Seen<'a>);

impl Database {
    fn get(&self, key: &RawValue) -> Seen<'_> {
        match self.values.get(&canonical(key)) {
            None => Seen::Missing,
            Some(Value::Whole(text)) => Seen::Whole(text),
            Some(Value::List(items)) => Seen::List(items),
        }
    }

    /// Finds out whether every append will meet a list, as of its turn.
    fn check(&self, ops: &[MicroOp<'_>]) -> Result<(), RpcError> {
        // Whether the keys this transaction writes hold lists at this point of it.
        let mut written: BTreeMap<String, bool> = BTreeMap::new();
        for (function, key, value) in ops {
            let name = canonical(key);
            match function {
                Function::Read => {}
                Function::Write => _ = written.insert(name, value.get().starts_with('[')),
                Function::Append => {
                    let known = written.get(&name).copied();
                    let stored = || self.values.get(&name).is_none_or(Value::is_list);
                    if !known.unwrap_or_else(stored) {
                        let text = format!("{key} holds no list to append to");
                        return Err(RpcError::new(ErrorCode::ABORT, text));
                    }
                    written.insert(name, true);
                }
            }
        }
        Ok(())
    }

    fn execute<'a>(&mut self, ops: &[MicroOp<'a>]) -> Vec<Filled<'a>> {
        let mut filled = Vec::with_capacity(ops.len());
        for &(function, key, value) in ops {
            let seen = match function {
                // Copied, because the rest of the transaction may change it.
                Function::Read => match self.get(key) {
                    Seen::Whole(text) => Seen::WholeThen(text.to_owned()),
                    Seen::List(items) => Seen::ListThen(items.to_vec()),
                    _ => Seen::Missing,
                },
                Function::Write => {
                    self.values.insert(canonical(key), Value::Whole(value.to_owned()));
                    Seen::Whole(value)
                }
                Function::Append => {
                    let list = self.values.entry(canonical(key));
                    let list = list.or_insert_with(|| Value::List(Vec::new()));
                    list.as_list().push(value.to_owned());
                    Seen::Whole(value)
                }
            };
            filled.push((function, key, seen));
        }
        filled
    }
}

impl StateMachine for Database {
    fn apply(&mut self, command: &RawValue) -> Answer {
        let ops: Vec<MicroOp<'_>> = match serde_json::from_str(command.get()) {
            Ok(ops) => ops,
            // Every node decides the same about it, and nothing has happened.
            Err(e) => return unknown(&e),
        };
        if let Err(error) = self.check(&ops) {
            return Answer::error(&error);
        }
        Answer::new(&TxnOk::new(self.execute(&ops)))
    }

    fn query(&self, query: &RawValue) -> Answer {
        match serde_json::from_str::<Vec<MicroOp<'_>>>(query.get()) {
            Ok(ops) => {
                let filled: Vec<Filled<'_>> =
                    ops.iter().map(|&(function, key, _)| (function, key, self.get(key))).collect();
                Answer::new(&TxnOk::new(filled))
            }
            Err(e) => unknown(&e),
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a database is plain data")
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        *self = serde_json::from_slice(snapshot).map_err(|e| e.to_string())?;
        Ok(())
    }
}

fn unknown(error: &serde_json::Error) -> Answer {
    Answer::error(&RpcError::new(ErrorCode::NOT_SUPPORTED, error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn raw(value: &Json) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    /// The micro-operations of the reply, or the code of the error.
    fn told(answer: &Answer) -> Json {
        let body: Json = serde_json::from_str(answer.as_str()).unwrap();
        match body["type"].as_str() {
            Some("txn_ok") => body["txn"].clone(),
            _ => body["code"].clone(),
        }
    }

    fn apply(database: &mut Database, txn: &Json) -> Json {
        told(&database.apply(&raw(txn)))
    }

    #[test]
    fn micro_operations_see_those_before_them() {
        let mut database = Database::default();
        let txn = json!([
            ["r", 1, null],
            ["w", 1, 5],
            ["r", 1, null],
            ["append", 2, "a"],
            ["r", 2, null],
            ["append", 2, {"b": 1.5}],
            ["w", 1, null]
        ]);
        let mut expected = txn.clone();
        expected[2][2] = json!(5);
        expected[4][2] = json!(["a"]);
        assert_eq!(apply(&mut database, &txn), expected);
        let read = json!([["r", 2, null], ["r", 1, null], ["r", "1", null]]);
        let seen = json!([["r", 2, ["a", {"b": 1.5}]], ["r", 1, null], ["r", "1", null]]);
        assert_eq!(told(&database.query(&raw(&read))), seen);
        assert_eq!(apply(&mut database, &read), seen);
    }

    #[test]
    fn a_refused_transaction_leaves_nothing() {
        let mut database = Database::default();
        apply(&mut database, &json!([["w", "x", 1], ["w", "l", [1]]]));
        let mixed = json!([["w", "y", 2], ["append", "l", 2], ["append", "x", 3]]);
        assert_eq!(apply(&mut database, &mixed), json!(14));
        let after = json!([["w", "l", 7], ["append", "l", 8]]);
        assert_eq!(apply(&mut database, &after), json!(14), "no list any more at that point");
        let read = json!([["r", "x", null], ["r", "y", null], ["r", "l", null]]);
        let seen = json!([["r", "x", 1], ["r", "y", null], ["r", "l", [1]]]);
        assert_eq!(told(&database.query(&raw(&read))), seen);
        let becomes = json!([["w", "x", []], ["append", "x", 3], ["r", "x", null]]);
        assert_eq!(apply(&mut database, &becomes)[2], json!(["r", "x", [3]]));
    }

    #[test]
    fn a_key_has_many_spellings_and_a_value_is_given_back_as_it_came() {
        let mut database = Database::default();
        let write = RawValue::from_string(r#"[["w",{"b":1,"a":[2]},1.50]]"#.to_owned()).unwrap();
        database.apply(&write);
        let query = RawValue::from_string(r#"[["r",{"a": [2], "b":1},null]]"#.to_owned()).unwrap();
        let expected = r#"{"type":"txn_ok","txn":[["r",{"a": [2], "b":1},1.50]]}"#;
        assert_eq!(database.query(&query).as_str(), expected);
    }

    #[test]
    fn a_snapshot_carries_everything() {
        let mut database = Database::default();
        apply(&mut database, &json!([["w", 1, {"x": [1]}], ["append", 2, 1], ["append", 2, [2]]]));
        let mut copy = Database::default();
        apply(&mut copy, &json!([["w", 9, 9]]));
        copy.restore(&database.snapshot()).unwrap();
        let read = json!([["r", 1, null], ["r", 2, null], ["r", 9, null]]);
        let seen = json!([["r", 1, {"x": [1]}], ["r", 2, [1, [2]]], ["r", 9, null]]);
        assert_eq!(told(&copy.query(&raw(&read))), seen);
        assert!(copy.restore(b"[1]").is_err());
    }
}
