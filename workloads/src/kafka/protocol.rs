//! The requests of kafka's clients, and the answers.

use std::collections::BTreeMap;

use seaworthy::message::{Message, RpcError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Offsets by key.
pub(crate) type Offsets = BTreeMap<String, u64>;

/// A request of a client.
pub(crate) enum Ask<'a> {
    /// Append this message to the log of this key.
    Send(String, &'a RawValue),
    /// Read from these offsets.
    Poll(Offsets),
    /// Everything before and at these offsets has been dealt with.
    Commit(Offsets),
    /// Return the committed offsets of these keys.
    ListCommitted(Vec<String>),
    /// Another workload's request.
    Other,
}

impl<'a> Ask<'a> {
    /// Reads a request.
    ///
    /// # Errors
    /// Error 12 if it does not have the documented shape.
    pub(crate) fn parse(message: &'a Message) -> Result<Ask<'a>, RpcError> {
        #[derive(Deserialize)]
        struct Send<'a> {
            key: String,
            #[serde(borrow)]
            msg: &'a RawValue,
        }
        #[derive(Deserialize)]
        struct WithOffsets {
            offsets: Offsets,
        }
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<String>,
        }
        let body = &message.body;
        Ok(match body.kind.as_str() {
            "send" => {
                let Send { key, msg } = body.parse()?;
                Ask::Send(key, msg)
            }
            "poll" => Ask::Poll(body.parse::<WithOffsets>()?.offsets),
            "commit_offsets" => Ask::Commit(body.parse::<WithOffsets>()?.offsets),
            "list_committed_offsets" => Ask::ListCommitted(body.parse::<Keys>()?.keys),
            _ => Ask::Other,
        })
    }
}

#[derive(Serialize)]
pub(crate) struct SendOk {
    #[serde(rename = "type")]
    kind: &'static str,
    offset: u64,
}

impl SendOk {
    pub(crate) fn new(offset: u64) -> SendOk {
        SendOk { kind: "send_ok", offset }
    }
}

/// Messages with their offsets, by key.
pub(crate) type Batch<'a> = BTreeMap<&'a str, Vec<(u64, &'a RawValue)>>;

#[derive(Serialize)]
pub(crate) struct PollOk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    msgs: Batch<'a>,
}

impl<'a> PollOk<'a> {
    pub(crate) fn new(msgs: Batch<'a>) -> PollOk<'a> {
        PollOk { kind: "poll_ok", msgs }
    }
}

#[derive(Serialize)]
pub(crate) struct ListCommittedOk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    offsets: BTreeMap<&'a str, u64>,
}

impl<'a> ListCommittedOk<'a> {
    pub(crate) fn new(offsets: BTreeMap<&'a str, u64>) -> ListCommittedOk<'a> {
        ListCommittedOk { kind: "list_committed_offsets_ok", offsets }
    }
}
