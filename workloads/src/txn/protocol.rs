//! The requests of the transactional workload's clients, and the answers.

use seaworthy::message::{Message, RpcError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The kind of a micro-operation.
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

/// A micro-operation: function, key, and the value to write. A read has something in the
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
