//! A transaction of a client, over keys that can be compared and written: pure.

use std::collections::BTreeMap;

use seaworthy::message::ErrorCode;
use serde_json::{Value, json};

use super::refused::Refused;

/// A key as it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// When it was last changed; 0 if it is not there.
    pub(super) revision: i64,
    /// Its value.
    pub(super) text: Option<String>,
}

/// A transaction's results, and the keys to write.
#[derive(Debug, PartialEq)]
pub(super) struct Outcome {
    pub(super) results: Vec<Value>,
    pub(super) puts: Vec<(String, String)>,
}

/// Micro-operations `[f, key, value]`, in order.
pub(super) struct Transaction(Vec<(String, Value, Value)>);

impl Transaction {
    /// Reads the field `txn` of a request.
    pub(super) fn read(txn: &Value) -> Result<Transaction, Refused> {
        let malformed = || Refused::new(ErrorCode::MALFORMED_REQUEST, format!("no txn: {txn}"));
        let micro_op = |op: &Value| match op.as_array().map(Vec::as_slice) {
            Some([Value::String(f), key, value]) if ["r", "w", "append"].contains(&f.as_str()) => {
                Ok((f.clone(), key.clone(), value.clone()))
            }
            _ => Err(malformed()),
        };
        let all = txn.as_array().ok_or_else(malformed)?;
        all.iter().map(micro_op).collect::<Result<_, _>>().map(Transaction)
    }

    /// The keys, each once.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.0.iter().map(|(_, key, _)| name(key)).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// The reads and writes of the transaction if [`Transaction::keys`] hold this.
    pub(super) fn apply(&self, found: &[Seen]) -> Result<Outcome, Refused> {
        let mut state: BTreeMap<String, Value> = BTreeMap::new();
        for (key, seen) in self.keys().into_iter().zip(found) {
            let text = seen.text.as_deref().unwrap_or("null");
            let value = serde_json::from_str(text);
            let value = value.map_err(|_| Refused::odd(format!("no client wrote {text:?}")))?;
            state.insert(key, value);
        }
        let (mut results, mut written) = (Vec::new(), BTreeMap::new());
        for (f, key, value) in &self.0 {
            let held = state.get_mut(&name(key)).expect("all keys were read");
            match f.as_str() {
                "r" => results.push(json!([f, key, held])),
                "append" => {
                    let mut list = held.as_array().cloned().unwrap_or_default();
                    list.push(value.clone());
                    *held = list.into();
                    results.push(json!([f, key, value]));
                }
                _ => {
                    held.clone_from(value);
                    results.push(json!([f, key, value]));
                }
            }
            if f != "r" {
                written.insert(name(key), held.to_string());
            }
        }
        Ok(Outcome { results, puts: written.into_iter().collect() })
    }
}

fn name(key: &Value) -> String {
    format!("txn/{key}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_sees_its_own_writes_and_writes_each_key_once() {
        let txn = json!([["append", 3, 1], ["r", 3, null], ["append", 3, 2], ["r", 4, null]]);
        let transaction = Transaction::read(&txn).unwrap();
        assert_eq!(transaction.keys(), ["txn/3", "txn/4"]);
        let seen = Seen { revision: 9, text: Some("[7]".to_owned()) };
        let outcome = transaction.apply(&[seen, Seen::default()]).unwrap();
        let results = json!([["append", 3, 1], ["r", 3, [7, 1]], ["append", 3, 2], ["r", 4, null]]);
        assert_eq!(Value::from(outcome.results), results);
        assert_eq!(outcome.puts, [("txn/3".to_owned(), "[7,1,2]".to_owned())]);
    }

    #[test]
    fn registers_are_overwritten_and_reads_write_nothing() {
        let outcome = |txn: Value, text: &str| {
            let seen = Seen { revision: 2, text: Some(text.to_owned()) };
            Transaction::read(&txn).unwrap().apply(&[seen]).unwrap()
        };
        let both = outcome(json!([["r", 1, null], ["w", 1, 5], ["r", 1, null]]), "4");
        assert_eq!(Value::from(both.results), json!([["r", 1, 4], ["w", 1, 5], ["r", 1, 5]]));
        assert_eq!(both.puts, [("txn/1".to_owned(), "5".to_owned())]);
        assert_eq!(outcome(json!([["r", 1, null]]), "4").puts, []);
        assert!(Transaction::read(&json!([["x", 1, 2]])).is_err());
    }
}
