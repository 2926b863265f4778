//! How a service reads a request, and how it answers.
//!
//! Maelstrom's services look at the type and at the fields that they need, and at nothing
//! else: a missing field counts as null, and whatever the `msg_id` is, it comes back as
//! `in_reply_to`. Values are kept as the text they came in, so that a number of any size
//! is returned as it was, and compared by their meaning: `{"a":1,"b":2}` is
//! `{"b":2,"a":1}`, and `1` is not `1.0`.

use std::collections::BTreeMap;

use seaworthy::message::RpcError;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::edn::Edn;

/// A JSON value: its text, and the meaning of that.
#[derive(Clone, Debug)]
pub(super) struct Datum {
    text: String,
    meaning: Edn,
}

impl Datum {
    /// The value with this JSON text.
    pub(super) fn new(text: &str) -> Datum {
        // Values that nest too deep to be parsed are equal only if they are spelled the same.
        let meaning = Edn::from_json(text).unwrap_or_else(|_| Edn::Symbol(text.into()));
        Datum { text: text.to_owned(), meaning }
    }

    /// Returns the value as EDN, by which values are compared.
    pub(super) fn meaning(&self) -> &Edn {
        &self.meaning
    }

    /// Whether it is neither null nor false.
    fn is_truthy(&self) -> bool {
        !matches!(self.meaning, Edn::Nil | Edn::Bool(false))
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Datum) -> bool {
        self.meaning == other.meaning
    }
}

/// The fields of a request.
pub(super) struct Fields<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Fields<'a> {
    /// Reads a body; none if it is not an object. Of a field that occurs twice the last
    /// counts.
    pub(super) fn parse(body: &'a str) -> Option<Fields<'a>> {
        serde_json::from_str(body).ok().map(Fields)
    }

    fn text(&self, name: &str) -> &'a str {
        self.0.get(name).map_or("null", |raw| raw.get())
    }

    /// The value of a field; null if it is missing.
    pub(super) fn get(&self, name: &str) -> Datum {
        Datum::new(self.text(name))
    }

    /// The type of the request; none if it is not a string.
    pub(super) fn kind(&self) -> Option<String> {
        serde_json::from_str(self.text("type")).ok()
    }
}

/// A request to a store.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) key: Edn,
    pub(super) what: What,
}

/// The operation on a key that a store is asked for.
#[derive(Clone, Debug)]
pub(super) enum What {
    Read,
    Write(Datum),
    Cas { from: Datum, to: Datum, create: bool },
}

impl Operation {
    /// Reads a request; none if a store does not know its type.
    pub(super) fn parse(fields: &Fields<'_>) -> Option<Operation> {
        let what = match fields.kind()?.as_str() {
            "read" => What::Read,
            "write" => What::Write(fields.get("value")),
            "cas" => What::Cas {
                from: fields.get("from"),
                to: fields.get("to"),
                create: fields.get("create_if_not_exists").is_truthy(),
            },
            _ => return None,
        };
        Some(Operation { key: fields.get("key").meaning, what })
    }
}

/// The answer of a service.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The value of a key.
    Value(Datum),
    /// Success, of this type.
    Done(&'static str),
    /// The next timestamp.
    Timestamp(u64),
    /// Refused.
    Error(RpcError),
}

impl Answer {
    /// The body of the reply to the request with these fields.
    pub(super) fn reply_to(&self, request: &Fields<'_>) -> String {
        let head = match self {
            Answer::Value(Datum { text, .. }) => format!("\"type\":\"read_ok\",\"value\":{text}"),
            Answer::Done(kind) => format!("\"type\":\"{kind}\""),
            Answer::Timestamp(ts) => format!("\"type\":\"ts_ok\",\"ts\":{ts}"),
            Answer::Error(error) => {
                let text = serde_json::to_string(&ErrorReply { kind: "error", error });
                let text = text.expect("an error is plain data");
                text[1..text.len() - 1].to_owned()
            }
        };
        format!("{{{head},\"in_reply_to\":{}}}", request.text("msg_id"))
    }
}

#[derive(Serialize)]
struct ErrorReply<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    error: &'a RpcError,
}
