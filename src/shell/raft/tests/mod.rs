//! Replicas in a small network: the promises to a client.

mod detour;
mod faults;
mod idle;
mod leases;
mod load;
mod membership;
mod net;
mod snapshots;
mod timing;

use serde_json::{Value, json};

fn append(value: u64) -> Value {
    json!({"type": "append", "value": value})
}

fn read() -> Value {
    json!({"type": "read"})
}

/// The answer to [`append`] when the list is this long afterwards.
fn appended(len: usize) -> Value {
    json!({"type": "append_ok", "len": len})
}

/// Takes from an answer the field that differs from request to request.
fn plain(mut answer: Value) -> Value {
    answer.as_object_mut().expect("answers are objects").remove("in_reply_to");
    answer
}
