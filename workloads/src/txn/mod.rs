//! Transactions over registers and lists, at the isolation that is asked for.
//!
//! A transaction is a list of micro-operations: `["r", k, null]`, `["w", k, v]` and
//! `["append", k, v]`, keys and values any JSON. What it may see of others is decided
//! by `--isolation`:
//!
//! * `strict-serializable`: transactions happen one after the other, in an order that
//!   agrees with real time (Herlihy and Wing's linearizability, of the whole database).
//!   This excludes every anomaly of Adya's hierarchy, and stale reads besides; it costs
//!   a majority of the nodes. See [`strict`].
//! * `read-committed`, and `read-uncommitted`, which is served the same: transactions see
//!   others only whole, but not always the latest, and not everyone sees them in the
//!   same order. This excludes Adya's G0 and G1 and fractured reads; it costs nothing,
//!   and every node answers at once whatever it can reach. See [`committed`].
//!
//! Deliberately missing: transactions that go on after an answer. A transaction is
//! known as a whole before it begins, so nothing has to be locked or validated.

pub mod committed;
pub mod strict;

use seaworthy::message::{Message, RpcError};
use seaworthy::node::Workload;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Options;
use crate::cli::IsolationChoice;

/// The transactional workload at the isolation the options ask for.
pub fn build(options: &Options) -> Box<dyn Workload + Send> {
    match options.isolation {
        IsolationChoice::StrictSerializable => Box::new(strict::Strict::new(options)),
        IsolationChoice::ReadCommitted | IsolationChoice::ReadUncommitted => {
            Box::new(committed::Committed::new(options))
        }
    }
}

/// What a micro-operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Function {
    /// Reads the value of a key, null if there is none.
    #[serde(rename = "r")]
    Read,
    /// Gives a key a value.
    #[serde(rename = "w")]
    Write,
    /// Adds an element to the end of a list; a missing key is an empty list.
    #[serde(rename = "append")]
    Append,
}

/// A micro-operation: function, key, and what to write. A read has something in the
/// third place too, which is not looked at.
pub(crate) type MicroOp<'a> = (Function, &'a RawValue, &'a RawValue);

/// The micro-operations of a request, as they came.
///
/// # Errors
/// Error 12 if one does not have the documented shape.
pub(crate) fn micro_ops(message: &Message) -> Result<(&RawValue, Vec<MicroOp<'_>>), RpcError> {
    #[derive(Deserialize)]
    struct Txn<'a> {
        #[serde(borrow)]
        txn: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Ops<'a> {
        #[serde(borrow)]
        txn: Vec<MicroOp<'a>>,
    }
    let Txn { txn } = message.body.parse()?;
    let Ops { txn: ops } = message.body.parse()?;
    Ok((txn, ops))
}

/// The reply to a transaction: its micro-operations with the reads filled in.
#[derive(Serialize)]
pub(crate) struct TxnOk<T> {
    #[serde(rename = "type")]
    kind: &'static str,
    txn: T,
}

impl<T: Serialize> TxnOk<T> {
    pub(crate) fn new(txn: T) -> TxnOk<T> {
        TxnOk { kind: "txn_ok", txn }
    }
}
