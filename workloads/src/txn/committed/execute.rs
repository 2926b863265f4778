//! Executing a transaction on a snapshot.

use std::collections::BTreeMap;

use seaworthy::message::{ErrorCode, RpcError};
use serde::Serialize;
use serde_json::value::RawValue;

use super::registers::Write;
use super::value::{Key, Value};
use crate::txn::protocol::{Function, MicroOp};

/// A transaction, executed but not yet applied.
pub(super) struct Executed<'a> {
    /// The change of each key; empty if the transaction only read.
    pub(super) writes: BTreeMap<Key, Write>,
    /// The micro-operations of the answer.
    pub(super) filled: Vec<(Function, &'a RawValue, Seen<'a>)>,
}

/// A value in an answer.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Seen<'a> {
    /// As the client gave it.
    Given(&'a RawValue),
    Found(Option<Value>),
}

/// Executes a transaction on `snapshot`. A read sees the snapshot, and before it the
/// writes of its own transaction.
///
/// # Errors
/// Error 12 if a key cannot be one, 14 if an append meets a value that is not a list.
pub(super) fn execute<'a>(
    ops: &[MicroOp<'a>],
    snapshot: impl Fn(&Key) -> Option<Value>,
) -> Result<Executed<'a>, RpcError> {
    let mut writes: BTreeMap<Key, Write> = BTreeMap::new();
    let mut filled = Vec::with_capacity(ops.len());
    for &(function, name, given) in ops {
        let key = Key::from_raw(name);
        let mut seen = Seen::Given(given);
        match function {
            Function::Read => seen = Seen::Found(read(&snapshot, writes.get(&key), &key)),
            Function::Write => _ = writes.insert(key, Write::Set(Value::from(given))),
            Function::Append => {
                let list = read(&snapshot, writes.get(&key), &key);
                if list.is_some_and(|value| !value.is_list()) {
                    let text = format!("{name} holds no list to append to");
                    return Err(RpcError::new(ErrorCode::ABORT, text));
                }
                append(writes.entry(key).or_insert(Write::Append(Vec::new())), given.into());
            }
        }
        filled.push((function, name, seen));
    }
    Ok(Executed { writes, filled })
}

fn read(snapshot: impl Fn(&Key) -> Option<Value>, own: Option<&Write>, key: &Key) -> Option<Value> {
    match own {
        None => snapshot(key),
        Some(Write::Set(value)) => Some(value.clone()),
        Some(Write::Append(values)) => Some(Value::append(snapshot(key).as_ref(), values)),
    }
}

fn append(write: &mut Write, value: Value) {
    match write {
        Write::Set(list) => *list = Value::append(Some(list), &[value]),
        Write::Append(values) => values.push(value),
    }
}

#[cfg(test)]
mod tests {
    use super::super::value::tests::{key, value};
    use super::*;

    /// The outcome of a transaction where key 1 is 10 and key 2 is a list: its answer
    /// and its writes, or the code of the refusal.
    fn run(txn: &str) -> Result<(String, BTreeMap<Key, Write>), u32> {
        let ops: Vec<MicroOp<'_>> = serde_json::from_str(txn).unwrap();
        let executed = execute(&ops, |name| {
            let state = [(key("1"), value("10")), (key("2"), value("[20]"))];
            state.into_iter().find(|(k, _)| k == name).map(|(_, value)| value)
        });
        let executed = executed.map_err(|error| error.code.0)?;
        Ok((serde_json::to_string(&executed.filled).unwrap(), executed.writes))
    }

    #[test]
    fn reads_see_the_snapshot_and_own_writes() {
        let (answer, writes) =
            run(r#"[["r",1,null],["r","x",null],["w",1,{"a":1}],["r",1,null],["w",1,12]]"#)
                .unwrap();
        assert_eq!(
            answer,
            r#"[["r",1,10],["r","x",null],["w",1,{"a":1}],["r",1,{"a":1}],["w",1,12]]"#
        );
        // Only the last write counts: the one before is never seen.
        assert_eq!(writes, BTreeMap::from([(key("1"), Write::Set(value("12")))]));
    }

    #[test]
    fn appends_are_kept_apart_from_what_they_are_appended_to() {
        let (answer, writes) =
            run(r#"[["append",2,21],["r",2,null],["append",2,22],["append",3,30]]"#).unwrap();
        assert_eq!(answer, r#"[["append",2,21],["r",2,[20,21]],["append",2,22],["append",3,30]]"#);
        assert_eq!(writes[&key("2")], Write::Append(vec![value("21"), value("22")]));
        assert_eq!(writes[&key("3")], Write::Append(vec![value("30")]));
        let (_, writes) = run(r#"[["append",2,21],["w",2,[5]],["append",2,6]]"#).unwrap();
        assert_eq!(writes[&key("2")], Write::Set(value("[5,6]")));
    }

    #[test]
    fn an_impossible_operation_refuses_the_whole_transaction() {
        assert_eq!(run(r#"[["w",3,1],["append",1,2]]"#), Err(14));
        assert_eq!(run(r#"[["w",3,1],["append",3,2]]"#), Err(14));
    }

    #[test]
    fn an_empty_transaction_is_one() {
        assert_eq!(run("[]"), Ok(("[]".to_owned(), BTreeMap::new())));
    }
}
